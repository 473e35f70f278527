// SPDX-License-Identifier: MIT
#include <dmasync/lock.hpp>

#include <dmasync/domain.hpp>
#include <dmasync/epoll_loop.hpp>
#include <dmasync/manual_loop.hpp>

#include <doctest/doctest.h>
#include <support/callback.hpp>
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
#include <vector>

using namespace dmasync;
using support::waiter;
using namespace std::chrono_literals;

namespace {

/// A domain on a virtual clock, with a few buffers of plain memory.
struct fixture {
    manual_loop loop;
    std::vector<lease_report> reports; // without what dies with the call
    domain media{loop, {.name = "media", .report = [this](const lease_report& r) { reports.push_back(r); }}};
    std::array<std::array<std::byte, 64>, 3> memory{};
    buffer a = media.adopt(memory[0], "a");
    buffer b = media.adopt(memory[1], "b");
    buffer c = media.adopt(memory[2], "c");
};

} // namespace

TEST_CASE("an uncontended lock is granted in place") {
    fixture f;
    waiter w;
    w.start({}, read(f.a), write(f.b));
    CHECK(w.coroutine.done());
    CHECK(w.held);
    CHECK(!w.ec);
}

TEST_CASE("a conflicting lock waits until the holder unlocks, and is resumed by the loop, not inside the unlock") {
    fixture f;
    guard held = try_lock(write(f.a));
    waiter w;
    w.start({}, read(f.a));
    CHECK(!w.coroutine.done());
    held.unlock();
    CHECK(!w.coroutine.done());
    f.loop.run_ready();
    CHECK(w.coroutine.done());
    CHECK(w.held);
}

TEST_CASE("readers share, by CPU and by DMA") {
    fixture f;
    const guard first = try_lock(read(f.a));
    const guard second = try_lock(dma_read(f.a));
    CHECK(first);
    CHECK(second);
}

TEST_CASE("waiters of one buffer are granted in the order in which they asked") {
    fixture f;
    guard held = try_lock(write(f.a));
    std::array<waiter, 3> queue;
    for (waiter& w : queue) { w.start({}, write(f.a)); }
    held.unlock();
    for (std::size_t i = 0; i < queue.size(); ++i) {
        f.loop.run_ready();
        for (std::size_t n = 0; n < queue.size(); ++n) { CHECK(queue[n].coroutine.done() == (n <= i)); }
        queue[i].held.unlock();
    }
}

TEST_CASE("a waiter that locks again at once goes to the end of the queue") {
    fixture f;
    guard held = try_lock(write(f.a));
    std::vector<int> order;
    const auto twice = [](fixture& x, std::vector<int>& o, int me) -> probe {
        for (int round = 0; round < 2; ++round) {
            auto mine = co_await lock(write(x.a));
            o.push_back(me);
        }
    };
    const probe first = twice(f, order, 1);
    const probe second = twice(f, order, 2);
    held.unlock();
    f.loop.run_ready();
    CHECK(order == std::vector{1, 2, 1, 2});
}

TEST_CASE("a try_lock that would have to wait gives an empty guard that says so, and throws nothing") {
    fixture f;
    const guard held = try_lock(write(f.a));
    const auto refused = try_lock(read(f.a));
    CHECK(!refused);
    CHECK(refused.error() == errc::would_block);
    CHECK(refused.error() == std::errc::resource_unavailable_try_again);
}

TEST_CASE("a try_lock does not overtake what waits") {
    fixture f;
    const guard reader = try_lock(read(f.a));
    waiter writer;
    writer.start({}, write(f.a));
    CHECK(try_lock(read(f.a)).error() == errc::would_block);
}

