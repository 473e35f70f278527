// SPDX-License-Identifier: MIT
#include <dmasync/lock_set.hpp>

#include <dmasync/domain.hpp>
#include <dmasync/manual_loop.hpp>
#include <dmasync/transaction.hpp>

#include <doctest/doctest.h>
#include <support/probe.hpp>

#include <chrono>
#include <cstddef>
#include <optional>
#include <system_error>
#include <thread>
#include <vector>

using namespace dmasync;
using namespace std::chrono_literals;

namespace {

struct fixture {
    manual_loop loop;
    domain media{loop};
    buffer a = media.allocate(64, "a");
    buffer b = media.allocate(64, "b");
    lock_set set{media, "frame"};
    std::error_code ec;
};

probe hold(lock_set& s, guard& out, std::error_code& ec) { out = co_await s.lock(ec); }

probe hold_until(lock_set& s, event_loop::time_point deadline, guard& out, std::error_code& ec) {
    const lock_options options{.deadline = deadline};
    out = co_await s.lock(options, ec);
}

} // namespace

TEST_CASE("a set is filled once and locked every frame") {
    fixture f;
    f.set.add(f.a, access_mode::read);
    f.set.add(f.b, access_mode::write);
    for (int frame = 0; frame < 3; ++frame) {
        guard held = f.set.try_lock();
        CHECK(held.bytes(f.a).size() == 64);
        CHECK(held.writable_bytes(f.b).size() == 64);
    }
    CHECK(f.set.size() == 2);
    CHECK(f.set.name() == "frame");
}

TEST_CASE("a set waits like any other lock") {
    fixture f;
    f.set.add(f.a, access_mode::write);
    guard other = try_lock(write(f.a));
    guard held;
    const probe p = hold(f.set, held, f.ec);
    CHECK(!p.done());
    other.unlock();
    f.loop.run_ready();
    CHECK(held);
}

TEST_CASE("a set waits until its deadline, and is free to be locked again then") {
    fixture f;
    f.set.add(f.a, access_mode::write);
    guard other = try_lock(write(f.a));
    guard held;
    const probe p = hold_until(f.set, f.loop.now() + 1s, held, f.ec);
    CHECK(!p.done());
    f.loop.advance(1s);
    CHECK(f.ec == errc::timed_out);
    other.unlock();
    CHECK(f.set.try_lock());
}

TEST_CASE("a thread blocks on a set") {
    fixture f;
    f.set.add(f.a, access_mode::write);
    guard other = try_lock(write(f.a));
    std::thread waiter{[&] { static_cast<void>(f.set.blocking_lock(f.ec)); }};
    other.unlock();
    waiter.join();
    CHECK(!f.ec);
}

TEST_CASE("an empty set cannot be locked") {
    fixture f;
    static_cast<void>(f.set.try_lock(f.ec));
    CHECK(f.ec == errc::empty_set);
    CHECK(f.ec == std::errc::invalid_argument);
}

TEST_CASE("what does not belong into a set is refused, and the set stays as it was") {
    fixture f;
    domain other{f.loop};
    f.set.add(f.a, access_mode::read);
    SUBCASE("a buffer that is in it") {
        f.set.add(f.a, access_mode::write, f.ec);
        CHECK(f.ec == errc::duplicate_buffer);
    }
    SUBCASE("a buffer of another domain") {
        f.set.add(other.allocate(64), access_mode::read, f.ec);
        CHECK(f.ec == errc::wrong_domain);
    }
    SUBCASE("an empty handle") {
        f.set.add(buffer{}, access_mode::read, f.ec);
        CHECK(f.ec == errc::wrong_domain);
    }
    SUBCASE("flags that are no access") {
        f.set.add(f.b, static_cast<access_mode>(4), f.ec);
        CHECK(f.ec == errc::invalid_access);
    }
    SUBCASE("removing what is not there") {
        f.set.remove(f.b, f.ec);
        CHECK(f.ec == errc::not_in_set);
    }
    CHECK(f.set.size() == 1);
    CHECK(f.set.try_lock().bytes(f.a).size() == 64);
}

TEST_CASE("a removed buffer is not locked") {
    fixture f;
    f.set.add(f.a, access_mode::write);
    f.set.add(f.b, access_mode::write);
    f.set.remove(f.a);
    const guard held = f.set.try_lock();
    CHECK(try_lock(write(f.a)));
    CHECK(!try_lock(write(f.b)));
}

TEST_CASE("a set of many buffers knows each of them, and which have been taken out") {
    fixture f;
    std::vector<buffer> many;
    for (int i = 0; i < 100; ++i) { many.push_back(f.media.allocate(64)); }
    for (const buffer& each : many) { f.set.add(each, access_mode::write); }
    for (std::size_t i = 0; i < many.size(); i += 2) { f.set.remove(many[i]); }
    for (std::size_t i = 0; i < many.size(); ++i) {
        f.set.remove(many[i], f.ec);
        CHECK(f.ec == (i % 2 == 0 ? make_error_code(errc::not_in_set) : std::error_code{}));
    }
    CHECK(f.set.size() == 0);
}

