// SPDX-License-Identifier: MIT
#include <dmasync/lock.hpp>

#include <dmasync/domain.hpp>
#include <dmasync/manual_loop.hpp>

#include <doctest/doctest.h>
#include <support/lock_fixture.hpp>
#include <support/probe.hpp>
#include <support/waiter.hpp>

#include <array>
#include <chrono>
#include <cstddef>
#include <span>
#include <stop_token>
#include <system_error>
#include <utility>
#include <vector>

using namespace dmasync;
using fixture = support::lock_fixture;
using support::waiter;
using namespace std::chrono_literals;

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