TEST_CASE("a set with a fault is refused by its own error, and nothing of it is locked") {
    fixture f;
    domain other{f.loop};
    const buffer foreign = other.allocate(64);
    std::error_code ec;
    SUBCASE("one buffer twice") {
        static_cast<void>(try_lock(write(f.a), read(f.a), ec));
        CHECK(ec == errc::duplicate_buffer);
    }
    SUBCASE("buffers of two domains") {
        static_cast<void>(try_lock(write(f.a), read(foreign), ec));
        CHECK(ec == errc::wrong_domain);
    }
    SUBCASE("an empty handle") {
        static_cast<void>(try_lock(read(buffer{}), ec));
        CHECK(ec == errc::wrong_domain);
    }
    SUBCASE("an empty handle behind a good one") {
        static_cast<void>(try_lock(write(f.a), read(buffer{}), ec));
        CHECK(ec == errc::wrong_domain);
    }
    SUBCASE("a lease of nothing") {
        static_cast<void>(try_lock(write(f.a), lock_options{.lease = 0ns}, ec));
        CHECK(ec == errc::invalid_lease);
    }
    SUBCASE("a negative lease") {
        static_cast<void>(try_lock(write(f.a), lock_options{.lease = -1ns}, ec));
        CHECK(ec == errc::invalid_lease);
    }
    SUBCASE("a closed buffer") {
        f.b.close();
        static_cast<void>(try_lock(write(f.a), read(f.b), ec));
        CHECK(ec == errc::closed);
    }
    CHECK(try_lock(write(f.a)));
}

#if defined(__cpp_exceptions)
TEST_CASE("without an error code, a failed lock throws std::system_error") {
    fixture f;
    CHECK_THROWS_AS(static_cast<void>(try_lock(write(f.a), write(f.a))), std::system_error);
}
#else
TEST_CASE("without exceptions, a failed lock gives an empty guard that says why") {
    fixture f;
    CHECK(try_lock(write(f.a), write(f.a)).error() == errc::duplicate_buffer);
}
#endif

TEST_CASE("a success clears the error code") {
    fixture f;
    std::error_code ec = errc::closed;
    const auto held = try_lock(read(f.a), ec);
    CHECK(!ec);
    CHECK(held);
}

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

// ---- options ---------------------------------------------------------------------------------------------------------

TEST_CASE("options written inside the co_await expression arrive whole") {
    fixture f;
    const auto body = [](fixture& x, std::stop_token stop, std::vector<event_loop::time_point>& ends) -> probe {
        for (int i = 0; i < 3; ++i) {
            const auto held =
                co_await lock(read(x.a), write(x.b), lock_options{.lease = 7ms, .stop = stop, .name = "inline"});
            ends.push_back(held.expires_at());
        }
        std::error_code ec;
        const auto other = co_await lock(write(x.c), lock_options{.lease = 9ms, .on = &x.loop}, ec);
        ends.push_back(other.expires_at());
    };
    const std::stop_source source;
    std::vector<event_loop::time_point> ends;
    const probe p = body(f, source.get_token(), ends);
    CHECK(p.done());
    const auto now = f.loop.now();
    CHECK(ends == std::vector{now + 7ms, now + 7ms, now + 7ms, now + 9ms});
}

// ---- what the guard allows -------------------------------------------------------------------------------------------

TEST_CASE("a guard gives the bytes that its access allows, and the compiler knows them by position") {
    fixture f;
    const auto held = try_lock(read(f.a), write(f.b), dma_write(f.c));
    static_assert(std::is_same_v<decltype(held.bytes<0>()), std::span<const std::byte>>);
    static_assert(std::is_same_v<decltype(held.bytes<1>()), std::span<std::byte>>);
    held.bytes<1>()[5] = std::byte{42};
    CHECK(f.memory[1][5] == std::byte{42});
    CHECK(held.bytes(f.a).data() == f.memory[0].data());
    CHECK(held.writable_bytes(f.b).size() == 64);
}

namespace {
template <class Guard, std::size_t Index>
concept has_bytes = requires(const Guard& g) {
    g.template bytes<Index>();
};
template <class Guard>
concept has_any_bytes = requires(const Guard& g, const buffer& b) {
    g.bytes(b);
};
template <class Guard>
concept has_writable_bytes = requires(const Guard& g, const buffer& b) {
    g.writable_bytes(b);
};
} // namespace

