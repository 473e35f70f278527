// SPDX-License-Identifier: MIT
/// What must not be done with a transaction, case by case of the kernel's self-tests of ww_mutex (lib/locking-selftest.c);
/// docs/transactions.md has the table. Each is answered by an error, in release builds too, and nothing is lost by it.
#include <dmasync/domain.hpp>
#include <dmasync/lock.hpp>
#include <dmasync/lock_set.hpp>
#include <dmasync/manual_loop.hpp>
#include <dmasync/transaction.hpp>

#include <doctest/doctest.h>
#include <support/child.hpp>
#include <support/transaction_user.hpp>
#include <support/waiter.hpp>

#include <chrono>
#include <optional>
#include <system_error>

using namespace dmasync;
using namespace std::chrono_literals;
using support::transaction_user;
using support::waiter;

namespace {

struct fixture {
    manual_loop loop;
    domain media{loop, {.lease = 1s, .report = {}}};
    buffer a = media.allocate(64);
    buffer b = media.allocate(64);
    buffer c = media.allocate(64);

    [[nodiscard]] bool is_free(const buffer& which) const {
        std::error_code ec;
        return static_cast<bool>(try_lock(write(which), ec));
    }
};

/// Calls `body()` in a turn of the loop.
template <class Body>
void run_on_loop(manual_loop& loop, Body body) {
    struct turn : work {
        explicit turn(Body& b) noexcept : work{run}, body{b} {}
        static void run(work& w, disposition) noexcept { static_cast<turn&>(w).body(); }
        Body& body;
    } t{body};
    loop.post(t);
    loop.run_ready();
}

/// A transaction that was wounded while it waited for `c`, with `a` in its hands; the older one has the rest.
struct wounded_fixture : fixture {
    wounded_fixture() {
        CHECK(old.has_locked(write(b)));
        CHECK(young.has_locked(write(a)));
        in_the_way = try_lock(write(c));
        young.lock(write(c));
        old.lock(write(a));
        loop.run_ready();
        CHECK(young.ec == errc::wounded);
    }

    guard in_the_way;
    transaction_user old{media};
    transaction_user young{media};
};

} // namespace

// ---- finishing -------------------------------------------------------------------------------------------------------

TEST_CASE("done a second time says transaction_done, and the guard of the first goes on") {
    fixture f;
    transaction_user u{f.media};
    CHECK(u.has_locked(write(f.a)));
    const guard held = u.tx.done();
    std::error_code ec;
    CHECK_FALSE(u.tx.done(ec));
    CHECK(ec == errc::transaction_done);
    CHECK(held.token(f.a) == 1);
}

TEST_CASE("a lock after done says transaction_done") {
    fixture f;
    transaction_user u{f.media};
    CHECK(u.has_locked(write(f.a)));
    const guard held = u.tx.done();
    u.lock(write(f.b));
    CHECK(u.ec == errc::transaction_done);
    CHECK(f.is_free(f.b));
}

TEST_CASE("a restart after done says transaction_done, and the guard goes on") {
    fixture f;
    transaction_user u{f.media};
    CHECK(u.has_locked(write(f.a)));
    const guard held = u.tx.done();
    u.restart();
    CHECK(u.ec == errc::transaction_done);
    CHECK_FALSE(f.is_free(f.a));
}

TEST_CASE("done with nothing locked says not_locked, and the transaction goes on") {
    fixture f;
    transaction_user u{f.media};
    std::error_code ec;
    CHECK_FALSE(u.tx.done(ec));
    CHECK(ec == errc::not_locked);
    CHECK(u.has_locked(write(f.a)));
}

TEST_CASE("done while one of the locks waits says already_locked") {
    fixture f;
    const guard other = try_lock(write(f.b));
    transaction_user u{f.media};
    CHECK(u.has_locked(write(f.a)));
    u.lock(write(f.b));
    std::error_code ec;
    CHECK_FALSE(u.tx.done(ec));
    CHECK(ec == errc::already_locked);
}

