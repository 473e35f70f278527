// SPDX-License-Identifier: MIT
#include <dmasync/lock.hpp>

#include <dmasync/domain.hpp>
#include <dmasync/epoll_loop.hpp>
#include <dmasync/manual_loop.hpp>

#include <doctest/doctest.h>
#include <support/callback.hpp>
#include <support/lock_fixture.hpp>

#include <chrono>
#include <cstddef>
#include <stop_token>
#include <system_error>
#include <thread>

using namespace dmasync;
using fixture = support::lock_fixture;
using namespace std::chrono_literals;

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