TEST_CASE("there is no way to spell the bytes of a buffer locked for DMA") {
    using mixed = guard_of<access_mode::read, access_mode::dma_read>;
    static_assert(has_bytes<mixed, 0> && !has_bytes<mixed, 1> && !has_bytes<mixed, 2>);
    static_assert(has_any_bytes<mixed> && !has_writable_bytes<mixed>);
    using device = guard_of<access_mode::dma_read_write>;
    static_assert(!has_bytes<device, 0> && !has_any_bytes<device> && !has_writable_bytes<device>);
}

TEST_CASE("a guard that has forgotten its types refuses bytes at run time") {
    fixture f;
    const guard held = try_lock(read(f.a), dma_write(f.b));
    std::error_code ec;
    CHECK(held.bytes(f.b, ec).empty());
    CHECK(ec == errc::invalid_access);
    CHECK(held.writable_bytes(f.a, ec).empty());
    CHECK(ec == errc::invalid_access);
    CHECK(held.bytes(f.c, ec).empty());
    CHECK(ec == errc::not_in_set);
    CHECK(guard{}.bytes(f.a, ec).empty());
    CHECK(ec == errc::not_locked);
}

TEST_CASE("unlocking twice says that nothing is held") {
    fixture f;
    guard held = try_lock(write(f.a));
    CHECK(!held.unlock());
    CHECK(held.unlock() == errc::not_locked);
    CHECK(held.error() == errc::not_locked);
}

TEST_CASE("a moved guard holds on; what it is moved onto is unlocked first") {
    fixture f;
    guard first = try_lock(write(f.a));
    guard second = try_lock(write(f.b));
    second = std::move(first);
    CHECK(try_lock(write(f.b)));
    CHECK(!try_lock(write(f.a)));
    CHECK(second);
}

TEST_CASE("a buffer released early is free for others, and can be neither used nor released again") {
    fixture f;
    guard held = try_lock(write(f.a), write(f.b));
    held.release(f.a);
    CHECK(try_lock(write(f.a)));
    CHECK(!try_lock(write(f.b)));
    std::error_code ec;
    held.release(f.a, ec);
    CHECK(ec == errc::not_in_set);
    CHECK(held.bytes(f.a, ec).empty());
    CHECK(ec == errc::not_in_set);
    CHECK(!held.unlock());
}

TEST_CASE("a downgraded buffer is shared with readers and can no longer be written") {
    fixture f;
    auto held = try_lock(write(f.a));
    waiter reader;
    reader.start({}, read(f.a));
    held.downgrade(f.a);
    f.loop.run_ready();
    CHECK(reader.held);
    std::error_code ec;
    CHECK(held.bytes<0>(ec).empty());
    CHECK(ec == errc::invalid_access);
    CHECK(held.bytes(f.a).size() == 64);
}

TEST_CASE("the misuses of a guard have their own errors") {
    fixture f;
    guard held = try_lock(write(f.a));
    std::error_code ec;
    held.downgrade(f.b, ec);
    CHECK(ec == errc::not_in_set);
    CHECK(held.token(f.b, ec) == 0);
    CHECK(ec == errc::not_in_set);
    static_cast<void>(held.renew(0ns, ec));
    CHECK(ec == errc::invalid_lease);
    held.unlock();
    held.release(f.a, ec);
    CHECK(ec == errc::not_locked);
    static_cast<void>(held.renew(1s, ec));
    CHECK(ec == errc::not_locked);
    CHECK(held.expires_at() == event_loop::time_point::max());
    CHECK(!held.stop_token().stop_possible());
}

// ---- where one resumes -----------------------------------------------------------------------------------------------

