// SPDX-License-Identifier: MIT
/// Two loops on two threads, and a thread without a loop, share the buffers of one domain: with random sets, leases that
/// run out, deadlines and stop requests. A holder of a buffer changes plain memory, so that the thread sanitizer sees what
/// the counts do not.
#include <dmasync/domain.hpp>
#include <dmasync/lock.hpp>
#include <dmasync/lock_set.hpp>
#include <dmasync/make_event_loop.hpp>
#include <dmasync/task.hpp>
#include <dmasync/wait.hpp>
#include <dmasync/when_all.hpp>

#include <doctest/doctest.h>

#include <algorithm>
#include <array>
#include <atomic>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <mutex>
#include <random>
#include <stop_token>
#include <system_error>
#include <thread>
#include <vector>

using namespace dmasync;
using namespace std::chrono_literals;

namespace {

constexpr std::size_t buffer_count = 8;
constexpr int rounds = 2000;

/// What one participant saw.
struct tally {
    std::array<std::uint64_t, buffer_count> written{}; // how often it changed each buffer
    std::uint64_t granted = 0;
    std::uint64_t timed_out = 0;
    std::uint64_t cancelled = 0;
    std::uint64_t others = 0; // of which there are none
    std::uint64_t torn = 0;   // a buffer in the middle of another's change
};

struct contents {
    std::uint64_t first;
    std::uint64_t second; // invariant: equal to `first`, unless a writer is at work
};

/// A random set, and what is done with it.
struct plan {
    plan(domain& media, const std::array<buffer, buffer_count>& buffers, std::minstd_rand& random)
        : set{media, "stress"} {
        std::array<std::size_t, buffer_count> order{};
        for (std::size_t i = 0; i < buffer_count; ++i) { order[i] = i; }
        std::shuffle(order.begin(), order.end(), random);
        const std::size_t size = 1 + random() % 4;
        for (std::size_t i = 0; i < size; ++i) {
            const bool writes = random() % 2 == 0;
            set.add(buffers[order[i]], writes ? access_mode::read_write : access_mode::read);
            wanted.push_back({order[i], writes});
        }
    }

    /// Under the lock.
    void use(const guard& held, const std::array<buffer, buffer_count>& buffers, tally& mine) const {
        ++mine.granted;
        for (const auto& [number, writes] : wanted) {
            contents c{};
            std::memcpy(&c, held.bytes(buffers[number]).data(), sizeof c);
            mine.torn += c.first != c.second ? 1 : 0;
            if (!writes) { continue; }
            std::byte* p = held.writable_bytes(buffers[number]).data();
            ++c.first;
            std::memcpy(p, &c.first, sizeof c.first);
            std::memcpy(p + sizeof c.first, &c.first, sizeof c.first);
            ++mine.written[number];
        }
    }

    struct want {
        std::size_t number;
        bool writes;
    };
    lock_set set;
    std::vector<want> wanted;
};

void count_failure(std::error_code ec, tally& mine) {
    if (ec == errc::timed_out) {
        ++mine.timed_out;
    } else if (ec == errc::cancelled) {
        ++mine.cancelled;
    } else {
        ++mine.others;
    }
}

/// What a participant waits with, for another one to end it.
class shared_stop {
public:
    std::stop_token renew() {
        const std::lock_guard lock{mutex_};
        source_ = std::stop_source{};
        return source_.get_token();
    }
    void request() {
        const std::lock_guard lock{mutex_};
        source_.request_stop();
    }

private:
    std::mutex mutex_;
    std::stop_source source_;
};

task<> participate(domain& media, const std::array<buffer, buffer_count>& buffers, event_loop& loop, unsigned seed,
                   shared_stop& stop, tally& mine) {
    std::minstd_rand random{seed};
    co_await resume_on(loop);
    for (int round = 0; round < rounds; ++round) {
        plan p{media, buffers, random};
        const auto patience = random() % 4 == 0 ? std::chrono::microseconds{random() % 200} : 1h;
        const std::stop_token token = stop.renew();
        std::error_code ec;
        auto held = co_await p.set.lock({.deadline = loop.now() + patience, .stop = token, .on = &loop}, ec);
        if (ec) {
            count_failure(ec, mine);
            continue;
        }
        p.use(held, buffers, mine);
        if (random() % 2 == 0) {
            co_await sleep_for(loop, std::chrono::microseconds{random() % 50}); // while others want it
        }
        held.unlock();
    }
}

void participate_blocking(domain& media, const std::array<buffer, buffer_count>& buffers, unsigned seed, tally& mine) {
    std::minstd_rand random{seed};
    for (int round = 0; round < rounds; ++round) {
        plan p{media, buffers, random};
        std::error_code ec;
        auto held = p.set.blocking_lock(ec);
        if (ec) {
            count_failure(ec, mine);
            continue;
        }
        p.use(held, buffers, mine);
    }
}

} // namespace

