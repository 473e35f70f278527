// SPDX-License-Identifier: MIT
/// Everything at once, for as long as wanted, with a seed: `dmasync_soak --help`. Coroutines on two loops (io_uring and epoll),
/// threads that block, and everything that ends a wait or a hold. Loops and domain go and come: each round makes them, works,
/// lets all of it end, and looks for what is left.
#include <dmasync/domain.hpp>
#include <dmasync/epoll_loop.hpp>
#include <dmasync/lock.hpp>
#include <dmasync/lock_set.hpp>
#include <dmasync/make_event_loop.hpp>
#include <dmasync/observe/snapshot.hpp>
#include <dmasync/observe/stuck_after.hpp>
#include <dmasync/observe/trace.hpp>
#include <dmasync/run_transaction.hpp>
#include <dmasync/task.hpp>
#include <dmasync/transaction.hpp>
#include <dmasync/wait.hpp>

#include <algorithm>
#include <array>
#include <atomic>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <filesystem>
#include <memory>
#include <mutex>
#include <random>
#include <stop_token>
#include <string_view>
#include <system_error>
#include <thread>
#include <vector>

#include <malloc.h>
#include <sys/eventfd.h>
#include <unistd.h>

using namespace dmasync;
using namespace std::chrono_literals;

namespace {

constexpr std::string_view usage = R"(usage: dmasync_soak [--seconds N] [--seed N]

Locks, transactions, lock sets, loans to devices (eventfds that a thread signals), stops, deadlines, leases that end, snapshots, a
trace and stuck reports, on an io_uring loop, an epoll loop and two threads that block, in rounds of half a second. Now and then
a loop computes for tens of milliseconds. After each round its domain and loops go.

  --seconds N   for how long; 20 without it
  --seed N      of what is done; which thread is first is up to the machine. 1 without it

DMASYNC_SOAK_SECONDS in the environment counts instead of --seconds.

Checks: no writer shares a buffer; whatever began has ended, once; a snapshot shows nothing at the end of a round; descriptors
are as many as before, and memory in use does not grow after the first rounds. Exit status: 0, or 1 and a line for each fault.
)";

constexpr std::size_t buffer_count = 12;
constexpr std::size_t workers_per_loop = 8;
constexpr std::size_t warm_up = 6; // rounds

std::atomic<int> faults{0};

void expect(bool ok, const char* what) {
    if (ok) { return; }
    if (faults++ < 20) { std::fprintf(stderr, "soak: %s\n", what); }
}

using engine = std::mt19937_64;

/// Shows what holds a buffer. Only holds without a lease enter: one with a lease may go on after it has ended.
struct content {
    std::atomic<int> inside{0};

    static constexpr int writer = 1 << 16;
    void enter(bool writes) {
        const int before = inside.fetch_add(writes ? writer : 1);
        expect(writes ? before == 0 : before < writer, "a writer shares its buffer");
    }
    void leave(bool writes) { inside.fetch_sub(writes ? writer : 1); }
};

/// A device: signals eventfds some time after they were given to it.
class device {
public:
    unique_fd submit(std::chrono::microseconds takes) {
        unique_fd done{::eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK)};
        const int mine = ::dup(done.get());
        const std::lock_guard l{mutex_};
        jobs_.push_back({std::chrono::steady_clock::now() + takes, unique_fd{mine}});
        return done;
    }

private:
    struct job {
        std::chrono::steady_clock::time_point due;
        unique_fd done;
    };
    void work(const std::stop_token& stop) {
        while (!stop.stop_requested()) {
            {
                const std::lock_guard l{mutex_};
                std::erase_if(jobs_, [](const job& j) {
                    if (j.due > std::chrono::steady_clock::now()) { return false; }
                    const std::uint64_t one = 1;
                    expect(::write(j.done.get(), &one, sizeof one) == sizeof one, "an eventfd cannot be written");
                    return true;
                });
            }
            std::this_thread::sleep_for(200us);
        }
    }

    std::mutex mutex_;
    std::vector<job> jobs_;
    std::jthread thread_{[this](const std::stop_token& s) { work(s); }};
};

struct tally {
    std::atomic<std::uint64_t> begun{0};
    std::atomic<std::uint64_t> ended{0};
    std::atomic<std::uint64_t> granted{0};
};