TEST_CASE("a set of many buffers locks those that it has, each for its own access") {
    fixture f;
    std::vector<buffer> many;
    for (int i = 0; i < 100; ++i) { many.push_back(f.media.allocate(64)); }
    for (std::size_t i = 0; i < many.size(); ++i) {
        f.set.add(many[i], i % 3 == 0 ? access_mode::write : access_mode::read);
    }
    f.set.remove(many[50]);
    const guard held = f.set.try_lock();
    for (std::size_t i = 0; i < many.size(); ++i) {
        CHECK(static_cast<bool>(try_lock(read(many[i]))) == (i % 3 != 0 || i == 50));
    }
}

TEST_CASE("a set that is locked can be neither locked again nor changed") {
    fixture f;
    f.set.add(f.a, access_mode::read);
    guard held = f.set.try_lock();
    static_cast<void>(f.set.try_lock(f.ec));
    CHECK(f.ec == errc::already_locked);
    f.set.add(f.b, access_mode::read, f.ec);
    CHECK(f.ec == errc::already_locked);
    f.set.remove(f.a, f.ec);
    CHECK(f.ec == errc::already_locked);
    f.set.clear(f.ec);
    CHECK(f.ec == errc::already_locked);
    held.unlock();
    f.set.clear(f.ec);
    CHECK(!f.ec);
}

TEST_CASE("a set that is being waited for counts as locked, until the wait is given up") {
    fixture f;
    f.set.add(f.a, access_mode::write);
    const guard other = try_lock(write(f.a));
    guard held;
    std::error_code ec;
    probe p = hold(f.set, held, ec);
    static_cast<void>(f.set.try_lock(f.ec));
    CHECK(f.ec == errc::already_locked);
    p.destroy();
    static_cast<void>(f.set.try_lock(f.ec));
    CHECK(f.ec == errc::would_block);
}

TEST_CASE("a set can be locked again once its lease has run out") {
    fixture f;
    f.set.add(f.a, access_mode::write);
    const guard stale = f.set.try_lock({.lease = 1s});
    f.loop.advance(1s);
    CHECK(f.set.try_lock());
}

TEST_CASE("a guard outlives its set") {
    fixture f;
    std::optional<lock_set> temporary{std::in_place, f.media, "temporary"};
    temporary->add(f.a, access_mode::write);
    guard held = temporary->try_lock();
    temporary.reset();
    CHECK(!try_lock(write(f.a)));
    CHECK(!held.unlock());
}

TEST_CASE("a set may go while a coroutine waits for it") {
    fixture f;
    guard other = try_lock(write(f.a));
    std::optional<lock_set> temporary{std::in_place, f.media, "temporary"};
    temporary->add(f.a, access_mode::write);
    guard held;
    const probe p = hold(*temporary, held, f.ec);
    temporary.reset();
    other.unlock();
    f.loop.run_ready();
    CHECK(held);
}

TEST_CASE("a set outlives its domain, even when there is nothing in it") {
    manual_loop loop;
    std::optional<domain> media{std::in_place, loop};
    lock_set set{*media, "empty"};
    std::error_code ec;
    media.reset();
    loop.run_ready(); // now nothing else is left of the domain
    CHECK(!set.try_lock(ec));
    CHECK(ec == errc::empty_set);
    set.clear(ec);
    CHECK(!ec);
}

TEST_CASE("a set keeps its buffers alive") {
    fixture f;
    f.set.add(f.media.allocate(64), access_mode::write);
    CHECK(f.set.try_lock());
}

TEST_CASE("the options of one lock do not stick to the set") {
    fixture f;
    f.set.add(f.a, access_mode::write);
    CHECK(f.set.try_lock({.lease = 1s}).expires_at() == f.loop.now() + 1s);
    CHECK(f.set.try_lock().expires_at() == f.loop.now() + default_lease);
}

TEST_CASE("a large hold knows each of its buffers, and those that it has no more") {
    fixture f;
    std::vector<buffer> many;
    for (int i = 0; i < 100; ++i) { many.push_back(f.media.allocate(64)); }
    for (const buffer& each : many) { f.set.add(each, access_mode::write); }
    for (int frame = 0; frame < 2; ++frame) {
        guard held = f.set.try_lock();
        for (const buffer& each : many) { CHECK(held.writable_bytes(each, f.ec).size() == 64); }
        CHECK(held.bytes(f.a, f.ec).empty());
        CHECK(f.ec == errc::not_in_set);
        for (std::size_t i = 0; i < many.size(); i += 2) { held.release(many[i]); }
        for (std::size_t i = 0; i < many.size(); ++i) { CHECK(held.bytes(many[i], f.ec).empty() == (i % 2 == 0)); }
    }
}

TEST_CASE("the record of a large hold is used again for other buffers") {
    fixture f;
    std::vector<buffer> many;
    for (int i = 0; i < 40; ++i) { many.push_back(f.media.allocate(64)); }
    const auto use = [&](std::size_t from) {
        transaction tx{f.media};
        for (std::size_t i = from; i < from + 20; ++i) {
            tx.blocking_lock(write(many[i]));
            CHECK(tx.holds(many[i]));
        }
        const guard held = tx.done();
        for (std::size_t i = 0; i < 40; ++i) {
            CHECK(held.bytes(many[i], f.ec).empty() == (i < from || i >= from + 20));
        }
    };
    use(0);
    use(20);
    use(10);
}
