// SPDX-License-Identifier: MIT
#include <dmasync/lock.hpp>

#include <dmasync/domain.hpp>
#include <dmasync/manual_loop.hpp>

#include <doctest/doctest.h>
#include <support/callback.hpp>
#include <support/lock_fixture.hpp>
#include <support/probe.hpp>
#include <support/waiter.hpp>

#include <array>
#include <chrono>
#include <cstddef>
#include <memory>
#include <optional>
#include <span>
#include <stop_token>
#include <system_error>
#include <thread>
#include <utility>

using namespace dmasync;
using fixture = support::lock_fixture;
using support::waiter;
using namespace std::chrono_literals;

// ---- deadlines -------------------------------------------------------------------------------------------------------

TEST_CASE("a waiter gives up at its deadline, and not before") {
    fixture f;
    const guard held = try_lock(write(f.a));
    waiter w;
    w.start({.deadline = f.loop.now() + 10ms}, read(f.a));
    f.loop.advance(10ms - 1ns);
    CHECK(!w.coroutine.done());
    f.loop.advance(1ns);
    CHECK(w.coroutine.done());
    CHECK(w.ec == errc::timed_out);
    CHECK(w.ec == std::errc::timed_out);
    CHECK(f.media.counters().timed_out == 1);
}

TEST_CASE("a deadline that has passed still gets what is free, and fails at once otherwise") {
    fixture f;
    const lock_options late{.deadline = f.loop.now() - 1s};
    waiter lucky;
    lucky.start(late, write(f.a));
    CHECK(lucky.held);
    waiter unlucky;
    unlucky.start(late, write(f.a));
    CHECK(unlucky.ec == errc::timed_out);
}

TEST_CASE("a lock that is granted before the deadline is not bothered by it") {
    fixture f;
    guard held = try_lock(write(f.a));
    waiter w;
    w.start({.deadline = f.loop.now() + 10ms}, read(f.a));
    held.unlock();
    f.loop.advance(20ms);
    CHECK(w.held);
    CHECK(!w.held.expired());
}

TEST_CASE("a writer that gives up at its deadline lets the readers behind it go") {
    fixture f;
    const guard held = try_lock(read(f.a));
    waiter writer;
    waiter reader;
    writer.start({.deadline = f.loop.now() + 10ms}, write(f.a));
    reader.start({}, read(f.a));
    f.loop.advance(10ms);
    CHECK(writer.ec == errc::timed_out);
    CHECK(reader.held);
}

TEST_CASE("when the deadline of one waiter lets another go whose deadline passes too, each has one outcome") {
    fixture f;
    const guard held = try_lock(read(f.a));
    waiter writer;
    waiter reader;
    writer.start({.deadline = f.loop.now() + 10ms}, write(f.a));
    reader.start({.deadline = f.loop.now() + 10ms}, read(f.a));
    f.loop.advance(10ms);
    CHECK(writer.coroutine.done());
    CHECK(reader.coroutine.done());
    CHECK(static_cast<bool>(reader.held) == !reader.ec);
}

// ---- cancellation ----------------------------------------------------------------------------------------------------

TEST_CASE("a stop request ends the wait, on the loop") {
    fixture f;
    const guard held = try_lock(write(f.a));
    std::stop_source source;
    const std::stop_token token = source.get_token();
    waiter w;
    w.start({.stop = token}, read(f.a));
    source.request_stop();
    CHECK(!w.coroutine.done());
    f.loop.run_ready();
    CHECK(w.ec == errc::cancelled);
    CHECK(f.media.counters().cancelled == 1);
}

TEST_CASE("a lock that is stopped before it begins takes nothing") {
    fixture f;
    std::stop_source source;
    source.request_stop();
    const std::stop_token token = source.get_token();
    waiter w;
    w.start({.stop = token}, write(f.a));
    CHECK(w.ec == errc::cancelled);
    CHECK(f.media.counters().cancelled == 1);
    CHECK(try_lock(write(f.a)));
}

