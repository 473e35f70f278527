// SPDX-License-Identifier: MIT
#include <dmasync/lease.hpp>

#include <dmasync/domain.hpp>
#include <dmasync/epoll_loop.hpp>
#include <dmasync/lock.hpp>
#include <dmasync/lock_set.hpp>
#include <dmasync/manual_loop.hpp>
#include <dmasync/transaction.hpp>

#include <doctest/doctest.h>
#include <support/probe.hpp>

#include <array>
#include <chrono>
#include <cstddef>
#include <optional>
#include <stop_token>
#include <string>
#include <system_error>
#include <thread>
#include <vector>

using namespace dmasync;
using namespace std::chrono_literals;

namespace {

struct fixture {
    explicit fixture(std::chrono::nanoseconds lease = default_lease)
        : media{loop, {.lease = lease, .name = "media", .report = [this](const lease_report& r) {
                           lines.push_back(to_string(r));
                           if (on_report) { on_report(r); }
                       }}} {}

    manual_loop loop;
    std::vector<std::string> lines;
    std::function<void(const lease_report&)> on_report;
    std::array<std::array<std::byte, 64>, 2> memory{};
    domain media;
    buffer a = media.adopt(memory[0], "a");
    buffer b = media.adopt(memory[1], "b");
};

probe wait_for(guard& out, std::error_code& ec, lock_request<access_mode::write> what, lock_options options) {
    out = co_await dmasync::lock(what, options, ec);
}

} // namespace

TEST_CASE("a hold lasts five seconds, unless it is said otherwise") {
    fixture f;
    const guard held = try_lock(write(f.a));
    f.loop.advance(5s - 1ns);
    CHECK(!held.expired());
    f.loop.advance(1ns);
    CHECK(held.expired());
    CHECK(try_lock(write(f.a)));
}

TEST_CASE("a lease is given by the domain, the set or the lock, the nearest one counting") {
    fixture f{1s};
    lock_set own{f.media, "own", {.lease = 100ms}};
    own.add(f.b, access_mode::write);
    SUBCASE("the domain's") {
        const guard held = try_lock(write(f.a));
        CHECK(held.expires_at() == f.loop.now() + 1s);
    }
    SUBCASE("the lock's") {
        const guard held = try_lock(write(f.a), lock_options{.lease = 10ms});
        CHECK(held.expires_at() == f.loop.now() + 10ms);
    }
    SUBCASE("the set's") {
        const guard held = own.try_lock();
        CHECK(held.expires_at() == f.loop.now() + 100ms);
    }
    SUBCASE("the lock's, of a set") {
        const guard held = own.try_lock({.lease = 10ms});
        CHECK(held.expires_at() == f.loop.now() + 10ms);
    }
}

TEST_CASE("what a lock or a set was given does not stick to the next one, though it uses the same record") {
    fixture f{1s};
    const auto lease_of = [&f](guard held) { return held.expires_at() - f.loop.now(); };
    std::optional<lock_set> first;
    first.emplace(f.media, "first", lock_options{.lease = 100ms});
    first->add(f.a, access_mode::write);
    lock_set second{f.media, "second", {.lease = 200ms}};
    second.add(f.a, access_mode::write);
    for (int round = 0; round < 2; ++round) {
        CHECK(lease_of(try_lock(write(f.a), lock_options{.lease = 10ms})) == 10ms);
        CHECK(lease_of(try_lock(write(f.a))) == 1s);
        CHECK(lease_of(first->try_lock()) == 100ms);
        CHECK(lease_of(second.try_lock()) == 200ms);
        CHECK(lease_of(first->try_lock()) == 100ms);
        CHECK(lease_of(try_lock(write(f.a))) == 1s);
        CHECK(lease_of(try_lock(write(f.a), lock_options{.lease = 20ms})) == 20ms);
    }
    CHECK(lease_of(first->try_lock()) == 100ms);
    first.emplace(f.media, "first", lock_options{.lease = 300ms}); // where the other one was
    first->add(f.a, access_mode::write);
    CHECK(lease_of(first->try_lock()) == 300ms);
    {
        transaction t{f.media, {.lease = 30ms}};
        t.blocking_lock(write(f.a));
        CHECK(t.expires_at() == f.loop.now() + 30ms);
    }
    transaction t{f.media};
    t.blocking_lock(write(f.a));
    CHECK(t.expires_at() == f.loop.now() + 1s);
}

