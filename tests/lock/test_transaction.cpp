// SPDX-License-Identifier: MIT
#include <dmasync/domain.hpp>
#include <dmasync/lock.hpp>
#include <dmasync/manual_loop.hpp>
#include <dmasync/transaction.hpp>

#include <doctest/doctest.h>
#include <support/fake_dma_buf.hpp>
#include <support/probe.hpp>
#include <support/transaction_user.hpp>
#include <support/waiter.hpp>

#include <array>
#include <chrono>
#include <memory>
#include <optional>
#include <stop_token>
#include <system_error>
#include <thread>
#include <utility>
#include <vector>

using namespace dmasync;
using namespace std::chrono_literals;
using support::transaction_user;
using support::waiter;

namespace {

/// A domain of four buffers.
struct fixture {
    explicit fixture(deadlock_policy policy = deadlock_policy::wound_wait)
        : media{loop, {.lease = 1s, .report = {}, .policy = policy}} {
        for (buffer& each : buffers) { each = media.allocate(64); }
    }

    [[nodiscard]] bool is_free(const buffer& which) const {
        std::error_code ec;
        return static_cast<bool>(try_lock(write(which), ec));
    }

    manual_loop loop;
    domain media;
    std::array<buffer, 4> buffers;
    buffer& a = buffers[0];
    buffer& b = buffers[1];
    buffer& c = buffers[2];
    buffer& d = buffers[3];
};

} // namespace

// ---- alone -----------------------------------------------------------------------------------------------------------

TEST_CASE("a transaction locks one buffer after the other, and has them all until it is destroyed") {
    fixture f;
    {
        transaction_user u{f.media};
        CHECK(u.has_locked(write(f.b)));
        CHECK(u.has_locked(read(f.a), dma_write(f.c)));
        CHECK(u.tx.holds(f.a));
        CHECK(u.tx.holds(f.b));
        CHECK(u.tx.holds(f.c));
        CHECK_FALSE(u.tx.holds(f.d));
        CHECK_FALSE(f.is_free(f.a));
        CHECK_FALSE(f.is_free(f.b));
        CHECK_FALSE(f.is_free(f.c));
    }
    CHECK(f.is_free(f.a));
    CHECK(f.is_free(f.b));
    CHECK(f.is_free(f.c));
}

TEST_CASE("what a transaction has so far can be used as that of a guard") {
    fixture f;
    transaction_user u{f.media};
    CHECK(u.has_locked(write(f.a), read(f.b)));
    CHECK(u.tx.writable_bytes(f.a).size() == 64);
    CHECK(u.tx.bytes(f.b).size() == 64);
    CHECK(u.tx.token(f.a) == 1);
    CHECK(u.tx.expires_at() == f.loop.now() + 1s);
    CHECK(u.tx.renew(3s) == f.loop.now() + 3s);
    u.tx.downgrade(f.a);
    CHECK(try_lock(read(f.a)));
    u.tx.release(f.a);
    CHECK_FALSE(u.tx.holds(f.a));
    CHECK(f.is_free(f.a));
    CHECK(u.has_locked(write(f.a)));
}

TEST_CASE("done gives the guard of everything, with the lease that it had") {
    fixture f;
    guard held;
    {
        transaction_user u{f.media, {.lease = 2s}};
        CHECK(u.has_locked(write(f.a)));
        f.loop.advance(500ms);
        CHECK(u.has_locked(read(f.b)));
        held = u.tx.done();
        CHECK_FALSE(u.tx.holds(f.a));
    }
    CHECK(held);
    CHECK(held.expires_at() == f.loop.now() + 1500ms);
    CHECK(held.writable_bytes(f.a).size() == 64);
    CHECK(held.bytes(f.b).size() == 64);
    CHECK_FALSE(f.is_free(f.a));
    CHECK(held.unlock() == std::error_code{});
    CHECK(f.is_free(f.a));
    CHECK(f.is_free(f.b));
}

TEST_CASE("a transaction has room for as many buffers as it finds") {
    fixture f;
    std::vector<buffer> many;
    for (int i = 0; i < 300; ++i) { many.push_back(f.media.allocate(64)); }
    transaction_user u{f.media};
    for (const buffer& b : many) { CHECK(u.has_locked(write(b))); }
    guard held = u.tx.done();
    for (const buffer& b : many) { CHECK(held.token(b) == 1); }
    held.unlock();
    for (const buffer& b : many) { CHECK(f.is_free(b)); }
}