/// A round's loops, domain and work. The domain is of the first loop.
class round {
public:
    round(engine& random, tally& t, trace_recorder& recorder) : tally_{t} {
        std::error_code ec;
        first_ = make_event_loop(ec).loop;
        second_ = epoll_loop::create(ec);
        media_ = std::make_unique<domain>(*first_, options());
        media_->trace_to(recorder);
        for (std::size_t i = 0; i < buffer_count; ++i) { buffers_[i] = media_->allocate(4096, "buffer"); }
        seed_ = random();
    }

    void go() {
        const auto end = std::chrono::steady_clock::now() + 500ms;
        std::vector<std::jthread> threads;
        threads.emplace_back([&] { run_loop(*second_, end, 1); });
        for (std::uint64_t i = 0; i < 2; ++i) {
            threads.emplace_back([&, i] { block(end, engine{seed_ + 100 + i}); });
        }
        threads.emplace_back([&] { look_on(end, engine{seed_ + 200}); });
        run_loop(*first_, end, 0); // until all others have ended
        threads.clear();
        finish();
    }

private:
    [[nodiscard]] domain_options options() {
        return {.lease = 20ms,
                .name = "soak",
                .report = [](const lease_report&) {},
                .overdue_limit = 1s,
                .stuck = stuck_after(5ms, [this](const stuck_report& r) {
                    ++stuck_;
                    expect(!r.chain.empty(), "a stuck report without a chain");
                })};
    }

    void run_loop(event_loop& loop, std::chrono::steady_clock::time_point end, std::uint64_t number) {
        loop.run(work_all(loop, end, number));
    }

    task<> work_all(event_loop& loop, std::chrono::steady_clock::time_point end, std::uint64_t number) {
        working_ += 1;
        std::atomic<std::size_t> left{workers_per_loop};
        for (std::size_t i = 0; i < workers_per_loop; ++i) {
            detach(work(loop, end, engine{seed_ + (number * 1000) + i}, left));
        }
        while (left != 0) { co_await sleep_for(loop, 1ms); }
        working_ -= 1;
        if (number == 0) {
            while (working_ != 0) { co_await sleep_for(loop, 1ms); }
            const auto limit = loop.now() + 30s; // for devices
            while (!media_->snapshot().acquisitions.empty() && loop.now() < limit) { co_await sleep_for(loop, 1ms); }
        }
    }

    struct detached {
        struct promise_type {
            detached get_return_object() noexcept { return {}; }
            std::suspend_never initial_suspend() const noexcept { return {}; }
            std::suspend_never final_suspend() const noexcept { return {}; }
            void return_void() const noexcept {}
            [[noreturn]] void unhandled_exception() const noexcept { std::abort(); }
        };
    };
    static detached detach(task<> t) { co_await std::move(t); }

    task<> work(event_loop& loop, std::chrono::steady_clock::time_point end, engine random,
                std::atomic<std::size_t>& left) {
        while (std::chrono::steady_clock::now() < end) {
            ++tally_.begun;
            switch (random() % 8) {
            case 0: co_await transact(loop, random); break;
            case 1: co_await lend(loop, random); break;
            case 2: co_await lock_declared(loop, random); break;
            case 3: co_await outlast(loop, random); break;
            default: co_await lock_two(loop, random); break;
            }
            ++tally_.ended;
            if (random() % 400 == 0) { std::this_thread::sleep_for(std::chrono::milliseconds{20 + random() % 30}); }
            if (random() % 3 == 0) { co_await sleep_for(loop, std::chrono::microseconds{random() % 800}); }
        }
        --left;
    }

    /// The hold is without a lease: what is checked inside has to be true.
    task<> lock_two(event_loop& loop, engine& random) {
        const std::size_t a = random() % buffer_count;
        const std::size_t b = (a + 1 + random() % (buffer_count - 1)) % buffer_count;
        std::stop_source stop;
        if (random() % 4 == 0) { give_to_stop(stop); }
        const std::stop_token token = stop.get_token();
        lock_options o{.lease = no_lease, .stop = token, .on = &loop};
        if (random() % 3 == 0) { o.deadline = loop.now() + std::chrono::microseconds{random() % 5000}; }
        std::error_code ec;
        auto held = co_await lock(read(buffers_[a]), write(buffers_[b]), o, ec);
        expect_end(ec);
        if (ec) { co_return; }
        expect(loop.in_this_thread(), "a coroutine goes on in another thread than that of its loop");
        ++tally_.granted;
        contents_[a].enter(false);
        contents_[b].enter(true);
        held.template bytes<1>()[0] = static_cast<std::byte>(random());
        if (random() % 4 == 0) { co_await sleep_for(loop, std::chrono::microseconds{random() % 500}); }
        contents_[a].leave(false);
        contents_[b].leave(true);
    }