TEST_CASE("a transaction that ends while it holds gives everything back") {
    fixture f;
    std::optional<transaction> tx{std::in_place, f.media};
    tx->blocking_lock(write(f.a), read(f.b));
    tx.reset();
    CHECK(f.is_free(f.a));
    CHECK(f.is_free(f.b));
}

TEST_CASE("everything given back twice says not_locked the second time") {
    fixture f;
    transaction_user u{f.media};
    CHECK(u.has_locked(write(f.a)));
    CHECK(u.tx.unlock() == std::error_code{});
    CHECK(u.tx.unlock() == errc::not_locked);
}

TEST_CASE("a transaction that is destroyed under one of its locks stops the program") {
    support::check_misuse("transaction destroyed while one of its locks waits", [] {
        fixture f;
        const guard other = try_lock(write(f.a));
        std::optional<transaction> tx{std::in_place, f.media};
        std::error_code ec;
        const probe waits = transaction_user::ask(*tx, ec, write(f.a));
        tx.reset();
    });
}

// ---- buffers ---------------------------------------------------------------------------------------------------------

TEST_CASE("a buffer released twice says not_in_set the second time") {
    fixture f;
    transaction_user u{f.media};
    CHECK(u.has_locked(write(f.a)));
    std::error_code ec;
    u.tx.release(f.a, ec);
    CHECK_FALSE(ec);
    u.tx.release(f.a, ec);
    CHECK(ec == errc::not_in_set);
}

TEST_CASE("a buffer that another transaction has cannot be released: not_in_set") {
    fixture f;
    transaction_user one{f.media};
    transaction_user other{f.media};
    CHECK(one.has_locked(write(f.a)));
    CHECK(other.has_locked(write(f.b)));
    std::error_code ec;
    other.tx.release(f.a, ec);
    CHECK(ec == errc::not_in_set);
    CHECK_FALSE(f.is_free(f.a));
}

TEST_CASE("release, upgrade and bytes of a transaction without any buffer say not_locked") {
    fixture f;
    transaction_user u{f.media};
    std::error_code ec;
    u.tx.release(f.a, ec);
    CHECK(ec == errc::not_locked);
    CHECK_FALSE(u.tx.try_upgrade(f.a, ec));
    CHECK(ec == errc::not_locked);
    CHECK(u.tx.bytes(f.a, ec).empty());
    CHECK(ec == errc::not_locked);
}

TEST_CASE("a buffer of another domain says wrong_domain") {
    fixture f;
    domain other{f.loop};
    const buffer foreign = other.allocate(64);
    transaction_user u{f.media};
    u.lock(write(foreign));
    CHECK(u.ec == errc::wrong_domain);
    u.lock(write(f.a), write(foreign));
    CHECK(u.ec == errc::wrong_domain);
    u.lock(write(buffer{}));
    CHECK(u.ec == errc::wrong_domain);
    CHECK(u.has_locked(write(f.a)));
}

TEST_CASE("one buffer twice in a set says duplicate_buffer, one that the transaction has says already_locked") {
    fixture f;
    transaction_user u{f.media};
    u.lock(write(f.a), read(f.a));
    CHECK(u.ec == errc::duplicate_buffer);
    CHECK(u.has_locked(write(f.a)));
    u.lock(write(f.a));
    CHECK(u.ec == errc::already_locked);
}

TEST_CASE("a second lock while the first waits says already_locked, and leaves the first alone") {
    fixture f;
    guard other = try_lock(write(f.b));
    transaction_user u{f.media};
    CHECK(u.has_locked(write(f.a)));
    u.lock(write(f.b));
    std::error_code ec;
    const probe second = transaction_user::ask(u.tx, ec, write(f.c));
    CHECK(ec == errc::already_locked);
    const probe third = transaction_user::begin_again(u.tx, ec);
    CHECK(ec == errc::already_locked);
    CHECK(u.tx.holds(f.a));
    other.unlock();
    f.loop.run_ready();
    CHECK(u.done());
    CHECK_FALSE(u.ec);
}