TEST_CASE("a stop token taken before a transaction grows tells of the end of its lease after") {
    fixture f;
    std::vector<buffer> many;
    for (int i = 0; i < 20; ++i) { many.push_back(f.media.allocate(64)); }
    transaction_user u{f.media};
    CHECK(u.has_locked(write(f.a)));
    const std::stop_token ended = u.tx.stop_token();
    for (const buffer& b : many) { CHECK(u.has_locked(write(b))); }
    CHECK_FALSE(ended.stop_requested());
    f.loop.advance(1s);
    CHECK(ended.stop_requested());
    CHECK(u.tx.expired());
}

TEST_CASE("a set inside a transaction is locked whole or not at all") {
    fixture f;
    const guard other = try_lock(write(f.c));
    transaction_user u{f.media};
    CHECK(u.has_locked(write(f.a)));
    u.lock(write(f.b), write(f.c));
    CHECK(u.waits());
    CHECK_FALSE(u.tx.holds(f.b));
    u.coroutine.destroy();
    CHECK(f.is_free(f.b));
    CHECK(u.tx.holds(f.a));
}

TEST_CASE("a buffer that the transaction has already is answered with already_locked, and it goes on") {
    fixture f;
    transaction_user u{f.media};
    CHECK(u.has_locked(write(f.a)));
    u.lock(read(f.a));
    CHECK(u.ec == errc::already_locked);
    u.lock(read(f.b), write(f.a));
    CHECK(u.ec == errc::already_locked);
    CHECK(f.is_free(f.b)); // all or none
    CHECK(u.has_locked(read(f.b)));
    CHECK(u.tx.done());
}

#if defined(__cpp_exceptions)
TEST_CASE("a duplicate is thrown only when the transaction has not what was asked for") {
    fixture f;
    transaction tx{f.media};
    tx.blocking_lock(write(f.a), read(f.b));
    CHECK_NOTHROW(tx.blocking_lock(read(f.a)));
    CHECK_NOTHROW(tx.blocking_lock(write(f.a), read(f.b)));
    CHECK_THROWS_AS(tx.blocking_lock(write(f.b)), std::system_error);
    CHECK_THROWS_AS(tx.blocking_lock(dma_read(f.a)), std::system_error);
    CHECK_THROWS_AS(tx.blocking_lock(write(f.a), write(f.c)), std::system_error);
    CHECK(tx.done());
}
#endif

TEST_CASE("a wait that is given up leaves a transaction what it has, though it had made room for more") {
    fixture f;
    const guard in_the_way = try_lock(write(f.a));
    std::vector<buffer> many;
    for (int i = 0; i < 4; ++i) { many.push_back(f.media.allocate(64)); }
    transaction_user u{f.media};
    for (const buffer& each : many) { CHECK(u.has_locked(write(each))); }
    u.lock(write(f.a));
    CHECK(u.waits());
    u.coroutine.destroy();
    for (const buffer& each : many) { CHECK(u.tx.writable_bytes(each).size() == 64); }
    CHECK(u.has_locked(write(f.b)));
}

// ---- without waiting -------------------------------------------------------------------------------------------------

TEST_CASE("a transaction that tries gets what is free, and keeps what it had when something is not") {
    fixture f;
    const guard in_the_way = try_lock(write(f.c));
    transaction tx{f.media};
    std::error_code ec = errc::wounded;
    CHECK(tx.try_lock(write(f.a), ec));
    CHECK_FALSE(ec);
    CHECK_FALSE(tx.try_lock(write(f.b), read(f.c), ec));
    CHECK(ec == errc::would_block);
    CHECK_FALSE(tx.try_lock(read(f.c))); // is not thrown
    CHECK(tx.holds(f.a));
    CHECK_FALSE(tx.holds(f.b));
    CHECK(f.is_free(f.b));
    CHECK(tx.done());
}

TEST_CASE("a transaction that tries in vain wounds no younger one") {
    fixture f;
    transaction_user old{f.media};
    transaction_user young{f.media};
    CHECK(old.has_locked(write(f.a)));
    CHECK(young.has_locked(write(f.b)));
    CHECK_FALSE(old.tx.try_lock(write(f.b)));
    CHECK(young.has_locked(write(f.c)));
    CHECK(f.media.counters().wounds == 0);
}