TEST_CASE("a stop request that comes between the attempt and the wait ends the lock there") {
    fixture f;
    const guard held = try_lock(write(f.a));
    std::stop_source source;
    const std::stop_token token = source.get_token();
    std::error_code ec;
    const lock_options options{.stop = token};
    auto lock_a = lock(write(f.a), options, ec); // step by step, as a coroutine would
    CHECK(!lock_a.await_ready());
    source.request_stop();
    CHECK(!lock_a.await_suspend(std::noop_coroutine()));
    CHECK(!lock_a.await_resume());
    CHECK(ec == errc::cancelled);
}

TEST_CASE("an unlock that comes between the attempt and the wait grants the lock there") {
    fixture f;
    guard held = try_lock(write(f.a));
    auto lock_a = lock(write(f.a));
    CHECK(!lock_a.await_ready());
    held.unlock();
    CHECK(!lock_a.await_suspend(std::noop_coroutine()));
    CHECK(lock_a.await_resume());
}

TEST_CASE("a stop request that comes after the grant changes nothing") {
    fixture f;
    guard held = try_lock(write(f.a));
    std::stop_source source;
    const std::stop_token token = source.get_token();
    waiter w;
    w.start({.stop = token}, read(f.a));
    held.unlock(); // granted, not yet resumed
    source.request_stop();
    f.loop.run_ready();
    CHECK(w.held);
    CHECK(!w.ec);
}

TEST_CASE("a grant that comes after the stop request changes nothing") {
    fixture f;
    guard held = try_lock(write(f.a));
    std::stop_source source;
    const std::stop_token token = source.get_token();
    waiter w;
    w.start({.stop = token}, write(f.a));
    source.request_stop();
    held.unlock();
    f.loop.run_ready();
    CHECK(w.ec == errc::cancelled);
    CHECK(try_lock(write(f.a)));
}

// ---- destruction of the waiting coroutine ----------------------------------------------------------------------------

TEST_CASE("destroying a waiting coroutine takes it out of the queues") {
    fixture f;
    guard held = try_lock(write(f.a));
    waiter gone;
    waiter next;
    gone.start({}, write(f.a), write(f.b));
    next.start({}, write(f.a));
    gone.coroutine.destroy();
    CHECK(try_lock(write(f.b)));
    held.unlock();
    f.loop.run_ready();
    CHECK(next.held);
}

TEST_CASE("destroying a coroutine between its grant and its resumption gives the buffers on") {
    fixture f;
    guard held = try_lock(write(f.a));
    waiter gone;
    waiter next;
    gone.start({}, write(f.a));
    next.start({}, write(f.a));
    held.unlock(); // grants `gone`, which the loop is to resume
    gone.coroutine.destroy();
    f.loop.run_ready();
    CHECK(next.held);
}

TEST_CASE("destroying a coroutine after its stop request and before its resumption is safe") {
    fixture f;
    const guard held = try_lock(write(f.a));
    std::stop_source source;
    const std::stop_token token = source.get_token();
    waiter w;
    w.start({.stop = token}, write(f.a));
    source.request_stop();
    w.coroutine.destroy();
    f.loop.run_ready();
}

TEST_CASE("a coroutine that holds can be destroyed: its guard unlocks") {
    fixture f;
    const auto sleeper = [](fixture& x, std::suspend_always forever) -> probe {
        auto mine = co_await lock(write(x.a));
        co_await forever;
    };
    probe p = sleeper(f, {});
    CHECK(!try_lock(write(f.a)));
    p.destroy();
    CHECK(try_lock(write(f.a)));
}

TEST_CASE("a loop that is destroyed with a granted waiter in its queue leaves the waiter to be destroyed") {
    manual_loop main;
    std::optional<manual_loop> side{std::in_place, main.time_source()};
    domain media{main};
    const buffer a = media.allocate(64);
    guard held = try_lock(write(a));
    waiter w;
    w.start({.on = &*side}, write(a));
    held.unlock();
    side.reset();
    CHECK(!w.coroutine.done());
    w.coroutine.destroy();
    CHECK(try_lock(write(a)));
}

// ---- closing ---------------------------------------------------------------------------------------------------------