TEST_CASE("a lease of no length says invalid_lease") {
    fixture f;
    transaction_user u{f.media, {.lease = 0s}};
    u.lock(write(f.a));
    CHECK(u.ec == errc::invalid_lease);
}

// ---- after a wound ---------------------------------------------------------------------------------------------------

TEST_CASE("a transaction that begins again after a wound gets through") {
    wounded_fixture f;
    f.young.restart();
    f.in_the_way.unlock();
    f.loop.run_ready();
    CHECK(f.young.done());
    guard held = f.old.tx.done();
    held.unlock();
    CHECK(f.young.has_locked(write(f.c)));
    CHECK(f.young.has_locked(write(f.a)));
    CHECK(f.young.tx.done());
}

TEST_CASE("a transaction that locks more after a wound hears wounded again, be the buffer free or not") {
    wounded_fixture f;
    const buffer free = f.media.allocate(64);
    f.young.lock(write(free));
    CHECK(f.young.ec == errc::wounded);
    f.young.lock(write(f.c));
    CHECK(f.young.ec == errc::wounded);
    f.young.lock(write(f.b));
    CHECK(f.young.ec == errc::wounded);
    CHECK(f.is_free(free));
}

TEST_CASE("a transaction that completes after a wound that it has heard of hears wounded") {
    wounded_fixture f;
    std::error_code ec;
    CHECK_FALSE(f.young.tx.done(ec));
    CHECK(ec == errc::wounded);
}

TEST_CASE("a transaction that keeps what it should give back after a wound keeps it until its lease ends") {
    wounded_fixture f;
    CHECK(f.old.waits());
    f.loop.advance(1s);
    CHECK(f.old.done());
    CHECK(f.young.tx.expired());
}

TEST_CASE("a transaction that gives back after a wound may lock something else first") {
    wounded_fixture f;
    CHECK(f.young.tx.unlock() == std::error_code{});
    CHECK(f.young.has_locked(write(f.media.allocate(64))));
}

TEST_CASE("a transaction that begins again without having been wounded gives back, and waits for none") {
    fixture f;
    transaction_user u{f.media};
    CHECK(u.has_locked(write(f.a)));
    u.restart();
    CHECK(u.done());
    CHECK_FALSE(u.ec);
    CHECK(f.is_free(f.a));
    CHECK(f.media.counters().retries == 0);
    CHECK(u.has_locked(write(f.b)));
}

TEST_CASE("a wounded transaction that begins again gives everything back first, and waits for what it was wounded at") {
    wounded_fixture f;
    f.young.restart();
    f.loop.run_ready();
    CHECK(f.old.done()); // has what the younger one had
    CHECK(f.young.waits());
    CHECK_FALSE(f.young.tx.holds(f.a));
    f.in_the_way.unlock();
    f.loop.run_ready();
    CHECK(f.young.done());
    CHECK_FALSE(f.young.ec);
}

// ---- mixing ----------------------------------------------------------------------------------------------------------

TEST_CASE("a transaction whose lease has run out is stale: lease_expired, whatever is done with it") {
    fixture f;
    transaction_user u{f.media};
    CHECK(u.has_locked(read(f.a)));
    f.loop.advance(1s);
    u.lock(write(f.b));
    CHECK(u.ec == errc::lease_expired);
    std::error_code ec;
    CHECK_FALSE(u.tx.done(ec));
    CHECK(ec == errc::lease_expired);
    u.tx.release(f.a, ec);
    CHECK(ec == errc::lease_expired);
    CHECK_FALSE(u.tx.try_upgrade(f.a, ec));
    CHECK(ec == errc::lease_expired);
}

TEST_CASE("a plain lock of what the own transaction has waits for its lease; the transaction says lease_expired then") {
    fixture f;
    transaction_user u{f.media};
    CHECK(u.has_locked(write(f.a)));
    waiter plain; // of the same caller, which waits for itself
    plain.start({}, write(f.a));
    f.loop.advance(1s);
    CHECK(plain.done());
    CHECK_FALSE(plain.ec);
    u.lock(write(f.b));
    CHECK(u.ec == errc::lease_expired);
}

