// SPDX-License-Identifier: MIT
/// What waits for a domain's buffers on several loops, some of which fail or go away.
#include <dmasync/domain.hpp>

#include <dmasync/lock.hpp>
#include <dmasync/lock_set.hpp>
#include <dmasync/transaction.hpp>

#include <doctest/doctest.h>
#include <support/callback.hpp>
#include <support/fragile_loop.hpp>
#include <support/probe.hpp>
#include <support/waiter.hpp>

#include <array>
#include <chrono>
#include <cstddef>
#include <memory>
#include <optional>
#include <system_error>
#include <utility>

using namespace dmasync;
using namespace std::chrono_literals;
using support::waiter;

namespace {

struct fixture {
    support::fragile_loop loop; // the domain's
    std::unique_ptr<support::fragile_loop> other = std::make_unique<support::fragile_loop>();
    std::array<std::byte, 64> memory{};
    std::optional<domain> media{std::in_place, loop};
    buffer screen = media->adopt(memory, "screen");
    guard held = try_lock(write(screen), lock_options{.lease = no_lease});

    lock_options elsewhere() const { return {.on = other.get()}; }

    void run_ready() {
        other->run_ready();
        loop.run_ready();
    }

    /// Has a loop run `body`.
    template <class Body>
    static void run_on(support::fragile_loop& l, Body body) {
        support::posted work{std::move(body)};
        l.post(work);
        l.run_ready();
    }
};

probe lock_plainly(buffer& b, guard& out, std::error_code& ec) { out = co_await lock(write(b), ec); }

probe look_after(buffer& b, event_loop*& seen) {
    auto held = co_await lock(write(b));
    seen = event_loop::current();
}

probe look_after_set(lock_set& set, event_loop*& seen) {
    auto held = co_await set.lock();
    seen = event_loop::current();
}

probe look_after_transaction(domain& d, buffer& b, event_loop*& seen) {
    transaction tx{d};
    co_await tx.lock(write(b));
    seen = event_loop::current();
}

probe lock_in_transaction(domain& d, buffer& b, lock_options options, std::error_code& ec) {
    transaction tx{d, options};
    co_await tx.lock(write(b), ec);
}

} // namespace

TEST_CASE("a lock that is queued on a loop that fails ends with the error of that loop") {
    fixture f;
    waiter w;
    w.start(f.elsewhere(), write(f.screen));
    f.run_ready();
    f.other->break_down();
    f.run_ready();
    CHECK(w.done());
    CHECK(w.ec == f.other->reason);
}

TEST_CASE("a lock that is queued on the domain's loop ends with its error, too") {
    fixture f;
    guard got;
    std::error_code ec;
    const probe w = lock_plainly(f.screen, got, ec);
    f.run_ready();
    f.loop.break_down();
    f.run_ready();
    CHECK(w.done());
    CHECK(ec == f.loop.reason);
}

TEST_CASE("a transaction that waits on a loop that fails ends with the error of that loop") {
    fixture f;
    std::error_code ec;
    const probe w = lock_in_transaction(*f.media, f.screen, f.elsewhere(), ec);
    f.run_ready();
    f.other->break_down();
    f.run_ready();
    CHECK(w.done());
    CHECK(ec == f.other->reason);
}

TEST_CASE("a lock that would have to wait on a loop that has failed has the error of that loop") {
    fixture f;
    f.other->break_down();
    for (int i = 0; i < 2; ++i) {
        waiter w;
        w.start(f.elsewhere(), write(f.screen));
        f.run_ready();
        CHECK(w.done());
        CHECK(w.ec == f.other->reason);
    }
}

TEST_CASE("what waits on another loop than the one that fails goes on waiting") {
    fixture f;
    waiter lost;
    lost.start(f.elsewhere(), write(f.screen));
    waiter w;
    w.start({}, write(f.screen));
    f.run_ready();
    f.other->break_down();
    f.run_ready();
    CHECK(!w.done());
    f.held.unlock();
    f.run_ready();
    CHECK(w.held);
}