TEST_CASE("closing a buffer fails its waiters; its holder goes on") {
    fixture f;
    const guard held = try_lock(write(f.a));
    waiter reader;
    waiter set;
    reader.start({}, read(f.a));
    set.start({}, write(f.a), write(f.b));
    f.a.close();
    f.loop.run_ready();
    CHECK(reader.ec == errc::closed);
    CHECK(set.ec == errc::closed);
    CHECK(held);
    CHECK(try_lock(write(f.b)));
}

TEST_CASE("a grant that comes before the close stands") {
    fixture f;
    guard held = try_lock(write(f.a));
    waiter w;
    w.start({}, write(f.a));
    held.unlock();
    f.a.close();
    f.loop.run_ready();
    CHECK(w.held);
}

TEST_CASE("destroying a domain fails every waiter; guards and handles outlive it") {
    manual_loop loop;
    std::optional<domain> media{std::in_place, loop};
    buffer a = media->allocate(64);
    buffer b = media->allocate(64);
    guard held = try_lock(write(a), write(b));
    waiter first;
    waiter second;
    first.start({}, read(a));
    second.start({}, write(b), write(a));
    media.reset();
    loop.run_ready();
    CHECK(first.ec == errc::closed);
    CHECK(second.ec == errc::closed);
    CHECK(held);
    CHECK(!held.unlock());
    std::error_code ec;
    CHECK(!try_lock(read(a), ec));
    CHECK(ec == errc::closed);
}

TEST_CASE("destroying a domain grants no lock, though it ends the waits that are in its way") {
    manual_loop loop;
    std::optional<domain> media{std::in_place, loop};
    std::array<std::byte, 2> memory{};
    buffer a = media->adopt(std::span{memory}.first(1));
    buffer b = media->adopt(std::span{memory}.last(1));
    SUBCASE("whichever buffer is closed first") {}
    SUBCASE("or last") { std::swap(a, b); }
    const guard held = try_lock(write(a));
    waiter both;
    waiter behind; // b is free, but wanted by an older one
    both.start({}, write(a), write(b));
    behind.start({}, write(b));
    media.reset();
    loop.run_ready();
    CHECK(both.ec == errc::closed);
    CHECK(behind.ec == errc::closed);
}

/// A held buffer whose domain is gone, and the loop with it: what looks at the loop looks at freed memory.
struct left_behind {
    std::unique_ptr<manual_loop> loop = std::make_unique<manual_loop>();
    std::optional<domain> media{std::in_place, *loop};
    buffer a = media->allocate(64);
    guard held = try_lock(read(a));
    std::error_code ec;

    void leave() {
        media.reset();
        loop.reset();
    }
};

TEST_CASE("buffers outlive their domain and its loop: every way to lock them says that they are closed") {
    left_behind f;
    f.leave();
    CHECK(!try_lock(write(f.a), f.ec));
    CHECK(f.ec == errc::closed);
    CHECK(!blocking_lock(write(f.a), f.ec));
    CHECK(f.ec == errc::closed);
    waiter w;
    w.start({}, write(f.a));
    CHECK(w.ec == errc::closed);
    f.held.unlock();
    CHECK(!try_lock(write(f.a), f.ec));
    CHECK(f.ec == errc::closed);
}

TEST_CASE("a guard outlives its domain and the loop: its lease ends no more, and cannot be renewed to end later") {
    left_behind f;
    const auto end = f.held.expires_at();
    f.leave();
    CHECK(f.held.renew(1h, f.ec) == end);
    CHECK(!f.ec);
    CHECK(!f.held.unlock());
}

TEST_CASE("a thread that is blocked while the domain and its loop go away finds the buffer closed") {
    for (int round = 0; round < 50; ++round) {
        left_behind f;
        std::thread other{[&] { static_cast<void>(blocking_lock(write(f.a), f.ec)); }};
        while (try_lock(read(f.a))) { std::this_thread::yield(); } // until the writer waits
        f.leave();
        other.join();
        CHECK(f.ec == errc::closed);
    }
}