    task<> lock_declared(event_loop& loop, engine& random) {
        lock_set set{*media_, "set", {.lease = no_lease, .on = &loop}};
        const std::size_t size = 1 + random() % 5;
        const std::size_t first = random() % buffer_count;
        for (std::size_t i = 0; i < size; ++i) { set.add(buffers_[(first + i) % buffer_count], access_mode::write); }
        std::error_code ec;
        guard held = co_await set.lock({.lease = no_lease, .deadline = loop.now() + 50ms, .on = &loop}, ec);
        expect_end(ec);
        if (ec) { co_return; }
        for (std::size_t i = 0; i < size; ++i) { contents_[(first + i) % buffer_count].enter(true); }
        for (std::size_t i = 0; i < size; ++i) { contents_[(first + i) % buffer_count].leave(true); }
    }

    task<> transact(event_loop& loop, engine& random) {
        transaction tx{*media_, {.lease = no_lease, .on = &loop}};
        std::error_code ec;
        std::array<std::size_t, 3> wanted{};
        for (std::size_t& w : wanted) { w = random() % buffer_count; }
        for (std::size_t i = 0; i < wanted.size();) {
            co_await tx.lock(write(buffers_[wanted[i]]), ec);
            if (ec == errc::wounded) {
                co_await tx.restart(ec);
                i = 0;
                if (!ec) { continue; }
            }
            if (ec && ec != errc::already_locked) { break; }
            ++i;
        }
        if (ec && ec != errc::already_locked) { co_return; }
        const guard held = tx.done(ec);
        if (ec) { co_return; }
        ++tally_.granted;
        std::sort(wanted.begin(), wanted.end());
        const auto last = std::unique(wanted.begin(), wanted.end());
        std::for_each(wanted.begin(), last, [this](std::size_t w) { contents_[w].enter(true); });
        std::for_each(wanted.begin(), last, [this](std::size_t w) { contents_[w].leave(true); });
    }

    /// To a device, that ends in time, or long after the lease.
    task<> lend(event_loop& loop, engine& random) {
        std::error_code ec;
        const buffer& b = buffers_[random() % buffer_count];
        auto held = co_await lock(dma_write(b), lock_options{.lease = 5ms, .on = &loop}, ec);
        expect_end(ec);
        if (ec) { co_return; }
        held.release_on(device_.submit(std::chrono::microseconds{random() % 8000}), ec);
        expect(!ec || ec == errc::lease_expired, "a device cannot be lent to");
    }

    /// Holds on after its lease.
    task<> outlast(event_loop& loop, engine& random) {
        std::error_code ec;
        const buffer& b = buffers_[random() % buffer_count];
        auto held = co_await lock(write(b), lock_options{.lease = 2ms, .on = &loop}, ec);
        expect_end(ec);
        if (ec) { co_return; }
        co_await sleep_for(loop, std::chrono::microseconds{random() % 5000});
        ec = held.unlock();
        expect(!ec || ec == errc::lease_expired, "an unlock ends in another way");
    }

    /// On a thread without a loop.
    void block(std::chrono::steady_clock::time_point end, engine random) {
        working_ += 1;
        while (std::chrono::steady_clock::now() < end) {
            ++tally_.begun;
            const std::size_t b = random() % buffer_count;
            const bool writes = random() % 2 == 0;
            std::error_code ec;
            const lock_options o{.lease = no_lease, .deadline = std::chrono::steady_clock::now() + 20ms};
            guard held;
            if (writes) {
                held = blocking_lock(write(buffers_[b]), o, ec);
            } else {
                held = blocking_lock(read(buffers_[b]), o, ec);
            }
            expect_end(ec);
            if (!ec) {
                contents_[b].enter(writes);
                contents_[b].leave(writes);
                ++tally_.granted;
            }
            held = {};
            ++tally_.ended;
        }
        working_ -= 1;
    }