TEST_CASE("a hold without lease lasts as long as it likes") {
    fixture f;
    const guard held = try_lock(write(f.a), lock_options{.lease = no_lease});
    f.loop.advance(24h * 365);
    CHECK(!held.expired());
    CHECK(held.expires_at() == event_loop::time_point::max());
}

TEST_CASE("a lease that is longer than time itself does not end at once") {
    fixture f;
    const guard held = try_lock(write(f.a), lock_options{.lease = no_lease - 1ns});
    f.loop.advance(1h);
    CHECK(!held.expired());
}

TEST_CASE("expiry gives all the buffers of the hold to what waits") {
    fixture f;
    const guard held = try_lock(write(f.a), write(f.b));
    guard next;
    std::error_code ec;
    const probe p = wait_for(next, ec, write(f.a), {});
    f.loop.advance(5s);
    CHECK(next);
    CHECK(try_lock(write(f.b)));
    CHECK(f.media.counters().leases_expired == 1);
}

TEST_CASE("the lease of a waiter starts when it is granted") {
    fixture f;
    guard held = try_lock(write(f.a));
    guard next;
    std::error_code ec;
    const probe p = wait_for(next, ec, write(f.a), {});
    f.loop.advance(4s);
    held.unlock();
    f.loop.run_ready();
    CHECK(next.expires_at() == f.loop.now() + 5s);
}

TEST_CASE("unlocking after the lease ran out changes nothing and says so") {
    fixture f;
    guard held = try_lock(write(f.a));
    f.loop.advance(5s);
    const guard next = try_lock(write(f.a));
    CHECK(held.unlock() == errc::lease_expired);
    CHECK(!next.expired());
    CHECK(!try_lock(write(f.a)));
}

TEST_CASE("an expired guard refuses everything, each call saying that the lease ran out") {
    fixture f;
    guard held = try_lock(write(f.a));
    f.loop.advance(5s);
    std::error_code ec;
    static_cast<void>(held.bytes(f.a, ec));
    CHECK(ec == errc::lease_expired);
    held.downgrade(f.a, ec);
    CHECK(ec == errc::lease_expired);
    held.release(f.a, ec);
    CHECK(ec == errc::lease_expired);
    static_cast<void>(held.renew(1s, ec));
    CHECK(ec == errc::lease_expired);
    CHECK(held);
}

TEST_CASE("a lease that was unlocked in time is not reported") {
    fixture f;
    { const guard held = try_lock(write(f.a)); }
    f.loop.advance(10s);
    CHECK(f.lines.empty());
    CHECK(f.media.counters().leases_expired == 0);
}

// ---- renewing --------------------------------------------------------------------------------------------------------

TEST_CASE("a renewed lease ends that much later") {
    fixture f;
    guard held = try_lock(write(f.a));
    f.loop.advance(4s);
    CHECK(held.renew(5s) == f.loop.now() + 5s);
    f.loop.advance(5s - 1ns);
    CHECK(!held.expired());
    f.loop.advance(1ns);
    CHECK(held.expired());
}

TEST_CASE("a renewal never shortens a lease") {
    fixture f;
    guard held = try_lock(write(f.a));
    const auto end = held.expires_at();
    CHECK(held.renew(1ms) == end);
}

TEST_CASE("while a lock waits, renewals end one lease after it came") {
    fixture f;
    guard held = try_lock(write(f.a));
    f.loop.advance(1s);
    guard next;
    std::error_code ec;
    const probe p = wait_for(next, ec, write(f.a), {});
    const auto came = f.loop.now();
    f.loop.advance(3s);
    CHECK(held.renew(1h) == came + 5s);
    f.loop.advance(1s);
    CHECK(held.renew(1h) == came + 5s);
    f.loop.advance(1s);
    CHECK(held.expired());
    CHECK(next);
}

// ---- tokens ----------------------------------------------------------------------------------------------------------

TEST_CASE("the token of an expired hold is smaller than that of any that comes after") {
    fixture f;
    const guard held = try_lock(write(f.a));
    const auto mine = held.token(f.a);
    CHECK(mine == f.a.token());
    f.loop.advance(5s);
    CHECK(held.token(f.a) == mine);
    CHECK(f.a.token() > mine);
    const guard next = try_lock(write(f.a));
    CHECK(next.token(f.a) > mine);
}

