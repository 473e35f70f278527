// SPDX-License-Identifier: MIT
#include <dmasync/domain.hpp>
#include <dmasync/lock.hpp>
#include <dmasync/transaction.hpp>

#include <doctest/doctest.h>
#include <support/transaction_fixture.hpp>
#include <support/transaction_user.hpp>
#include <support/waiter.hpp>

#include <chrono>
#include <stop_token>
#include <system_error>

using namespace dmasync;
using namespace std::chrono_literals;
using fixture = support::transaction_fixture;
using support::transaction_user;
using support::waiter;

// ---- wound-wait ------------------------------------------------------------------------------------------------------

TEST_CASE("an older transaction wounds a younger one that waits: it fails at once, and what it had goes to the older") {
    fixture f;
    transaction_user old{f.media};
    transaction_user young{f.media};
    CHECK(old.has_locked(write(f.a)));
    CHECK(young.has_locked(write(f.b)));
    young.lock(write(f.a));
    CHECK(young.waits());
    old.lock(write(f.b)); // a circle, but for the wound
    f.loop.run_ready();
    CHECK(young.done());
    CHECK(young.ec == errc::wounded);
    CHECK(young.tx.must_restart());
    CHECK(young.tx.holds(f.b)); // until it gives it back
    CHECK(old.waits());

    young.restart();
    f.loop.run_ready();
    CHECK(old.done());
    CHECK_FALSE(old.ec);
    CHECK(old.tx.done());
    CHECK(f.media.counters().wounds == 1);
    CHECK(f.media.counters().retries == 1);
}

TEST_CASE("a wounded transaction that runs hears of it at its next lock, though the buffer is free") {
    fixture f;
    transaction_user old{f.media};
    transaction_user young{f.media};
    CHECK(old.has_locked(write(f.a)));
    CHECK(young.has_locked(write(f.b)));
    old.lock(write(f.b));
    CHECK_FALSE(young.tx.must_restart());
    CHECK(young.tx.writable_bytes(f.b).size() == 64);
    young.lock(write(f.c));
    CHECK(young.ec == errc::wounded);
    CHECK(young.tx.must_restart());
    CHECK(f.is_free(f.c));
    young.restart();
    CHECK(young.done()); // nothing that it had been waiting for
    f.loop.run_ready();
    CHECK(old.done());
}

TEST_CASE("a wounded transaction that has all it needs completes all the same") {
    fixture f;
    transaction_user old{f.media};
    transaction_user young{f.media};
    CHECK(old.has_locked(write(f.a)));
    CHECK(young.has_locked(write(f.b)));
    old.lock(write(f.b));
    guard held = young.tx.done();
    CHECK(held);
    f.loop.run_ready();
    CHECK(old.waits());
    held.unlock();
    f.loop.run_ready();
    CHECK(old.done());
}

TEST_CASE("a complete transaction is not wounded") {
    fixture f;
    transaction_user old{f.media};
    transaction_user young{f.media};
    CHECK(old.has_locked(write(f.a)));
    CHECK(young.has_locked(write(f.b)));
    guard held = young.tx.done();
    old.lock(write(f.b));
    CHECK(f.media.counters().wounds == 0);
    held.unlock();
    f.loop.run_ready();
    CHECK(old.done());
}

TEST_CASE("an older reader wounds a younger writer, and an older writer every younger reader") {
    fixture f;
    transaction_user old{f.media};
    transaction_user first{f.media};
    transaction_user second{f.media};
    CHECK(old.has_locked(write(f.a)));
    SUBCASE("reader") {
        CHECK(first.has_locked(write(f.b)));
        old.lock(read(f.b));
        first.lock(write(f.c));
        CHECK(first.ec == errc::wounded);
    }
    SUBCASE("writer") {
        CHECK(first.has_locked(read(f.b)));
        CHECK(second.has_locked(read(f.b)));
        old.lock(write(f.b));
        first.lock(write(f.c));
        second.lock(write(f.c));
        CHECK(first.ec == errc::wounded);
        CHECK(second.ec == errc::wounded);
    }
    CHECK(f.media.counters().wounds == (second.ec ? 2 : 1));
}