TEST_CASE("with wait-die a younger transaction that tries in vain need not give back") {
    fixture f{deadlock_policy::wait_die};
    transaction_user old{f.media};
    transaction_user young{f.media};
    CHECK(old.has_locked(write(f.a)));
    CHECK(young.has_locked(write(f.b)));
    CHECK_FALSE(young.tx.try_lock(write(f.a)));
    CHECK_FALSE(young.tx.must_restart());
    CHECK(young.has_locked(write(f.c)));
}

TEST_CASE("a transaction that tries does not pass a writer that waits") {
    fixture f;
    const guard reads = try_lock(read(f.a));
    waiter writer;
    writer.start({}, write(f.a));
    transaction tx{f.media};
    CHECK_FALSE(tx.try_lock(read(f.a)));
}

TEST_CASE("a hold whose lease is over does not stand in the way of a transaction that tries") {
    fixture f;
    const guard late = try_lock(write(f.a));
    f.loop.advance(2s);
    transaction tx{f.media};
    CHECK(tx.try_lock(write(f.a)));
}

TEST_CASE("a transaction that tries does not wait for a device, and can lock the buffer later") {
    fixture f;
    const support::fake_dma_buf memory;
    const buffer camera = f.media.import(memory.duplicate());
    const support::fake_fence work = memory.add_fence(access_mode::dma_write);
    transaction_user u{f.media};
    CHECK(u.has_locked(write(f.a)));
    CHECK_FALSE(u.tx.try_lock(read(camera), u.ec));
    CHECK(u.ec == errc::would_block);
    CHECK_FALSE(u.tx.holds(camera));
    work.signal();
    CHECK(u.tx.try_lock(read(camera), u.ec));
    CHECK(u.tx.holds(camera));
}

TEST_CASE("a wounded transaction that tries hears of it, though the buffer is free") {
    fixture f;
    transaction_user old{f.media};
    transaction_user young{f.media};
    CHECK(old.has_locked(write(f.a)));
    CHECK(young.has_locked(write(f.b)));
    old.lock(write(f.b));
    CHECK_FALSE(young.tx.try_lock(write(f.c), young.ec));
    CHECK(young.ec == errc::wounded);
    CHECK(young.tx.must_restart());
    CHECK(f.is_free(f.c));
}

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

// ---- among declared sets ---------------------------------------------------------------------------------------------

TEST_CASE("a transaction passes younger sets that wait, and waits behind older ones") {
    fixture f;
    transaction_user old{f.media};
    CHECK(old.has_locked(read(f.a)));
    guard held = try_lock(write(f.c));
    waiter set;
    set.start({}, write(f.b), write(f.c));
    CHECK_FALSE(set.done());
    CHECK(old.has_locked(write(f.b)));

    transaction_user young{f.media};
    CHECK(young.has_locked(write(f.d)));
    CHECK(old.tx.unlock() == std::error_code{});
    young.lock(read(f.b)); // free, but the set is older
    CHECK(young.waits());
    held.unlock();
    f.loop.run_ready();
    CHECK(set.done());
    CHECK(young.waits());
    set.held.unlock();
    f.loop.run_ready();
    CHECK(young.done());
}

TEST_CASE("a set that is younger than a transaction does not wound it") {
    fixture f;
    transaction_user u{f.media};
    CHECK(u.has_locked(write(f.a)));
    waiter set;
    set.start({}, write(f.a), write(f.b));
    CHECK(u.has_locked(write(f.b)));
    guard held = u.tx.done();
    CHECK(f.media.counters().wounds == 0);
    held.unlock();
    f.loop.run_ready();
    CHECK(set.done());
}