TEST_CASE("a waiter resumes on the loop it asked for") {
    fixture f;
    manual_loop other{f.loop.time_source()};
    guard held = try_lock(write(f.a));
    waiter w;
    w.start({.on = &other}, write(f.a));
    held.unlock();
    f.loop.run_ready();
    CHECK(!w.coroutine.done());
    other.run_ready();
    CHECK(w.held);
}

TEST_CASE("an unlock inside a resumption resumes the next from the loop, without recursion") {
    fixture f;
    guard held = try_lock(write(f.a));
    int depth = 0;
    int deepest = 0;
    const auto nested = [](fixture& x, int& d, int& max) -> probe {
        auto mine = co_await lock(write(x.a));
        max = std::max(max, ++d);
        mine.unlock();
        --d;
    };
    std::vector<probe> all;
    all.reserve(10);
    for (int i = 0; i < 10; ++i) { all.push_back(nested(f, depth, deepest)); }
    held.unlock();
    f.loop.run_ready();
    for (const probe& p : all) { CHECK(p.done()); }
    CHECK(deepest == 1);
}

// ---- threads without coroutines --------------------------------------------------------------------------------------

TEST_CASE("a blocking lock waits for another thread's unlock") {
    fixture f;
    guard held = try_lock(write(f.a));
    std::error_code ec;
    std::thread other{[&] {
        const auto mine = blocking_lock(write(f.a), ec);
        f.memory[0][0] = std::byte{1};
    }};
    held.unlock();
    other.join();
    CHECK(!ec);
    CHECK(try_lock(write(f.a)));
}

TEST_CASE("a blocking lock gives up at its deadline though the loop is not run") {
    fixture f;
    const guard held = try_lock(write(f.a));
    std::error_code ec;
    const auto mine = blocking_lock(read(f.a), lock_options{.deadline = f.loop.now()}, ec);
    CHECK(ec == errc::timed_out);
}

TEST_CASE("a blocking lock waits every time, whatever its record was used for before") {
    epoll_loop loop;
    domain media{loop, {.report = {}}};
    const buffer a = media.allocate(64);
    const buffer b = media.allocate(64);
    { // two records that have been used for locks that need not wait
        const guard one = try_lock(write(a));
        const guard two = try_lock(write(b));
    }
    for (int i = 0; i < 3; ++i) {
        const guard overdue = try_lock(write(a), lock_options{.lease = 1ms});
        const guard mine = blocking_lock(write(a)); // the loop is not run: this thread ends the other's lease itself
        CHECK(overdue.expired());
        CHECK_FALSE(mine.expired());
    }
}

TEST_CASE("a blocking lock is cancelled by another thread") {
    fixture f;
    const guard held = try_lock(write(f.a));
    std::stop_source source;
    const std::stop_token token = source.get_token();
    std::error_code ec;
    std::thread other{[&] { static_cast<void>(blocking_lock(read(f.a), lock_options{.stop = token}, ec)); }};
    source.request_stop();
    other.join();
    CHECK(ec == errc::cancelled);
}

TEST_CASE("a blocking lock that would stop the loop it runs on is refused") {
    fixture f;
    const guard held = try_lock(write(f.a));
    std::error_code ec;
    support::posted inside{[&] { static_cast<void>(blocking_lock(read(f.a), ec)); }};
    f.loop.post(inside);
    f.loop.run_ready();
    CHECK(ec == errc::would_deadlock);
}

TEST_CASE("a blocking lock in a turn of a loop that is not its domain's is refused as well") {
    fixture f;
    manual_loop other;
    const guard held = try_lock(write(f.a));
    std::error_code ec;
    support::posted inside{[&] { static_cast<void>(blocking_lock(read(f.a), ec)); }};
    other.post(inside);
    other.run_ready();
    CHECK(ec == errc::would_deadlock);
}

TEST_CASE("a blocking lock that need not wait is granted in a turn of a loop") {
    fixture f;
    bool granted = false;
    support::posted inside{[&] { granted = static_cast<bool>(blocking_lock(read(f.a))); }};
    f.loop.post(inside);
    f.loop.run_ready();
    CHECK(granted);
}