TEST_CASE("readers do not wound each other") {
    fixture f;
    transaction_user old{f.media};
    transaction_user young{f.media};
    CHECK(old.has_locked(write(f.a)));
    CHECK(young.has_locked(read(f.b)));
    CHECK(old.has_locked(read(f.b)));
    CHECK(young.has_locked(write(f.c)));
    CHECK(f.media.counters().wounds == 0);
}

TEST_CASE("a younger transaction waits for an older one, and wounds none") {
    fixture f;
    transaction_user old{f.media};
    transaction_user young{f.media};
    CHECK(old.has_locked(write(f.a)));
    CHECK(young.has_locked(write(f.b)));
    young.lock(write(f.a));
    CHECK(young.waits());
    CHECK(f.media.counters().wounds == 0);
    guard held = old.tx.done();
    held.unlock();
    f.loop.run_ready();
    CHECK(young.done());
    CHECK_FALSE(young.ec);
    CHECK(young.tx.holds(f.a));
    CHECK(young.tx.holds(f.b));
}

TEST_CASE("a transaction that holds nothing yet wounds as well, once it is the older one") {
    fixture f;
    transaction_user old{f.media};
    transaction_user young{f.media};
    CHECK(old.has_locked(write(f.a))); // this makes its age
    CHECK(old.tx.unlock() == std::error_code{});
    CHECK(young.has_locked(read(f.b)));
    old.lock(write(f.b));
    young.lock(read(f.c));
    CHECK(young.ec == errc::wounded);
}

TEST_CASE("a wounded transaction keeps its age when it begins again") {
    fixture f;
    transaction_user oldest{f.media};
    transaction_user middle{f.media};
    transaction_user youngest{f.media};
    CHECK(oldest.has_locked(write(f.a)));
    CHECK(middle.has_locked(write(f.b)));
    oldest.lock(write(f.b));
    middle.lock(write(f.c));
    CHECK(middle.ec == errc::wounded);
    CHECK(youngest.has_locked(write(f.c)));
    middle.restart();
    CHECK(middle.done());
    middle.lock(write(f.c)); // older than youngest still
    youngest.lock(write(f.d));
    CHECK(youngest.ec == errc::wounded);
}

TEST_CASE("one that was wounded while it waited waits for that, holding nothing, before it begins again") {
    fixture f;
    guard in_the_way = try_lock(write(f.c));
    transaction_user old{f.media};
    transaction_user young{f.media};
    CHECK(old.has_locked(write(f.a)));
    CHECK(young.has_locked(write(f.b)));
    young.lock(write(f.c));
    old.lock(write(f.b));
    f.loop.run_ready();
    CHECK(young.ec == errc::wounded);
    young.restart();
    f.loop.run_ready();
    CHECK(young.waits());
    CHECK(old.done()); // it got what young had
    in_the_way.unlock();
    f.loop.run_ready();
    CHECK(young.done());
    CHECK_FALSE(young.ec);
    CHECK(f.is_free(f.c)); // it asks for it again in its turn
    CHECK(young.has_locked(write(f.c)));
}

TEST_CASE("the wait before a new beginning ends with the deadline, with a stop request, and with the buffer") {
    fixture f;
    guard in_the_way = try_lock(write(f.c), lock_options{.lease = no_lease});
    std::stop_source source;
    const std::stop_token token = source.get_token();
    transaction_user old{f.media, {.lease = no_lease}};
    transaction_user young{f.media, {.lease = no_lease, .deadline = f.loop.now() + 100ms, .stop = token}};
    CHECK(old.has_locked(write(f.a)));
    CHECK(young.has_locked(write(f.b)));
    young.lock(write(f.c));
    old.lock(write(f.b));
    f.loop.run_ready();
    CHECK(young.ec == errc::wounded);
    young.restart();
    f.loop.run_ready();
    CHECK(young.waits());
    SUBCASE("deadline") {
        f.loop.advance(100ms);
        CHECK(young.ec == errc::timed_out);
    }
    SUBCASE("stop request") {
        source.request_stop();
        f.loop.run_ready();
        CHECK(young.ec == errc::cancelled);
    }
    SUBCASE("the buffer is closed") {
        f.c.close();
        f.loop.run_ready();
        CHECK_FALSE(young.ec); // nothing to wait for any more
        young.lock(write(f.c));
        CHECK(young.ec == errc::closed);
    }
    SUBCASE("the coroutine is destroyed") { young.coroutine.destroy(); }
    CHECK(old.done());
    CHECK(old.tx.holds(f.b));
}