TEST_CASE("a transaction whose lock is granted and wounded in one step does not wait for a device") {
    fixture f;
    support::fake_dma_buf memory;
    const buffer shared = f.media.import(memory.duplicate());
    const guard reader = try_lock(read(shared));
    support::fake_fence writing = memory.add_fence(access_mode::dma_write);
    transaction_user old{f.media};
    transaction_user middle{f.media};
    transaction_user young{f.media};
    CHECK(old.has_locked(write(f.a)));
    CHECK(middle.has_locked(write(f.b)));
    CHECK(young.has_locked(write(f.c)));
    middle.lock(write(shared));
    young.lock(read(shared)); // only the one in the middle is in its way
    old.lock(write(f.b), write(f.c));
    f.loop.run_ready();
    CHECK(middle.ec == errc::wounded);
    CHECK(young.done());
    CHECK(young.ec == errc::wounded);
}

// ---- many buffers ----------------------------------------------------------------------------------------------------

namespace {

/// A domain of dma-bufs, which are asked for one after the other.
struct many_dma_bufs {
    explicit many_dma_bufs(std::size_t reserve) : media{loop, {.report = {}, .reserve = reserve}} {
        for (const support::fake_dma_buf& memory : memories) { buffers.push_back(media.import(memory.duplicate())); }
    }

    [[nodiscard]] std::size_t count_free() const {
        std::size_t n = 0;
        for (const buffer& b : buffers) {
            std::error_code ec;
            n += try_lock(write(b), ec) ? 1U : 0U;
        }
        return n;
    }

    std::array<support::fake_dma_buf, 18> memories;
    manual_loop loop;
    domain media;
    std::vector<buffer> buffers;
};

} // namespace

TEST_CASE("a transaction has as many dma-bufs as it asks for, and gives all of them back") {
    many_dma_bufs f{64};
    transaction_user u{f.media};
    for (const buffer& b : f.buffers) { CHECK(u.has_locked(write(b))); }
    CHECK(f.count_free() == 0);
    guard held = u.tx.done();
    CHECK(held);
    CHECK(f.count_free() == 0);
    held.unlock();
    CHECK(f.count_free() == f.buffers.size());
}

TEST_CASE("a transaction finds records for its hold and for the next dma-buf, of whatever size") {
    many_dma_bufs f{1};
    transaction_user u{f.media};
    for (const buffer& b : f.buffers) { CHECK(u.has_locked(read(b))); }
    u.tx.unlock();
    CHECK(f.count_free() == f.buffers.size());
}

// ---- time ------------------------------------------------------------------------------------------------------------

TEST_CASE("the lease of a transaction runs from its first lock; at its end everything has been given away") {
    fixture f;
    transaction_user u{f.media, {.lease = 1s}};
    CHECK(u.has_locked(write(f.a)));
    f.loop.advance(600ms);
    CHECK(u.has_locked(write(f.b)));
    f.loop.advance(400ms);
    CHECK(u.tx.expired());
    CHECK(f.is_free(f.a));
    CHECK(f.is_free(f.b));
    std::error_code ec;
    CHECK(u.tx.bytes(f.a, ec).empty());
    CHECK(ec == errc::lease_expired);
    u.lock(write(f.c));
    CHECK(u.ec == errc::lease_expired);
    CHECK_FALSE(u.tx.done(ec));
    CHECK(ec == errc::lease_expired);
    CHECK(u.tx.unlock() == errc::lease_expired);
    CHECK(u.has_locked(write(f.c)));
    CHECK(u.tx.expires_at() == f.loop.now() + 1s);
}

TEST_CASE("a transaction whose lease ends while it waits waits no longer") {
    fixture f;
    guard in_the_way = try_lock(write(f.b), lock_options{.lease = no_lease});
    transaction_user u{f.media, {.lease = 1s}};
    CHECK(u.has_locked(write(f.a)));
    u.lock(write(f.b));
    f.loop.advance(1s);
    CHECK(u.done());
    CHECK(u.ec == errc::lease_expired);
    CHECK(f.is_free(f.a));
    in_the_way.unlock();
    CHECK(f.is_free(f.b));
}

TEST_CASE("a granted lock that has expired before its transaction hears of it is reported, whichever hears first") {
    manual_loop loop;
    int reports = 0;
    domain media{loop, {.lease = 1s, .report = [&](const lease_report&) {
                            ++reports;
                            loop.run_ready(); // the second one resumes before its own report is made
                        }}};
    const buffer a = media.allocate(64);
    const buffer b = media.allocate(64);
    guard late = try_lock(write(a));
    guard in_the_way = try_lock(write(b));
    transaction_user u{media};
    u.lock(write(b));
    in_the_way.unlock();
    loop.set(loop.now() + 2s);
    CHECK(try_lock(write(a))); // finds that both have expired
    CHECK(u.ec == errc::lease_expired);
    CHECK(media.counters().leases_expired == 2);
    CHECK(reports == 2);
}