TEST_CASE("a try_lock of what the own transaction has says would_block") {
    fixture f;
    transaction_user u{f.media};
    CHECK(u.has_locked(write(f.a)));
    std::error_code ec;
    CHECK_FALSE(try_lock(write(f.a), ec));
    CHECK(ec == errc::would_block);
}

TEST_CASE("a transaction that tries what it has already does not get it twice: already_locked, and it goes on") {
    fixture f;
    transaction_user u{f.media};
    CHECK(u.has_locked(write(f.a)));
    CHECK_FALSE(u.tx.try_lock(write(f.a), u.ec));
    CHECK(u.ec == errc::already_locked);
    CHECK_FALSE(u.tx.try_lock(write(f.a))); // it has what it asks for: not thrown
    CHECK(u.tx.try_lock(write(f.b)));
}

TEST_CASE("two transactions that try what the other has are both refused, and neither is wounded") {
    fixture f;
    transaction_user one{f.media};
    transaction_user two{f.media};
    CHECK(one.has_locked(write(f.a)));
    CHECK(two.has_locked(write(f.b)));
    CHECK_FALSE(one.tx.try_lock(write(f.b), one.ec));
    CHECK_FALSE(two.tx.try_lock(write(f.a), two.ec));
    CHECK(one.ec == errc::would_block);
    CHECK(two.ec == errc::would_block);
    CHECK(one.tx.done());
    CHECK(two.tx.done());
}

TEST_CASE(
    "a transaction inside another one of the same caller waits for its lease; the outer says lease_expired then") {
    fixture f;
    transaction_user outer{f.media};
    transaction_user inner{f.media, {.lease = 5s}};
    CHECK(outer.has_locked(write(f.a)));
    CHECK(inner.has_locked(write(f.b)));
    inner.lock(write(f.a));
    CHECK(inner.waits());
    f.loop.advance(1s);
    CHECK(inner.done());
    CHECK_FALSE(inner.ec);
    outer.lock(write(f.c));
    CHECK(outer.ec == errc::lease_expired);
}

TEST_CASE("an older transaction is not kept waiting by a younger one of the same caller that runs: it is wounded") {
    fixture f;
    transaction_user outer{f.media};
    transaction_user inner{f.media};
    CHECK(outer.has_locked(write(f.a)));
    CHECK(inner.has_locked(write(f.b)));
    outer.lock(write(f.b));
    inner.lock(write(f.c));
    CHECK(inner.ec == errc::wounded);
}

TEST_CASE("a transaction waits for a plain lock, and a plain lock for a transaction") {
    fixture f;
    guard plain = try_lock(write(f.a));
    transaction_user u{f.media};
    u.lock(write(f.a));
    CHECK(u.waits());
    plain.unlock();
    f.loop.run_ready();
    CHECK(u.done());
    waiter w;
    w.start({}, write(f.a));
    CHECK_FALSE(w.done());
    CHECK(u.tx.unlock() == std::error_code{});
    f.loop.run_ready();
    CHECK(w.done());
}

TEST_CASE("plain locks wound no transaction and are not wounded, be they granted, refused or given up") {
    fixture f;
    transaction_user u{f.media};
    CHECK(u.has_locked(write(f.a)));
    std::error_code ec;
    CHECK(try_lock(write(f.b), ec));
    CHECK_FALSE(try_lock(write(f.a), write(f.b), ec));
    CHECK(ec == errc::would_block);
    CHECK(blocking_lock(write(f.b), read(f.c), ec));
    waiter gives_up;
    gives_up.start({.deadline = f.loop.now() + 1ms}, write(f.a), write(f.b));
    f.loop.advance(1ms);
    CHECK(gives_up.ec == errc::timed_out);
    CHECK(f.media.counters().wounds == 0);
    CHECK(f.media.counters().retries == 0);
    CHECK(u.tx.done());
}

