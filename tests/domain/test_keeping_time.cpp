// SPDX-License-Identifier: MIT
/// Leases and deadlines end for what waits for them, whatever the domain's loop is doing.
#include <dmasync/domain.hpp>

#include <dmasync/epoll_loop.hpp>
#include <dmasync/lock.hpp>
#include <dmasync/manual_loop.hpp>
#include <dmasync/transaction.hpp>

#include <doctest/doctest.h>
#include <support/child.hpp>
#include <support/probe.hpp>
#include <support/waiter.hpp>

#include <array>
#include <chrono>
#include <cstddef>
#include <string>
#include <system_error>
#include <thread>
#include <vector>

using namespace dmasync;
using namespace std::chrono_literals;
using support::waiter;

namespace {

/// The domain's loop never runs; `mine` does.
struct fixture {
    virtual_clock time;
    manual_loop stalled{time};
    manual_loop mine{time};
    std::vector<std::string> lines;
    std::array<std::array<std::byte, 64>, 2> memory{};
    domain media{stalled, {.lease = 200ms, .report = [this](const lease_report& r) { lines.emplace_back(r.set); }}};
    buffer a = media.adopt(memory[0], "a");
    buffer b = media.adopt(memory[1], "b");

    lock_options here(std::chrono::nanoseconds deadline = 1h) {
        return {.deadline = mine.now() + deadline, .on = &mine};
    }
};

} // namespace

TEST_CASE("a deadline passes on the waiter's loop, though the domain's stands still") {
    fixture f;
    const guard held = try_lock(write(f.a), lock_options{.lease = no_lease});
    waiter w;
    w.start(f.here(100ms), write(f.a));
    f.mine.advance(100ms - 1ns);
    CHECK(!w.done());
    f.mine.advance(1ns);
    CHECK(w.ec == errc::timed_out);
}

TEST_CASE("a lease that bars the way ends on the waiter's loop, though the domain's stands still") {
    fixture f;
    const guard held = try_lock(write(f.a), lock_options{.name = "hog"});
    waiter w;
    w.start({.on = &f.mine}, write(f.a));
    f.mine.advance(200ms - 1ns);
    CHECK(!w.done());
    f.mine.advance(1ns);
    CHECK(w.held);
    CHECK(held.expired());
    CHECK(f.lines == std::vector<std::string>{"hog"});
}

TEST_CASE("an end that becomes known while a loop sleeps for longer is kept as well") {
    fixture f;
    const guard held = try_lock(write(f.a), lock_options{.lease = 1h});
    waiter w;
    w.start({.on = &f.mine}, write(f.a));
    f.mine.run_ready();
    const guard late = try_lock(write(f.b), lock_options{.lease = 50ms});
    f.mine.advance(50ms);
    CHECK(late.expired());
}

TEST_CASE("each loop on which something waits keeps the time, whichever of the others stand still") {
    fixture f;
    manual_loop third{f.time};
    const guard held = try_lock(write(f.a), lock_options{.lease = no_lease});
    waiter stuck;
    stuck.start({.deadline = f.mine.now() + 10ms, .on = &third}, write(f.a));
    waiter w;
    w.start(f.here(100ms), write(f.a));
    f.mine.advance(10ms);
    third.run_ready();
    CHECK(stuck.ec == errc::timed_out);
    f.mine.advance(90ms);
    CHECK(w.ec == errc::timed_out);
}

TEST_CASE("a loop on which nothing waits any more is not woken for the time of others") {
    fixture f;
    {
        const guard held = try_lock(write(f.a));
        waiter w;
        w.start({.on = &f.mine}, write(f.a));
        f.mine.run_ready();
    }
    f.mine.advance(200ms); // it had been told of this
    const guard held = try_lock(write(f.a));
    f.mine.advance(1h);
    CHECK(!held.expired());
}

TEST_CASE("a transaction's deadline passes on its own loop") {
    fixture f;
    const guard held = try_lock(write(f.a), lock_options{.lease = no_lease});
    std::error_code ec;
    const auto run = [](domain& d, buffer what, lock_options options, std::error_code& out) -> probe {
        transaction tx{d, options};
        co_await tx.lock(write(what), out);
    };
    const probe p = run(f.media, f.a, f.here(100ms), ec);
    f.mine.advance(100ms);
    CHECK(p.done());
    CHECK(ec == errc::timed_out);
}

TEST_CASE("a waiter that has timed out elsewhere lets the one behind it go on") {
    fixture f;
    const guard held = try_lock(read(f.a), lock_options{.lease = no_lease});
    waiter writer;
    writer.start(f.here(100ms), write(f.a));
    waiter reader;
    reader.start(f.here(), read(f.a));
    f.mine.advance(100ms);
    CHECK(writer.ec == errc::timed_out);
    CHECK(reader.held);
}

TEST_CASE("a thread that blocks is woken for an end that was not known when it fell asleep") {
    epoll_loop loop; // never runs
    domain media{loop, {.lease = no_lease, .report = {}}};
    std::array<std::array<std::byte, 64>, 2> memory{};
    const buffer a = media.adopt(memory[0], "a");
    const buffer b = media.adopt(memory[1], "b");
    guard held = try_lock(write(a));
    std::jthread blocked{[&] {
        std::error_code ec;
        const guard g = blocking_lock(write(a), ec);
        CHECK(!ec);
    }};
    while (media.counters().contended == 0) { std::this_thread::yield(); }
    const guard brief = try_lock(write(b), lock_options{.lease = 1ms});
    while (!brief.expired()) { std::this_thread::yield(); } // for ever, if the thread sleeps on
    held.unlock();
}

TEST_CASE("a loop of another clock than the domain's is not waited on") {
    support::check_misuse("a lock waits on a loop that has another clock than the domain's", [] {
        manual_loop loop;
        manual_loop other;
        domain media{loop};
        std::array<std::byte, 64> memory{};
        const buffer a = media.adopt(memory, "a");
        const guard held = try_lock(write(a));
        waiter w;
        w.start({.on = &other}, write(a));
    });
}