TEST_CASE("a transaction that was wounded in a wait may be given up instead") {
    fixture f;
    guard in_the_way = try_lock(write(f.c));
    transaction_user old{f.media};
    {
        transaction_user young{f.media};
        CHECK(old.has_locked(write(f.a)));
        CHECK(young.has_locked(write(f.b)));
        young.lock(write(f.c));
        old.lock(write(f.b));
        f.loop.run_ready();
        CHECK(young.ec == errc::wounded);
    }
    f.loop.run_ready();
    CHECK(old.done());
    f.c = buffer{}; // its last handle: the wounded one had kept it
    in_the_way.unlock();
}

TEST_CASE("a wounded transaction that gives back without waiting may be wounded again") {
    fixture f;
    guard in_the_way = try_lock(write(f.c));
    transaction_user old{f.media};
    transaction_user young{f.media};
    CHECK(old.has_locked(read(f.d)));
    for (int i = 0; i < 2; ++i) {
        CHECK(young.has_locked(write(f.b)));
        young.lock(write(f.c));
        old.lock(write(f.b));
        f.loop.run_ready();
        CHECK(young.ec == errc::wounded);
        CHECK(young.tx.unlock() == std::error_code{});
        f.loop.run_ready();
        CHECK(old.done());
        old.tx.release(f.b);
    }
    CHECK(f.media.counters().wounds == 2);
    CHECK(f.media.counters().retries == 0); // it has not begun again by itself
}

// ---- wait-die --------------------------------------------------------------------------------------------------------

TEST_CASE("with wait-die the younger one gives back instead of waiting for an older one") {
    fixture f{deadlock_policy::wait_die};
    transaction_user old{f.media};
    transaction_user young{f.media};
    CHECK(old.has_locked(write(f.a)));
    CHECK(young.has_locked(write(f.b)));
    young.lock(write(f.a));
    CHECK(young.done());
    CHECK(young.ec == errc::wounded);
    CHECK(f.media.counters().deaths == 1);
    CHECK(f.media.counters().wounds == 0);
    young.restart();
    CHECK(young.waits()); // for what it died of
    CHECK(old.has_locked(write(f.b)));
    guard held = old.tx.done();
    held.unlock();
    f.loop.run_ready();
    CHECK(young.done());
    CHECK_FALSE(young.ec);
}

TEST_CASE("with wait-die the older one waits, and a younger one that runs is left in peace") {
    fixture f{deadlock_policy::wait_die};
    transaction_user old{f.media};
    transaction_user young{f.media};
    CHECK(old.has_locked(write(f.a)));
    CHECK(young.has_locked(write(f.b)));
    old.lock(write(f.b));
    CHECK(old.waits());
    CHECK(young.has_locked(write(f.c)));
    guard held = young.tx.done();
    held.unlock();
    f.loop.run_ready();
    CHECK(old.done());
}

TEST_CASE("with wait-die one that holds nothing waits, however young it is") {
    fixture f{deadlock_policy::wait_die};
    transaction_user old{f.media};
    transaction_user young{f.media};
    CHECK(old.has_locked(write(f.a)));
    young.lock(write(f.a));
    CHECK(young.waits());
    CHECK(old.has_locked(write(f.b)));
    guard held = old.tx.done();
    held.unlock();
    f.loop.run_ready();
    CHECK(young.done());
}

TEST_CASE("with wait-die a younger one that waits dies when an older one comes before it") {
    fixture f{deadlock_policy::wait_die};
    transaction_user old{f.media};
    transaction_user young{f.media};
    CHECK(old.has_locked(read(f.a)));
    CHECK(young.has_locked(write(f.b)));
    SUBCASE("as a waiter") {
        guard in_the_way = try_lock(write(f.c)); // complete: it may be waited for
        young.lock(write(f.c));
        CHECK(young.waits());
        old.lock(write(f.c));
        f.loop.run_ready();
        CHECK(young.ec == errc::wounded);
    }
    SUBCASE("as a holder") {
        guard in_the_way = try_lock(read(f.c));
        young.lock(write(f.c));
        CHECK(young.waits());
        CHECK(old.has_locked(read(f.c)));
        f.loop.run_ready();
        CHECK(young.ec == errc::wounded);
    }
    CHECK(f.media.counters().deaths == 1);
}