TEST_CASE("a reader that outlives another reader's lease keeps a current token") {
    fixture f;
    const guard stale = try_lock(read(f.a), lock_options{.lease = 1s});
    const guard live = try_lock(read(f.a));
    f.loop.advance(1s);
    CHECK(stale.token(f.a) < f.a.token());
    CHECK(live.token(f.a) == f.a.token());
}

// ---- being told ------------------------------------------------------------------------------------------------------

TEST_CASE("the stop token of a hold stops when the lease runs out") {
    fixture f;
    const guard held = try_lock(write(f.a));
    const std::stop_token token = held.stop_token();
    CHECK(!token.stop_requested());
    f.loop.advance(5s);
    CHECK(token.stop_requested());
}

TEST_CASE("the stop token of a hold that is unlocked in time never stops") {
    fixture f;
    guard held = try_lock(write(f.a));
    const std::stop_token token = held.stop_token();
    held.unlock();
    f.loop.advance(10s);
    CHECK(!token.stop_requested());
}

TEST_CASE("a stop token that is asked for after the expiry has stopped") {
    fixture f;
    const guard held = try_lock(write(f.a));
    f.loop.advance(5s);
    CHECK(held.stop_token().stop_requested());
}

TEST_CASE("the report says what was held, for how long, and what is kept waiting") {
    fixture f;
    lock_set compose{f.media, "compose"};
    compose.add(f.a, access_mode::read);
    compose.add(f.b, access_mode::dma_write);
    const guard held = compose.try_lock();
    guard next;
    std::error_code ec;
    const probe p = wait_for(next, ec, write(f.a), {});
    f.loop.advance(5s);
    REQUIRE(f.lines.size() == 1);
    CHECK(f.lines[0] == "lease expired: set 'compose' in domain 'media' held buffer 'a' (read), buffer 'b' (dma_write) "
                        "for 5000 ms of 5000 ms; 1 waiter");
}

TEST_CASE("the report counts places in the queues: a lock that waits for two of the buffers counts twice") {
    fixture f;
    std::size_t waiters = 0;
    f.on_report = [&](const lease_report& r) { waiters = r.waiters; };
    const guard held = try_lock(write(f.a), write(f.b));
    const auto wait = [](lock_request<access_mode::write> x, lock_request<access_mode::write> y,
                         std::error_code& ec) -> probe { const auto mine = co_await dmasync::lock(x, y, ec); };
    std::error_code ec;
    const probe p = wait(write(f.a), write(f.b), ec);
    f.loop.advance(5s);
    CHECK(waiters == 2);
}

TEST_CASE("the report carries the set's user pointer") {
    fixture f;
    int mine = 0;
    const void* seen = nullptr;
    f.on_report = [&](const lease_report& r) { seen = r.user; };
    const guard held = try_lock(write(f.a), lock_options{.user = &mine});
    f.loop.advance(5s);
    CHECK(seen == &mine);
}

TEST_CASE("the sink may unlock the very guard that it is told about") {
    fixture f;
    guard held = try_lock(write(f.a));
    std::error_code said;
    f.on_report = [&](const lease_report&) { said = held.unlock(); };
    f.loop.advance(5s);
    CHECK(said == errc::lease_expired);
    CHECK(try_lock(write(f.a)));
}

TEST_CASE("the stop token's callbacks may unlock the guard and lock anew") {
    fixture f;
    guard held = try_lock(write(f.a));
    guard again;
    const std::stop_callback on_stop{held.stop_token(), [&] {
                                         held.unlock();
                                         again = try_lock(write(f.a));
                                     }};
    f.loop.advance(5s);
    CHECK(again);
    CHECK(!again.expired());
}

TEST_CASE("a buffer whose handles are gone stays mapped for an expired guard") {
    fixture f;
    buffer lost = f.media.allocate(4096, "lost");
    auto held = try_lock(write(lost));
    const std::span<std::byte> bytes = held.bytes<0>();
    lost = buffer{};
    f.loop.advance(5s);
    CHECK(held.expired());
    bytes[0] = std::byte{1}; // wrong, but no crash
    CHECK(held.unlock() == errc::lease_expired);
}

// ---- races: the same outcome in whatever order two things come --------------------------------------------------------

