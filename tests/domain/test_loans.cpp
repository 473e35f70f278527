// SPDX-License-Identifier: MIT
#include <dmasync/detail/domain/loans.hpp>

#include <dmasync/domain.hpp>
#include <dmasync/lock.hpp>
#include <dmasync/manual_loop.hpp>
#include <dmasync/task.hpp>
#include <dmasync/wait.hpp>

#include <doctest/doctest.h>
#include <support/fake_dma_buf.hpp>
#include <support/pipe.hpp>
#include <support/probe.hpp>

#include <array>
#include <cerrno>
#include <chrono>
#include <cstddef>
#include <functional>
#include <memory>
#include <string>
#include <system_error>
#include <utility>
#include <vector>

using namespace dmasync;
using namespace std::chrono_literals;

namespace {

/// A domain on a virtual clock: one dma-buf of the kernel's double, one plain buffer, one fence of a device.
struct fixture {
    manual_loop loop;
    std::vector<std::string> lines;
    std::function<void()> on_report;
    support::fake_dma_buf memory;
    std::array<std::byte, 64> bytes{};
    domain media{loop, {.name = "media", .report = [this](const lease_report& r) {
                            lines.push_back(to_string(r));
                            if (on_report) { on_report(); }
                        }}};
    buffer a = media.import(memory.duplicate(), "a");
    buffer b = media.adopt(bytes, "b");
    support::fake_fence device;

    fence done() { return device.file(); }
    bool is_free(const buffer& x) {
        return static_cast<bool>(try_lock(dma_write(x), lock_options{.fences = fences::ignore}));
    }
};

probe wait_for(guard& out, std::error_code& ec, buffer what) { out = co_await dmasync::lock(write(what), ec); }

} // namespace

TEST_CASE("a hold that is released on a fence ends when the fence does; the guard is empty at once") {
    fixture f;
    guard held = try_lock(dma_write(f.a), write(f.b));
    held.release_on(f.done());
    CHECK(!held);
    CHECK(held.error() == errc::not_locked);
    f.loop.run_ready();
    CHECK(!f.is_free(f.a));
    CHECK(!f.is_free(f.b));
    f.device.signal();
    f.loop.run_ready();
    CHECK(f.is_free(f.a));
    CHECK(f.is_free(f.b));
    CHECK(f.lines.empty());
}

TEST_CASE("a lock that waits for a buffer of a device is granted it when the fence ends") {
    fixture f;
    try_lock(dma_write(f.a)).release_on(f.done());
    guard next;
    std::error_code ec;
    const probe p = wait_for(next, ec, f.a);
    f.loop.run_ready();
    CHECK(!p.done());
    f.device.signal();
    f.loop.run_ready();
    CHECK(next);
}

TEST_CASE("a device that outlasts the lease is reported, and keeps its buffers until it has finished") {
    fixture f;
    try_lock(dma_write(f.a), lock_options{.lease = 100ms, .name = "capture"}).release_on(f.done());
    guard next;
    std::error_code ec;
    const probe p = wait_for(next, ec, f.a);
    f.loop.advance(100ms);
    CHECK(f.lines ==
          std::vector<std::string>{"device overdue: set 'capture' in domain 'media' held buffer 'a' (dma_write) "
                                   "for 100 ms of 100 ms; 1 waiter"});
    CHECK(f.media.counters().devices_overdue == 1);
    CHECK(f.media.counters().leases_expired == 0);
    f.loop.advance(10s);
    CHECK(!p.done());
    CHECK(f.lines.size() == 1);
    f.device.signal();
    f.loop.run_ready();
    CHECK(next);
    next.unlock();
    CHECK(f.is_free(f.a));
}

TEST_CASE("a device that outlasts the overdue limit as well loses its buffers; its fence then changes nothing") {
    manual_loop loop;
    std::vector<lease_event> events;
    support::fake_dma_buf memory;
    support::fake_fence device;
    domain media{loop, {.report = [&](const lease_report& r) { events.push_back(r.event); }, .overdue_limit = 2s}};
    const buffer a = media.import(memory.duplicate());
    try_lock(dma_write(a), lock_options{.lease = 100ms}).release_on(device.file());
    loop.advance(100ms + 2s - 1ns);
    CHECK(!try_lock(dma_write(a)));
    loop.advance(1ns);
    CHECK(events == std::vector{lease_event::device_overdue, lease_event::expired});
    const guard next = try_lock(dma_write(a));
    CHECK(next);
    device.signal();
    loop.run_ready();
    CHECK(!try_lock(dma_write(a)));
    CHECK(!next.expired());
}

TEST_CASE("a fence that fails ends the hold as well, and says so") {
    fixture f;
    try_lock(dma_write(f.a), lock_options{.name = "capture"}).release_on(f.done());
    f.loop.run_ready();
    f.device.fail(EIO);
    f.loop.run_ready();
    CHECK(f.is_free(f.a));
    CHECK(f.media.counters().devices_failed == 1);
    REQUIRE(f.lines.size() == 1);
    CHECK(f.lines[0].starts_with("device failed: set 'capture' in domain 'media' held buffer 'a' (dma_write)"));
    CHECK(f.lines[0].ends_with(std::generic_category().message(EIO)));
}

