// SPDX-License-Identifier: MIT
#include <dmasync/domain.hpp>
#include <dmasync/lock.hpp>
#include <dmasync/transaction.hpp>

#include <doctest/doctest.h>
#include <support/fake_dma_buf.hpp>
#include <support/transaction_fixture.hpp>
#include <support/transaction_user.hpp>
#include <support/waiter.hpp>

#include <chrono>
#include <system_error>

using namespace dmasync;
using namespace std::chrono_literals;
using fixture = support::transaction_fixture;
using support::transaction_user;
using support::waiter;

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