TEST_CASE("a lock that is granted while its transaction's lease ends is given back") {
    fixture f;
    guard in_the_way = try_lock(write(f.b), lock_options{.lease = no_lease});
    transaction_user u{f.media, {.lease = 1s}};
    CHECK(u.has_locked(write(f.a)));
    u.lock(write(f.b));
    f.loop.set(f.loop.now() + 999ms);
    in_the_way.unlock(); // granted, and not resumed before the lease of the first has ended
    f.loop.set(f.loop.now() + 500ms);
    CHECK(f.is_free(f.a)); // it has been found out
    CHECK_FALSE(f.is_free(f.b));
    f.loop.run_ready();
    CHECK(u.done());
    CHECK(u.ec == errc::lease_expired);
    CHECK(f.is_free(f.b));
}

TEST_CASE("deadline and stop request end the wait of a transaction, which keeps what it has") {
    fixture f;
    const guard in_the_way = try_lock(write(f.b));
    std::stop_source source;
    const std::stop_token token = source.get_token();
    transaction_user u{f.media, {.deadline = f.loop.now() + 100ms, .stop = token}};
    CHECK(u.has_locked(write(f.a)));
    u.lock(write(f.b));
    SUBCASE("deadline") {
        f.loop.advance(100ms);
        CHECK(u.ec == errc::timed_out);
        u.lock(write(f.b)); // it is for all of its locks
        CHECK(u.ec == errc::timed_out);
    }
    SUBCASE("stop request") {
        source.request_stop();
        f.loop.run_ready();
        CHECK(u.ec == errc::cancelled);
        u.lock(write(f.c));
        CHECK(u.ec == errc::cancelled);
    }
    CHECK(u.done());
    CHECK(u.tx.holds(f.a));
    CHECK(u.tx.done());
}

// ---- other loops, other threads --------------------------------------------------------------------------------------

TEST_CASE("a transaction goes on on the loop that it was given") {
    fixture f;
    manual_loop other{f.loop.time_source()};
    guard in_the_way = try_lock(write(f.a));
    transaction_user u{f.media, {.on = &other}};
    u.lock(write(f.a));
    in_the_way.unlock();
    f.loop.run_ready();
    CHECK(u.waits());
    other.run_ready();
    CHECK(u.done());
}

TEST_CASE("a thread without coroutines can have a transaction") {
    fixture f;
    guard in_the_way = try_lock(write(f.b));
    std::error_code ec;
    std::jthread thread{[&] {
        transaction tx{f.media};
        tx.blocking_lock(write(f.a), ec);
        tx.blocking_lock(write(f.b), ec);
        const guard held = tx.done(ec);
        CHECK(held);
    }};
    in_the_way.unlock();
    thread.join();
    CHECK_FALSE(ec);
    CHECK(f.is_free(f.a));
}

// ---- the end of buffers and domains ----------------------------------------------------------------------------------

TEST_CASE("a transaction may outlive its domain: it keeps what it has, and gets nothing more") {
    auto loop = std::make_unique<manual_loop>();
    auto media = std::make_unique<domain>(*loop);
    buffer a = media->allocate(64);
    buffer b = media->allocate(64);
    transaction_user u{*media};
    CHECK(u.has_locked(write(a)));
    media.reset();
    loop.reset();
    u.lock(write(b));
    CHECK(u.ec == errc::closed);
    CHECK(u.tx.writable_bytes(a).size() == 64);
    const guard held = u.tx.done();
    CHECK(held);
}

TEST_CASE("a buffer that only a transaction has stays") {
    fixture f;
    transaction_user u{f.media};
    CHECK(u.has_locked(write(f.a)));
    const std::span<std::byte> bytes = u.tx.writable_bytes(f.a);
    f.a = buffer{};
    bytes[0] = std::byte{1};
    CHECK(u.has_locked(write(f.b)));
}