TEST_CASE("a fence that has ended before releases at the next turn, an empty one at once") {
    fixture f;
    guard one = try_lock(dma_write(f.b));
    one.release_on(fence{});
    CHECK(f.is_free(f.b));
    f.device.signal();
    guard two = try_lock(dma_write(f.b));
    two.release_on(f.done());
    f.loop.run_ready();
    CHECK(f.is_free(f.b));
}

TEST_CASE("one buffer of a set is released on a fence, the others stay with the guard") {
    fixture f;
    guard held = try_lock(dma_write(f.a), write(f.b));
    held.release_on(f.a, f.done());
    CHECK(held);
    CHECK(!f.is_free(f.a));
    held.unlock();
    CHECK(f.is_free(f.b));
    CHECK(!f.is_free(f.a));
    f.device.signal();
    f.loop.run_ready();
    CHECK(f.is_free(f.a));
}

TEST_CASE("the parts of a hold that is split end one by one, but not later than the whole would have") {
    fixture f;
    guard held = try_lock(dma_write(f.a), write(f.b), lock_options{.lease = 1s, .name = "both"});
    f.loop.advance(400ms);
    guard part = held.split(f.b);
    CHECK(part);
    CHECK(part.expires_at() == held.expires_at());
    CHECK(!part.bytes(f.b).empty());
    std::error_code ec;
    static_cast<void>(held.bytes(f.b, ec));
    CHECK(ec == errc::not_in_set);
    held.unlock();
    CHECK(f.is_free(f.a));
    CHECK(!f.is_free(f.b));
    f.loop.advance(600ms);
    CHECK(part.expired());
    CHECK(f.lines.size() == 1);
    CHECK(f.lines[0].starts_with("lease expired: set 'both'"));
}

TEST_CASE("what is not held cannot be split off") {
    fixture f;
    std::error_code ec;
    guard held = try_lock(dma_write(f.a));
    CHECK(!held.split(f.b, ec));
    CHECK(ec == errc::not_in_set);
    held.unlock();
    CHECK(!held.split(f.a, ec));
    CHECK(ec == errc::not_locked);
}

TEST_CASE("while a device is at work its guard gives no bytes and is not changed; unlocking ends it") {
    fixture f;
    guard held = try_lock(write(f.a), write(f.b), lock_options{.lease = 100ms});
    held.hand_to_device();
    std::error_code ec;
    static_cast<void>(held.bytes(f.b, ec));
    CHECK(ec == errc::invalid_access);
    held.release(f.b, ec);
    CHECK(ec == errc::invalid_access);
    f.loop.advance(1s);
    CHECK(!held.expired());
    CHECK(f.media.counters().devices_overdue == 1);
    CHECK(!f.is_free(f.b));
    CHECK(!held.unlock());
    CHECK(f.is_free(f.a));
    CHECK(f.is_free(f.b));
}

TEST_CASE("a device that is at work keeps its buffers whatever brackets the hold has: it is not changed either") {
    fixture f;
    guard held = try_lock(write(f.a), lock_options{.lease = 100ms, .cpu_access = cpu_access::always});
    held.hand_to_device();
    std::error_code ec;
    held.release(f.a, ec);
    CHECK(ec == errc::invalid_access);
    held.downgrade(f.a, ec);
    CHECK(ec == errc::invalid_access);
    f.loop.advance(1s);
    CHECK(!held.expired());
    CHECK(f.media.counters().devices_overdue == 1);
    CHECK(!held.unlock());
    CHECK(f.is_free(f.a));
}

TEST_CASE("brackets of a hold's own end when a device gets it, and once") {
    for (const bool by_fence : {true, false}) {
        fixture f;
        guard held = try_lock(write(f.a), lock_options{.cpu_access = cpu_access::always});
        by_fence ? held.release_on(f.done()) : held.hand_to_device();
        CHECK(f.memory.log() == "START(RW) END(RW)");
        f.device.signal();
        f.loop.run_ready();
        held.unlock();
        CHECK(f.is_free(f.a));
        CHECK(f.memory.log() == "START(RW) END(RW)");
    }
}

TEST_CASE("a bracket that does not end when a device gets the buffer is ended by the next one") {
    fixture f;
    guard held = try_lock(write(f.a), lock_options{.cpu_access = cpu_access::always});
    f.memory.inject(DMA_BUF_IOCTL_SYNC, EIO);
    held.release_on(f.done());
    f.device.signal();
    f.loop.run_ready();
    CHECK(f.memory.log() == "START(RW)");
    CHECK(f.is_free(f.a));
    CHECK(f.memory.log() == "START(RW) END(RW)");
}