TEST_CASE("a transaction that holds leaves its caller free to lock something else plainly, waiting or not") {
    fixture f;
    transaction_user u{f.media};
    CHECK(u.has_locked(write(f.a)));
    {
        const guard tried = try_lock(write(f.b));
        CHECK(tried);
        waiter plain;
        plain.start({}, write(f.c));
        CHECK(plain.held);
    }
    CHECK(u.has_locked(write(f.b), write(f.c)));
    CHECK(u.tx.done());
}

TEST_CASE("a caller that holds something plainly may lock something else, plainly or in a transaction") {
    fixture f;
    const guard tried = try_lock(write(f.a));
    waiter plain;
    plain.start({}, write(f.b));
    CHECK(plain.held);
    transaction_user u{f.media};
    CHECK(u.has_locked(write(f.c)));
    CHECK(try_lock(read(f.media.allocate(64))));
    CHECK(u.tx.done());
}

TEST_CASE("plain locks one after the other in opposite orders wait for each other until the leases end") {
    fixture f;
    guard first = try_lock(write(f.a));
    guard second = try_lock(write(f.b));
    waiter takes_b;
    waiter takes_a;
    takes_b.start({}, write(f.b));
    takes_a.start({}, write(f.a));
    f.loop.run_ready();
    CHECK_FALSE(takes_b.done());
    CHECK_FALSE(takes_a.done());
    f.loop.advance(1s);
    CHECK(takes_b.held);
    CHECK(takes_a.held);
    CHECK(first.unlock() == errc::lease_expired);
    CHECK(second.unlock() == errc::lease_expired);
}

TEST_CASE("a plain lock that is held while a transaction waits for what waits for it is freed by its lease") {
    fixture f;
    guard plain = try_lock(write(f.a));
    transaction_user other{f.media, {.lease = 5s}};
    transaction_user own{f.media, {.lease = 5s}}; // of the caller that has the plain lock
    CHECK(other.has_locked(write(f.b)));
    other.lock(write(f.a)); // no transaction can wound a plain lock
    own.lock(write(f.b));
    f.loop.run_ready();
    CHECK(own.waits());
    CHECK(other.waits());
    f.loop.advance(1s);
    CHECK(plain.unlock() == errc::lease_expired);
    CHECK(other.done());
    CHECK_FALSE(other.ec);
    CHECK(other.tx.unlock() == std::error_code{});
    f.loop.run_ready();
    CHECK(own.done());
    CHECK_FALSE(own.ec);
}

TEST_CASE("a set that is changed while a transaction has its buffers does not mind") {
    fixture f;
    transaction_user u{f.media};
    CHECK(u.has_locked(write(f.a)));
    lock_set set{f.media};
    set.add(f.a, access_mode::write);
    std::error_code ec;
    CHECK_FALSE(set.try_lock(ec));
    CHECK(ec == errc::would_block);
    set.clear(ec);
    CHECK_FALSE(ec);
}

TEST_CASE("a blocking lock of a transaction, on the thread that runs the domain's loop, says would_deadlock") {
    fixture f;
    const guard other = try_lock(write(f.b));
    std::error_code ec;
    run_on_loop(f.loop, [&] {
        transaction tx{f.media};
        tx.blocking_lock(write(f.a), ec);
        CHECK_FALSE(ec);
        tx.blocking_lock(write(f.b), ec);
    });
    CHECK(ec == errc::would_deadlock);
    CHECK(f.is_free(f.a));
}

TEST_CASE("a plain blocking lock there is granted what is free, and says would_deadlock where it had to wait") {
    fixture f;
    const guard other = try_lock(write(f.b));
    std::error_code ec;
    run_on_loop(f.loop, [&] {
        CHECK(blocking_lock(write(f.a), ec));
        static_cast<void>(blocking_lock(write(f.b), ec));
    });
    CHECK(ec == errc::would_deadlock);
}

TEST_CASE("a try_lock is allowed there as everywhere, for it never waits") {
    fixture f;
    const guard other = try_lock(write(f.b));
    std::error_code ec;
    run_on_loop(f.loop, [&] {
        CHECK(try_lock(write(f.a), ec));
        static_cast<void>(try_lock(write(f.b), ec));
    });
    CHECK(ec == errc::would_block);
}