TEST_CASE("a waiting part fails when its buffer is closed, and the transaction goes on") {
    fixture f;
    const guard in_the_way = try_lock(write(f.b));
    transaction_user u{f.media};
    CHECK(u.has_locked(write(f.a)));
    u.lock(write(f.b));
    f.b.close();
    f.loop.run_ready();
    CHECK(u.ec == errc::closed);
    CHECK(u.has_locked(write(f.c)));
}

TEST_CASE("a transaction is refused what is closed, held or not of its domain, in a domain of one thread too") {
    manual_loop loop;
    domain media{loop, {.single_threaded = true}}; // where the shortest way is taken from the first lock on
    domain other{loop};
    buffer a = media.allocate(64);
    buffer b = media.allocate(64);
    const buffer held = media.allocate(64);
    const buffer foreign = other.allocate(64);
    const guard holder = try_lock(write(held));
    b.close();
    transaction_user u{media};
    u.lock(write(b));
    CHECK(u.ec == errc::closed);
    CHECK(u.has_locked(write(a)));
    u.lock(write(b));
    CHECK(u.ec == errc::closed);
    u.lock(write(foreign));
    CHECK(u.ec == errc::wrong_domain);
    u.lock(read(held));
    CHECK(u.waits());
    u.coroutine.destroy();
    CHECK(u.tx.holds(a));
}

// ---- dma-bufs --------------------------------------------------------------------------------------------------------

TEST_CASE("a transaction waits for devices, and tells the kernel of the CPU's use, as a lock does") {
    fixture f;
    const support::fake_dma_buf memory;
    const buffer camera = f.media.import(memory.duplicate());
    const support::fake_fence work = memory.add_fence(access_mode::dma_write);
    transaction_user u{f.media};
    CHECK(u.has_locked(write(f.a)));
    u.lock(read(camera));
    f.loop.run_ready();
    CHECK(u.waits());
    work.signal();
    f.loop.run_ready();
    CHECK(u.done());
    CHECK_FALSE(u.ec);
    CHECK(memory.log() == "START(R)");
    CHECK(u.tx.bytes(camera).size() == 4096);
    const guard held = u.tx.done();
    CHECK(held);
}

TEST_CASE("a transaction gets an idle dma-buf without suspending") {
    fixture f;
    const support::fake_dma_buf memory;
    const buffer camera = f.media.import(memory.duplicate());
    transaction_user u{f.media, {.cpu_access = cpu_access::always}};
    CHECK(u.has_locked(write(camera)));
    CHECK(u.has_locked(write(f.a)));
    CHECK(u.tx.unlock() == std::error_code{});
    CHECK(memory.log() == "START(RW) END(RW)");
}

TEST_CASE("a transaction is wounded while it waits for a device") {
    fixture f;
    const support::fake_dma_buf memory;
    const buffer camera = f.media.import(memory.duplicate());
    const support::fake_fence work = memory.add_fence(access_mode::dma_write);
    transaction_user old{f.media};
    transaction_user young{f.media};
    CHECK(old.has_locked(write(f.a)));
    CHECK(young.has_locked(write(f.b)));
    young.lock(read(camera));
    f.loop.run_ready();
    old.lock(write(f.b));
    f.loop.run_ready();
    CHECK(young.ec == errc::wounded);
    young.restart(); // the device is not waited for: the buffer is not kept
    f.loop.run_ready();
    CHECK(young.done());
    CHECK(old.done());
    work.signal();
    f.loop.run_ready();
    CHECK(young.has_locked(read(camera)));
}

namespace {

/// Does something just when the library asks whether a device is at work.
struct interruption : support::meddler {
    explicit interruption(transaction_user& u, const buffer& b) : user{u}, wants{b} {}
    int refuse_poll() override {
        if (!std::exchange(done, true)) { user.lock(write(wants)); }
        return 0;
    }
    transaction_user& user;
    const buffer& wants;
    bool done = false;
};

} // namespace

TEST_CASE("a transaction that is wounded just before it waits for a device does not wait") {
    fixture f;
    const support::fake_dma_buf memory;
    const buffer camera = f.media.import(memory.duplicate());
    const support::fake_fence work = memory.add_fence(access_mode::dma_write);
    transaction_user old{f.media};
    transaction_user young{f.media};
    CHECK(old.has_locked(write(f.a)));
    CHECK(young.has_locked(write(f.b)));
    interruption wound{old, f.b};
    {
        const support::meddling scope{wound};
        young.lock(read(camera));
    }
    CHECK(wound.done);
    f.loop.run_ready();
    CHECK(young.done());
    CHECK(young.ec == errc::wounded);
    young.restart();
    f.loop.run_ready();
    CHECK(young.done());
    CHECK(old.done());
}