TEST_CASE("threads that share buffers never see a change half done, and no change is lost") {
    const unsigned seed = std::random_device{}();
    MESSAGE("seed ", seed); // says which sets were asked for; how the threads ran, no seed can tell
    const made_event_loop here = make_event_loop();
    const made_event_loop there = make_event_loop();
    domain media{*here.loop, {.name = "stress"}};
    std::array<buffer, buffer_count> buffers;
    for (buffer& b : buffers) { b = media.allocate(sizeof(contents)); }

    std::array<tally, 7> tallies{};
    std::array<shared_stop, 6> stops;
    std::jthread second{[&] { there.loop->run(); }};
    std::jthread blocking{[&] { participate_blocking(media, buffers, seed + 6, tallies[6]); }};
    std::jthread stopping{[&](const std::stop_token& end) {
        std::minstd_rand random{seed + 7};
        while (!end.stop_requested()) {
            stops[random() % stops.size()].request();
            std::this_thread::sleep_for(50us);
        }
    }};
    const auto all = [&](event_loop& home, event_loop& away) -> task<> {
        co_await when_all(participate(media, buffers, home, seed, stops[0], tallies[0]),
                          participate(media, buffers, away, seed + 1, stops[1], tallies[1]),
                          participate(media, buffers, home, seed + 2, stops[2], tallies[2]),
                          participate(media, buffers, away, seed + 3, stops[3], tallies[3]),
                          participate(media, buffers, home, seed + 4, stops[4], tallies[4]),
                          participate(media, buffers, away, seed + 5, stops[5], tallies[5]));
        co_await resume_on(home);
    };
    here.loop->run(all(*here.loop, *there.loop));
    blocking.join();
    there.loop->stop();
    second.join();

    tally sum;
    for (const tally& t : tallies) {
        for (std::size_t i = 0; i < buffer_count; ++i) { sum.written[i] += t.written[i]; }
        sum.granted += t.granted;
        sum.timed_out += t.timed_out;
        sum.cancelled += t.cancelled;
        sum.others += t.others;
        sum.torn += t.torn;
    }
    CHECK(sum.torn == 0);
    CHECK(sum.others == 0);
    CHECK(sum.granted + sum.timed_out + sum.cancelled == 7 * rounds);
    for (std::size_t i = 0; i < buffer_count; ++i) {
        auto held = try_lock(read(buffers[i])); // all have been given back
        REQUIRE(held);
        contents c{};
        std::memcpy(&c, held.bytes<0>().data(), sizeof c);
        CHECK(c.first == sum.written[i]);
    }
    const domain_counters counted = media.counters();
    CHECK(counted.timed_out == sum.timed_out);
    CHECK(counted.cancelled == sum.cancelled);
    CHECK(counted.granted_at_once + counted.granted_after_wait == sum.granted + buffer_count);
    CHECK(counted.leases_expired == 0);
}

TEST_CASE("threads whose leases run out are told so, and everything is given back in the end") {
    const unsigned seed = std::random_device{}();
    MESSAGE("seed ", seed);
    const made_event_loop here = make_event_loop();
    const made_event_loop there = make_event_loop();
    std::atomic<std::uint64_t> reports{0};
    domain media{*here.loop, {.lease = 1ms, .report = [&](const lease_report&) { ++reports; }}};
    std::array<buffer, buffer_count> buffers;
    for (buffer& b : buffers) { b = media.allocate(sizeof(contents)); }

    std::atomic<std::uint64_t> late{0};
    const auto slow = [&](event_loop& loop, unsigned own_seed) -> task<> {
        std::minstd_rand random{own_seed};
        co_await resume_on(loop);
        for (int round = 0; round < 60; ++round) {
            plan p{media, buffers, random};
            std::error_code ec;
            auto held = co_await p.set.lock({.on = &loop}, ec);
            if (!ec) {
                co_await sleep_for(loop, std::chrono::milliseconds{random() % 8});
                ec = held.unlock();
            }
            late += ec == errc::lease_expired ? 1 : 0;
        }
    };
    std::jthread second{[&] { there.loop->run(); }};
    const auto all = [&](event_loop& home, event_loop& away) -> task<> {
        co_await when_all(slow(home, seed), slow(away, seed + 1), slow(home, seed + 2), slow(away, seed + 3));
        co_await resume_on(home);
    };
    here.loop->run(all(*here.loop, *there.loop));
    there.loop->stop();
    second.join();
    CHECK(late > 0);
    CHECK(media.counters().leases_expired == late);
    CHECK(reports == late);
    for (const buffer& b : buffers) { CHECK(try_lock(write(b))); }
}
