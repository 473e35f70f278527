// SPDX-License-Identifier: MIT
#include <dmasync/domain.hpp>
#include <dmasync/lock.hpp>
#include <dmasync/manual_loop.hpp>
#include <dmasync/transaction.hpp>

#include <doctest/doctest.h>
#include <support/fake_dma_buf.hpp>
#include <support/transaction_fixture.hpp>
#include <support/transaction_user.hpp>

#include <chrono>
#include <memory>
#include <stop_token>
#include <system_error>
#include <thread>
#include <utility>

using namespace dmasync;
using namespace std::chrono_literals;
using fixture = support::transaction_fixture;
using support::transaction_user;

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
