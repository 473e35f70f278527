// SPDX-License-Identifier: MIT
// Transactions over real dma-bufs with real fences, on every loop that asks the kernel.
#include <dmasync/domain.hpp>
#include <dmasync/epoll_loop.hpp>
#include <dmasync/lock.hpp>
#include <dmasync/run_transaction.hpp>
#include <dmasync/transaction.hpp>
#include <dmasync/uring_loop.hpp>
#include <dmasync/wait.hpp>
#include <dmasync/when_all.hpp>

#include <doctest/doctest.h>
#include <support/descriptors.hpp>
#include <support/every_loop.hpp>
#include <support/real_time.hpp>
#include <support/sw_sync.hpp>
#include <support/transaction_user.hpp>
#include <support/vgem.hpp>

#include <chrono>
#include <functional>
#include <system_error>
#include <utility>

using namespace dmasync;
using namespace std::chrono_literals;
using support::run_for;
using support::run_until;
using support::sw_timeline;
using support::transaction_user;
using support::vgem_buffer;

namespace {

/// A domain, and three dma-bufs of a graphics card.
template <class Loop>
struct fixture {
    Loop loop;
    vgem_buffer memory_a;
    vgem_buffer memory_b;
    vgem_buffer memory_c;
    domain media{loop, {.report = {}}};
    buffer a = media.import(memory_a.exported());
    buffer b = media.import(memory_b.exported());
    buffer c = media.import(memory_c.exported());
};

/// A device begins to work on a buffer, until its timeline is at 1.
void begin_work(const buffer& b, const sw_timeline& device, access_mode a) {
    std::error_code ec;
    dma_buf::import_fence(b.fd(), device.create(1), a, ec);
    CHECK_FALSE(ec);
}

bool settles(event_loop& loop, const transaction_user& u) {
    return run_until(loop, [&u] { return u.done(); });
}

} // namespace

TEST_CASE_TEMPLATE("a transaction waits for the device of each buffer as it locks it, and keeps what it has", Loop,
                   EVERY_LOOP_TYPE) {
    fixture<Loop> f;
    const sw_timeline device;
    begin_work(f.b, device, access_mode::dma_write);
    transaction_user u{f.media};
    CHECK(u.has_locked(read(f.a)));
    u.lock(read(f.b));
    run_for(f.loop, 10ms);
    CHECK(u.waits());
    CHECK(u.tx.bytes(f.a).size() != 0);
    device.advance();
    CHECK(settles(f.loop, u));
    CHECK_FALSE(u.ec);
    const guard held = u.tx.done();
    CHECK(held.bytes(f.b).size() != 0);
}

TEST_CASE_TEMPLATE("a transaction that waits for a device is wounded at once, and begins again when the device is done",
                   Loop, EVERY_LOOP_TYPE) {
    fixture<Loop> f;
    const sw_timeline device;
    begin_work(f.c, device, access_mode::dma_write);
    transaction_user old{f.media};
    transaction_user young{f.media};
    CHECK(old.has_locked(write(f.a)));
    CHECK(young.has_locked(write(f.b)));
    young.lock(read(f.c));
    run_for(f.loop, 10ms);
    CHECK(young.waits());
    old.lock(write(f.b));
    CHECK(settles(f.loop, young));
    CHECK(young.ec == errc::wounded);
    young.restart();
    CHECK(settles(f.loop, young));
    CHECK(settles(f.loop, old));
    guard held = old.tx.done();
    held.unlock();
    young.lock(read(f.c));
    run_for(f.loop, 10ms);
    CHECK(young.waits());
    device.advance();
    CHECK(settles(f.loop, young));
    CHECK_FALSE(young.ec);
}

TEST_CASE_TEMPLATE("a complete transaction is released on the fence of a device", Loop, EVERY_LOOP_TYPE) {
    fixture<Loop> f;
    const sw_timeline device;
    transaction_user u{f.media};
    CHECK(u.has_locked(dma_write(f.a)));
    CHECK(u.has_locked(dma_read(f.b)));
    guard held = u.tx.done();
    held.release_on(device.create(1));
    transaction_user next{f.media};
    next.lock(dma_write(f.b));
    run_for(f.loop, 10ms);
    CHECK(next.waits());
    device.advance();
    CHECK(settles(f.loop, next));
    CHECK_FALSE(next.ec);
}

TEST_CASE("a reader does not become a writer while a device reads, and does when it has finished") {
    fixture<epoll_loop> f;
    const sw_timeline device;
    transaction_user u{f.media};
    CHECK(u.has_locked(read(f.a)));
    begin_work(f.a, device, access_mode::dma_read);
    CHECK_FALSE(u.tx.try_upgrade(f.a));
    device.advance();
    CHECK(u.tx.try_upgrade(f.a));
    CHECK(u.tx.writable_bytes(f.a).size() != 0);
}

namespace {

task<guard> both(transaction& tx, const buffer& first, const buffer& second, event_loop& loop) {
    std::error_code ec;
    co_await tx.lock(write(first), ec);
    if (ec) { co_return guard{}; }
    co_await sleep_for(loop, 1ms);
    co_await tx.lock(write(second), ec);
    if (ec) { co_return guard{}; }
    co_return tx.done(ec);
}

task<> again_and_again(domain& media, const buffer& first, const buffer& second, int times) {
    for (int i = 0; i < times; ++i) {
        const guard held = co_await run_transaction(media, both, first, second, std::ref(media.loop()));
        CHECK(held);
    }
}

template <class Fixture>
task<> both_ways(Fixture& f) {
    co_await when_all(again_and_again(f.media, f.a, f.b, 20), again_and_again(f.media, f.b, f.a, 20));
}

} // namespace

TEST_CASE_TEMPLATE("transactions over the same dma-bufs in opposite orders all get through, and leave no descriptor",
                   Loop, EVERY_LOOP_TYPE) {
    fixture<Loop> f;
    const std::size_t before = support::count_descriptors();
    f.loop.run(both_ways(f));
    CHECK(support::count_descriptors() == before);
    CHECK(f.media.counters().retries > 0);
}