TEST_CASE("of unlock and expiry, the first one counts") {
    fixture f;
    guard held = try_lock(write(f.a));
    SUBCASE("unlock first") {
        f.loop.advance(5s - 1ns);
        CHECK(!held.unlock());
        f.loop.advance(1ns);
        CHECK(f.media.counters().leases_expired == 0);
    }
    SUBCASE("expiry first") {
        f.loop.advance(5s);
        CHECK(held.unlock() == errc::lease_expired);
        CHECK(f.media.counters().leases_expired == 1);
    }
    CHECK(try_lock(write(f.a)));
}

TEST_CASE("of renewal and expiry, the first one counts") {
    fixture f;
    guard held = try_lock(write(f.a));
    std::error_code ec;
    SUBCASE("renewal first") {
        f.loop.advance(5s - 1ns);
        static_cast<void>(held.renew(5s, ec));
        CHECK(!ec);
        f.loop.advance(1ns);
        CHECK(!held.expired());
    }
    SUBCASE("expiry first") {
        f.loop.advance(5s);
        static_cast<void>(held.renew(5s, ec));
        CHECK(ec == errc::lease_expired);
    }
}

TEST_CASE("a waiter whose lease runs out before its loop resumes it is told so, and holds nothing") {
    fixture f;
    manual_loop slow{f.loop.time_source()};
    guard held = try_lock(write(f.a));
    guard next;
    std::error_code ec;
    const probe p = wait_for(next, ec, write(f.a), {.lease = 1s, .on = &slow});
    held.unlock();
    f.loop.advance(1s);
    CHECK(!p.done());
    CHECK(try_lock(write(f.a)));
    slow.run_ready();
    CHECK(p.done());
    CHECK(ec == errc::lease_expired);
    CHECK(!next);
}

TEST_CASE("a coroutine destroyed after its lease ran out, before it was resumed, leaves nothing behind") {
    fixture f;
    manual_loop slow{f.loop.time_source()};
    guard held = try_lock(write(f.a));
    guard next;
    std::error_code ec;
    probe p = wait_for(next, ec, write(f.a), {.lease = 1s, .on = &slow});
    held.unlock();
    f.loop.advance(1s);
    p.destroy();
    slow.run_ready();
    CHECK(try_lock(write(f.a)));
}

TEST_CASE("a holder that has had its time does not stand in the way, even when the loop is late") {
    fixture f;
    const guard held = try_lock(write(f.a), lock_options{.lease = 1ns});
    std::error_code ec;
    SUBCASE("of a try_lock") {
        f.loop.set(f.loop.now() + 1s);
        CHECK(try_lock(write(f.a), ec));
    }
    SUBCASE("of a coroutine") {
        f.loop.set(f.loop.now() + 1s);
        guard next;
        const probe p = wait_for(next, ec, write(f.a), {});
        CHECK(p.done());
    }
    SUBCASE("of a blocking lock, on a thread of its own") {
        f.loop.set(f.loop.now() + 1s);
        std::thread other{[&] { static_cast<void>(blocking_lock(write(f.a), ec)); }};
        other.join();
    }
    CHECK(!ec);
    CHECK(held.expired());
    CHECK(f.lines.size() == 1);
}

TEST_CASE("the leases of a thousand holds of all lengths end each at its time") {
    fixture f;
    std::vector<buffer> buffers;
    std::vector<guard> holds;
    std::array<std::byte, 1000> memory{};
    for (std::size_t i = 0; i < memory.size(); ++i) {
        buffers.push_back(f.media.adopt(std::span{memory}.subspan(i, 1)));
        holds.push_back(try_lock(write(buffers.back()), lock_options{.lease = 1ms * (1 + i * 7 % 1000)}));
    }
    for (int ms = 1; ms <= 1000; ++ms) {
        f.loop.advance(1ms);
        CHECK(f.media.counters().leases_expired == static_cast<std::uint64_t>(ms));
    }
}

TEST_CASE("on a real clock too, no lease is shorter than asked for") {
    epoll_loop loop;
    domain media{loop, {.report = {}}};
    const buffer a = media.allocate(64);
    for (int i = 0; i < 20; ++i) {
        // As long as the kernel's ticks come in time: of a virtual machine that had no processor for a while they do not.
        while (loop.now() - loop.coarse_now() > loop.coarse_lag()) { std::this_thread::yield(); }
        const auto before = loop.now();
        const guard held = try_lock(write(a), lock_options{.lease = 1ms});
        const guard next = blocking_lock(write(a));
        CHECK(loop.now() - before >= 1ms);
        CHECK(held.expired());
    }
}
