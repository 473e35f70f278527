// SPDX-License-Identifier: MIT
#include <dmasync/domain.hpp>
#include <dmasync/lock.hpp>
#include <dmasync/manual_loop.hpp>
#include <dmasync/transaction.hpp>

#include <doctest/doctest.h>
#include <support/fake_dma_buf.hpp>
#include <support/transaction_fixture.hpp>
#include <support/transaction_user.hpp>
#include <support/waiter.hpp>

#include <array>
#include <chrono>
#include <stop_token>
#include <system_error>
#include <thread>
#include <vector>

using namespace dmasync;
using namespace std::chrono_literals;
using fixture = support::transaction_fixture;
using support::transaction_user;
using support::waiter;

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