TEST_CASE("a hold is released on a descriptor that becomes readable") {
    fixture f;
    support::pipe done;
    try_lock(dma_write(f.b)).release_on(std::move(done.read_end));
    f.loop.run_ready();
    CHECK(!f.is_free(f.b));
    done.put();
    f.loop.run_ready();
    CHECK(f.is_free(f.b));
    CHECK(f.media.counters().devices_failed == 0);
}

TEST_CASE("a hold is released on anything that can be awaited") {
    fixture f;
    support::pipe done;
    const auto dequeued = [](event_loop& loop, int fd) -> task<int> { co_return co_await readable(loop, fd); };
    try_lock(dma_write(f.b), lock_options{.lease = 100ms}).release_on(dequeued(f.loop, done.read_end.get()));
    f.loop.advance(1s);
    CHECK(!f.is_free(f.b));
    CHECK(f.media.counters().devices_overdue == 1);
    done.put();
    f.loop.run_ready();
    CHECK(f.is_free(f.b));
}

#if defined(__cpp_exceptions)
TEST_CASE("an exception that leaves what a hold is released on is the device's error") {
    fixture f;
    const auto broken = [](event_loop& loop) -> task<> {
        co_await sleep_for(loop, 1ms);
        throw std::system_error{std::make_error_code(std::errc::io_error)};
    };
    try_lock(dma_write(f.b)).release_on(broken(f.loop));
    f.loop.advance(1ms);
    CHECK(f.is_free(f.b));
    CHECK(f.media.counters().devices_failed == 1);
}
#endif

TEST_CASE("what is not held any more is not released on a fence") {
    fixture f;
    guard held = try_lock(dma_write(f.b), lock_options{.lease = 1ms});
    f.loop.advance(1ms);
    std::error_code ec;
    held.release_on(f.done(), ec);
    CHECK(ec == errc::lease_expired);
    held.unlock();
    held.release_on(f.done(), ec);
    CHECK(ec == errc::not_locked);
    held.hand_to_device(ec);
    CHECK(ec == errc::not_locked);
}

TEST_CASE("a domain that goes while a device is at work leaves nothing behind") {
    fixture* f = new fixture;
    const std::unique_ptr<fixture> owner{f};
    auto* loop = new manual_loop;
    {
        domain media{*loop, {.report = {}}};
        const buffer a = media.import(f->memory.duplicate());
        try_lock(dma_write(a)).release_on(f->done());
        loop->run_ready();
    }
    SUBCASE("the device finishes") {
        f->device.signal();
        loop->run_ready();
    }
    SUBCASE("the loop goes before the device finishes") {}
    delete loop;
}

TEST_CASE("a published fence is waited for by programs that do not know this library, and by those that do") {
    fixture f;
    guard held = try_lock(dma_write(f.a));
    held.publish(f.a, f.done());
    held.unlock();
    CHECK(!dma_buf::is_idle(f.a.fd(), access_mode::read));
    CHECK(!try_lock(read(f.a)));
    f.device.signal();
    CHECK(try_lock(read(f.a)));
}

TEST_CASE("a reader's published fence holds up writers only") {
    fixture f;
    guard held = try_lock(dma_read(f.a));
    held.publish(f.a, f.done());
    held.unlock();
    CHECK(try_lock(read(f.a)));
    CHECK(!try_lock(write(f.a)));
}

TEST_CASE("a fence can be published only on a dma-buf that is held") {
    fixture f;
    guard held = try_lock(dma_write(f.b));
    std::error_code ec;
    held.publish(f.b, f.done(), ec);
    CHECK(ec == errc::not_a_dma_buf);
    held.publish(f.a, f.done(), ec);
    CHECK(ec == errc::not_in_set);
    held.unlock();
    held.publish(f.b, f.done(), ec);
    CHECK(ec == errc::not_locked);
}

TEST_CASE("what the kernel says of a published fence is passed on, and the hold goes on") {
    for (const int error : {EBADF, EINVAL, ENOMEM, EIO}) {
        fixture f;
        guard held = try_lock(dma_write(f.a));
        f.memory.inject(DMA_BUF_IOCTL_IMPORT_SYNC_FILE, error, 1);
        std::error_code ec;
        held.publish(f.a, f.done(), ec);
        CHECK(ec == std::error_code{error, std::system_category()});
        CHECK(!held.unlock());
    }
}

TEST_CASE("what the kernel refuses to end is left to the next device, and nothing is ended twice") {
    manual_loop loop;
    domain media{loop, {.report = {}}};
    const support::fake_dma_buf refusing;
    const support::fake_dma_buf good;
    const buffer a = media.import(refusing.duplicate());
    const buffer b = media.import(good.duplicate());
    guard held = try_lock(write(a), write(b), lock_options{.cpu_access = cpu_access::always});
    refusing.inject(DMA_BUF_IOCTL_SYNC, ENOMEM);
    held.hand_to_device();
    held.unlock();
    CHECK(try_lock(dma_write(a), dma_write(b)));
    CHECK(refusing.log() == "START(RW) END(RW)");
    CHECK(good.log() == "START(RW) END(RW)");
}