    /// Takes snapshots, and requests the stops.
    void look_on(std::chrono::steady_clock::time_point end, engine random) {
        working_ += 1;
        while (std::chrono::steady_clock::now() < end) {
            if (random() % 4 == 0) {
                expect(media_->snapshot().buffers.size() == buffer_count, "a snapshot lacks a buffer");
            }
            std::vector<std::stop_source> now;
            {
                const std::lock_guard l{mutex_};
                now.swap(stops_);
            }
            for (std::stop_source& s : now) { s.request_stop(); }
            std::this_thread::sleep_for(std::chrono::microseconds{random() % 1000});
        }
        working_ -= 1;
    }

    void give_to_stop(const std::stop_source& s) {
        const std::lock_guard l{mutex_};
        stops_.push_back(s);
    }

    static void expect_end(const std::error_code& ec) {
        expect(!ec || ec == errc::timed_out || ec == errc::cancelled || ec == errc::fence_timed_out ||
                   ec == errc::lease_expired, // resumed late, on a loop that stalled
               "a wait ends in a way that nothing has asked for");
    }

    void finish() {
        const domain_snapshot last = media_->snapshot();
        expect(last.acquisitions.empty(), "acquisitions are left");
        for (const buffer& b : buffers_) { expect(static_cast<bool>(try_lock(write(b))), "a buffer is not free"); }
        expect(tally_.begun == tally_.ended, "something that began has not ended");
        media_->stop_trace();
    }

    tally& tally_;
    std::uint64_t seed_ = 0;
    std::atomic<int> working_{0};
    std::atomic<std::uint64_t> stuck_{0};
    std::array<content, buffer_count> contents_;
    std::mutex mutex_;
    std::vector<std::stop_source> stops_;
    device device_;
    std::unique_ptr<event_loop> first_;
    std::unique_ptr<event_loop> second_;
    std::unique_ptr<domain> media_;
    std::array<buffer, buffer_count> buffers_;
};

std::size_t descriptors() {
    const std::filesystem::directory_iterator all{"/proc/self/fd"};
    return static_cast<std::size_t>(std::distance(begin(all), end(all)));
}

std::size_t memory_in_use() { return ::mallinfo2().uordblks; }

int soak(std::chrono::seconds length, std::uint64_t seed) {
    engine random{seed};
    tally t;
    const auto end = std::chrono::steady_clock::now() + length;
    std::size_t rounds = 0;
    const std::size_t open = descriptors();
    std::size_t used = 0;
    trace_recorder recorder;
    for (; std::chrono::steady_clock::now() < end && faults == 0; ++rounds) {
        round{random, t, recorder}.go();
        expect(descriptors() == open, "descriptors are left");
        if (rounds < warm_up) { used = std::max(used, memory_in_use()); }
        if (rounds >= warm_up) { expect(memory_in_use() < used + (std::size_t{256} << 10), "memory grows"); }
    }
    std::printf("soak: seed %llu, %zu rounds, %llu operations, %llu granted, %zu KiB in use, %d faults\n",
                static_cast<unsigned long long>(seed), rounds, static_cast<unsigned long long>(t.ended),
                static_cast<unsigned long long>(t.granted), memory_in_use() >> 10, faults.load());
    return faults == 0 ? 0 : 1;
}

} // namespace

int main(int count, char** arguments) {
    long seconds = 20;
    std::uint64_t seed = 1;
    for (int i = 1; i < count; i += 2) {
        const std::string_view name = arguments[i];
        if (i + 1 == count || (name != "--seconds" && name != "--seed")) {
            std::fwrite(usage.data(), 1, usage.size(), name == "--help" ? stdout : stderr);
            return name == "--help" ? 0 : 2;
        }
        if (name == "--seconds") { seconds = std::atol(arguments[i + 1]); }
        if (name == "--seed") { seed = std::strtoull(arguments[i + 1], nullptr, 10); }
    }
    if (const char* s = std::getenv("DMASYNC_SOAK_SECONDS"); s != nullptr) { seconds = std::atol(s); }
    return soak(std::chrono::seconds{seconds}, seed);
}