TEST_CASE("what waits on a loop that is destroyed is not resumed, and is in no way of others") {
    fixture f;
    waiter lost;
    lost.start(f.elsewhere(), write(f.screen));
    f.run_ready();
    f.other.reset();
    f.held.unlock();
    CHECK(try_lock(write(f.screen)));
    CHECK(!lost.done());
}

TEST_CASE("a loop may go before a domain that has been waited for on it, or after") {
    for (const bool loop_first : {true, false}) {
        fixture f;
        {
            waiter w;
            w.start(f.elsewhere(), write(f.screen));
            f.run_ready();
        }
        if (loop_first) { f.other.reset(); }
        f.held = {};
        f.media.reset();
        f.screen = {};
        if (!loop_first) { f.other.reset(); }
        CHECK(!f.media);
    }
}

TEST_CASE("a loop that has not had a turn since it was first waited on may go") {
    fixture f;
    waiter w;
    w.start(f.elsewhere(), write(f.screen));
    f.other.reset();
    CHECK(!w.done());
    CHECK(f.media->counters().contended == 1);
}

// ---- a coroutine that names no loop ----------------------------------------------------------------------------------

TEST_CASE("a lock that names no loop goes on where its coroutine runs, not on the domain's") {
    fixture f;
    event_loop* seen = nullptr;
    probe p;
    f.run_on(*f.other, [&] { p = look_after(f.screen, seen); });
    f.held.unlock();
    f.loop.run_ready();
    CHECK(seen == nullptr);
    f.other->run_ready();
    CHECK(seen == f.other.get());
}

TEST_CASE("a lock that queues the shortest way goes on where its coroutine runs, too") {
    fixture f;
    {
        waiter first;
        first.start({}, write(f.screen));
        f.loop.run_ready(); // the domain's loop keeps the time from here on
    }
    buffer other = f.media->allocate(64);
    for (int i = 0; i < 1000; ++i) {
        CHECK(try_lock(write(other)));
    } // the domain is this thread's, its record has no options
    event_loop* seen = nullptr;
    probe p;
    f.run_on(*f.other, [&] { p = look_after(f.screen, seen); });
    f.held.unlock();
    f.loop.run_ready();
    f.other->run_ready();
    CHECK(seen == f.other.get());
}

TEST_CASE("the loop of a wait is chosen anew each time, whatever the same options meant before") {
    fixture f;
    event_loop* first = nullptr;
    event_loop* second = nullptr;
    probe a;
    probe b;
    f.run_on(*f.other, [&] { a = look_after(f.screen, first); });
    f.run_on(f.loop, [&] { b = look_after(f.screen, second); });
    f.held.unlock();
    f.other->run_ready();
    f.loop.run_ready();
    CHECK(first == f.other.get());
    CHECK(second == &f.loop);
}

TEST_CASE("a set that names no loop goes on where its coroutine runs, too") {
    fixture f;
    event_loop* seen = nullptr;
    lock_set set{*f.media};
    set.add(f.screen, access_mode::write);
    probe p;
    f.run_on(*f.other, [&] { p = look_after_set(set, seen); });
    f.held.unlock();
    f.loop.run_ready();
    f.other->run_ready();
    CHECK(seen == f.other.get());
}

TEST_CASE("a transaction that names no loop goes on where its coroutine runs, too") {
    fixture f;
    event_loop* seen = nullptr;
    probe p;
    f.run_on(*f.other, [&] { p = look_after_transaction(*f.media, f.screen, seen); });
    f.held.unlock();
    f.loop.run_ready();
    f.other->run_ready();
    CHECK(seen == f.other.get());
}

TEST_CASE("a coroutine that is in no loop's turn goes on on the domain's loop") {
    fixture f;
    event_loop* seen = nullptr;
    const probe p = look_after(f.screen, seen);
    f.held.unlock();
    f.loop.run_ready();
    CHECK(seen == &f.loop);
}