TEST_CASE("a thread's transaction that is wounded while it waits for a device gives up on it") {
    fixture f;
    const support::fake_dma_buf memory;
    const buffer camera = f.media.import(memory.duplicate());
    const support::fake_fence never = memory.add_fence(access_mode::dma_write);
    transaction_user old{f.media};
    CHECK(old.has_locked(write(f.a)));
    std::error_code ec;
    std::jthread thread{[&] {
        transaction young{f.media};
        young.blocking_lock(write(f.b), ec);
        young.blocking_lock(read(camera), ec);
    }};
    while (f.media.counters().fences_waited == 0) { std::this_thread::yield(); }
    old.lock(write(f.b));
    thread.join();
    CHECK(ec == errc::wounded);
    f.loop.run_ready();
    CHECK(old.done());
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

// ---- upgrade ---------------------------------------------------------------------------------------------------------

TEST_CASE("a reader becomes a writer when it is alone") {
    fixture f;
    transaction_user u{f.media};
    CHECK(u.has_locked(read(f.a)));
    CHECK(u.tx.try_upgrade(f.a));
    CHECK(u.tx.writable_bytes(f.a).size() == 64);
    CHECK(u.tx.token(f.a) == 1);
    CHECK(u.tx.try_upgrade(f.a)); // it is one already
    guard held = u.tx.done();
    held.downgrade(f.a);
    CHECK(try_lock(read(f.a)));
    CHECK(held.try_upgrade(f.a));
    std::error_code ec;
    CHECK_FALSE(try_lock(read(f.a), ec));
}

TEST_CASE("a reader does not become a writer beside others, nor past what waits") {
    fixture f;
    guard held = try_lock(read(f.a), read(f.b));
    {
        const guard other = try_lock(read(f.a));
        std::error_code ec;
        CHECK_FALSE(held.try_upgrade(f.a, ec));
        CHECK(ec == errc::would_block);
        CHECK_FALSE(held.try_upgrade(f.a)); // no exception
    }
    waiter w;
    w.start({}, write(f.a));
    CHECK_FALSE(held.try_upgrade(f.a));
    CHECK(held.try_upgrade(f.b));
    held.unlock();
    f.loop.run_ready();
    CHECK(w.done());
}

TEST_CASE("an upgrade of what the guard has not says so") {
    fixture f;
    guard held = try_lock(read(f.a));
    std::error_code ec;
    CHECK_FALSE(held.try_upgrade(f.b, ec));
    CHECK(ec == errc::not_in_set);
    f.loop.advance(1s);
    CHECK_FALSE(held.try_upgrade(f.a, ec));
    CHECK(ec == errc::lease_expired);
    held.unlock();
    CHECK_FALSE(held.try_upgrade(f.a, ec));
    CHECK(ec == errc::not_locked);
}

TEST_CASE("the upgrade of a dma-buf waits for no device, and tells the kernel") {
    fixture f;
    const support::fake_dma_buf memory;
    const buffer camera = f.media.import(memory.duplicate());
    guard held = try_lock(read(camera));
    {
        const support::fake_fence reading = memory.add_fence(access_mode::dma_read);
        CHECK_FALSE(held.try_upgrade(camera));
        reading.signal();
    }
    CHECK(held.try_upgrade(camera));
    CHECK(memory.log() == "START(R) END(R) START(RW)");
    CHECK(held.writable_bytes(camera).size() == 4096);
}

TEST_CASE("an upgrade that the kernel refuses leaves a reader") {
    fixture f;
    const support::fake_dma_buf memory;
    const buffer camera = f.media.import(memory.duplicate());
    guard held = try_lock(read(camera));
    memory.inject(DMA_BUF_IOCTL_SYNC, ENOMEM);
    std::error_code ec;
    CHECK_FALSE(held.try_upgrade(camera, ec));
    CHECK(ec == std::errc::not_enough_memory);
    CHECK(try_lock(dma_read(camera), lock_options{.fences = fences::ignore}, ec));
}
