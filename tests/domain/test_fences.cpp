// SPDX-License-Identifier: MIT
#include <dmasync/detail/domain/fences.hpp>

#include <dmasync/domain.hpp>
#include <dmasync/epoll_loop.hpp>
#include <dmasync/lock.hpp>
#include <dmasync/lock_set.hpp>
#include <dmasync/manual_loop.hpp>
#include <dmasync/wait.hpp>

#include <doctest/doctest.h>
#include <support/fake_dma_buf.hpp>
#include <support/probe.hpp>
#include <support/waiter.hpp>

#include <array>
#include <cerrno>
#include <chrono>
#include <cstddef>
#include <functional>
#include <optional>
#include <stop_token>
#include <system_error>
#include <thread>

#include <unistd.h>

using namespace dmasync;
using support::waiter;
using namespace std::chrono_literals;

namespace {

/// A domain on a virtual clock, with two dma-bufs of the kernel's double.
struct fixture {
    manual_loop loop;
    domain media{loop, {.report = {}}};
    support::fake_dma_buf camera;
    support::fake_dma_buf screen;
    buffer a = media.import(camera.duplicate(), "camera");
    buffer b = media.import(screen.duplicate(), "screen");
};

} // namespace

TEST_CASE("a lock of idle dma-bufs is granted in place") {
    fixture f;
    waiter w;
    w.start({}, read(f.a), write(f.b));
    CHECK(w.done());
    CHECK(w.held);
    CHECK(f.media.counters().granted_at_once == 1);
    CHECK(f.media.counters().fences_waited == 0);
}

TEST_CASE("a reader waits for the fences of writers, and for no others") {
    fixture f;
    support::fake_fence reading = f.camera.add_fence(access_mode::dma_read);
    waiter beside;
    beside.start({}, read(f.a));
    CHECK(beside.done());
    beside.held.unlock();

    support::fake_fence writing = f.camera.add_fence(access_mode::dma_write);
    waiter w;
    w.start({}, read(f.a));
    f.loop.run_ready();
    CHECK(!w.done());
    writing.signal();
    f.loop.run_ready();
    CHECK(w.done());
    CHECK(w.held);
    CHECK(f.media.counters().granted_after_wait == 1);
    CHECK(f.media.counters().fences_waited == 1);
}

TEST_CASE("a writer waits for the fences of readers and writers, in whatever order they end") {
    for (const bool reader_first : {true, false}) {
        fixture f;
        support::fake_fence reading = f.camera.add_fence(access_mode::dma_read);
        support::fake_fence writing = f.camera.add_fence(access_mode::dma_write);
        waiter w;
        w.start({}, write(f.a));
        f.loop.run_ready();
        (reader_first ? reading : writing).signal();
        f.loop.run_ready();
        CHECK(!w.done());
        (reader_first ? writing : reading).signal();
        f.loop.run_ready();
        CHECK(w.held);
    }
}

TEST_CASE("a set waits for the fences of all its dma-bufs") {
    fixture f;
    support::fake_fence one = f.camera.add_fence(access_mode::dma_write);
    support::fake_fence two = f.screen.add_fence(access_mode::dma_write);
    waiter w;
    w.start({}, read(f.a), read(f.b));
    two.signal();
    f.loop.run_ready();
    CHECK(!w.done());
    one.signal();
    f.loop.run_ready();
    CHECK(w.held);
}

TEST_CASE("the lease starts when the fences have ended") {
    fixture f;
    support::fake_fence writing = f.camera.add_fence(access_mode::dma_write);
    waiter w;
    w.start({}, read(f.a));
    f.loop.advance(3s);
    writing.signal();
    f.loop.run_ready();
    REQUIRE(w.held);
    CHECK(w.held.expires_at() == f.loop.now() + 5s);
}

TEST_CASE("what is waiting for a fence keeps its place: nothing younger gets the buffer") {
    fixture f;
    support::fake_fence writing = f.camera.add_fence(access_mode::dma_write);
    waiter first;
    waiter second;
    first.start({}, write(f.a));
    second.start({.fences = fences::ignore}, write(f.a));
    f.loop.run_ready();
    CHECK(!second.done());
    writing.signal();
    f.loop.run_ready();
    CHECK(first.held);
    CHECK(!second.done());
    first.held.unlock();
    f.loop.run_ready();
    CHECK(second.held);
}

TEST_CASE("what waited for a holder waits for the fence that the holder leaves behind") {
    fixture f;
    guard held = try_lock(write(f.a));
    waiter w;
    w.start({}, read(f.a));
    support::fake_fence writing = f.camera.add_fence(access_mode::dma_write);
    held.unlock();
    f.loop.run_ready();
    CHECK(!w.done());
    writing.signal();
    f.loop.run_ready();
    CHECK(w.held);
}

TEST_CASE("while one waits for a fence, the loop serves others") {
    fixture f;
    support::fake_fence writing = f.camera.add_fence(access_mode::dma_write);
    waiter w;
    w.start({}, read(f.a));
    waiter other;
    guard held = try_lock(write(f.b));
    other.start({}, write(f.b));
    held.unlock();
    f.loop.run_ready();
    CHECK(other.held);
    CHECK(!w.done());
}

TEST_CASE("the deadline of a lock holds for the fence as well, and the buffers go to the next") {
    fixture f;
    support::fake_fence writing = f.camera.add_fence(access_mode::dma_write);
    waiter w;
    w.start({.deadline = f.loop.now() + 1s}, read(f.a));
    waiter next;
    next.start({.fences = fences::ignore}, write(f.a));
    f.loop.advance(1s);
    CHECK(w.ec == errc::timed_out);
    CHECK(next.held);
    CHECK(f.media.counters().timed_out == 1);
}

TEST_CASE("a fence that does not end in its own time ends the lock with an error of its own") {
    fixture f;
    support::fake_fence writing = f.camera.add_fence(access_mode::dma_write);
    waiter limited;
    waiter as_long_as_the_lease;
    limited.start({.fence_timeout = 20ms}, read(f.a));
    as_long_as_the_lease.start({.lease = 100ms}, read(f.a));
    f.loop.advance(20ms);
    CHECK(limited.ec == errc::fence_timed_out);
    CHECK(limited.ec == std::errc::timed_out);
    CHECK(!as_long_as_the_lease.done());
    f.loop.advance(80ms);
    CHECK(as_long_as_the_lease.ec == errc::fence_timed_out);
    CHECK(try_lock(write(f.a), lock_options{.fences = fences::ignore}));
}

TEST_CASE("a stop request ends the wait for a fence") {
    fixture f;
    support::fake_fence writing = f.camera.add_fence(access_mode::dma_write);
    std::stop_source stop;
    const std::stop_token token = stop.get_token();
    waiter w;
    w.start({.stop = token}, read(f.a));
    f.loop.run_ready();
    stop.request_stop();
    f.loop.run_ready();
    CHECK(w.ec == errc::cancelled);
    CHECK(try_lock(write(f.a), lock_options{.fences = fences::ignore}));
}

TEST_CASE("a fence and a stop request in one turn have one outcome, the stop request's") {
    fixture f;
    support::fake_fence writing = f.camera.add_fence(access_mode::dma_write);
    std::stop_source stop;
    const std::stop_token token = stop.get_token();
    waiter w;
    w.start({.stop = token}, read(f.a));
    f.loop.run_ready();
    writing.signal();
    stop.request_stop();
    f.loop.run_ready();
    CHECK(w.done());
    CHECK(w.ec == errc::cancelled);
}

TEST_CASE("a coroutine that is destroyed while it waits for a fence leaves nothing behind") {
    fixture f;
    support::fake_fence writing = f.camera.add_fence(access_mode::dma_write);
    waiter w;
    w.start({}, read(f.a));
    SUBCASE("before the loop has begun to watch") {}
    SUBCASE("afterwards") { f.loop.run_ready(); }
    w.coroutine.destroy();
    CHECK(try_lock(write(f.a), lock_options{.fences = fences::ignore}));
    writing.signal();
    f.loop.run_ready();
}

TEST_CASE("a fence that fails makes the lock that waited for it fail, and frees the buffers") {
    fixture f;
    support::fake_fence writing = f.camera.add_fence(access_mode::dma_write);
    waiter w;
    w.start({}, read(f.a), write(f.b));
    f.loop.run_ready();
    writing.fail(EIO);
    f.loop.run_ready();
    CHECK(w.ec == errc::fence_failed);
    CHECK(!w.held);
    CHECK(try_lock(write(f.a), write(f.b)));
}

TEST_CASE("any of the fences that are waited for may fail, whichever ends first") {
    for (const bool fails_first : {true, false}) {
        for (const bool of_second : {true, false}) {
            fixture f;
            support::fake_fence one = f.camera.add_fence(access_mode::dma_write);
            support::fake_fence two = f.screen.add_fence(access_mode::dma_write);
            waiter w;
            w.start({}, read(f.a), read(f.b));
            f.loop.run_ready();
            if (fails_first) { (of_second ? two : one).fail(EIO); }
            f.loop.run_ready();
            (of_second ? one : two).signal();
            f.loop.run_ready();
            if (!fails_first) { (of_second ? two : one).fail(EIO); }
            f.loop.run_ready();
            CHECK(w.ec == errc::fence_failed);
        }
    }
}

TEST_CASE("a fence that comes while another is waited for is waited for as well, and not in the kernel") {
    fixture f;
    support::fake_fence first = f.camera.add_fence(access_mode::dma_write);
    waiter w;
    w.start({}, read(f.a));
    f.loop.run_ready();
    support::fake_fence second = f.camera.add_fence(access_mode::dma_write);
    first.signal();
    f.loop.run_ready();
    CHECK(!w.done());
    second.signal();
    f.loop.run_ready();
    CHECK(w.held);
    CHECK(f.camera.log() == "START(R)");
    CHECK(f.media.counters().fences_waited == 2);
}

TEST_CASE("a caller that looks after fences itself does not wait for them") {
    fixture f;
    support::fake_fence writing = f.camera.add_fence(access_mode::dma_write);
    waiter w;
    w.start({.fences = fences::ignore}, write(f.a));
    CHECK(w.done());
    CHECK(w.held);
}

TEST_CASE("a set that does not wait for fences says so once for all its locks") {
    fixture f;
    support::fake_fence writing = f.camera.add_fence(access_mode::dma_write);
    lock_set set{f.media, "own", {.fences = fences::ignore}};
    set.add(f.a, access_mode::write);
    CHECK(set.try_lock());
}

TEST_CASE("a lock that asks to wait for fences does, though its set does not") {
    fixture f;
    support::fake_fence writing = f.camera.add_fence(access_mode::dma_write);
    lock_set set{f.media, "own", {.fences = fences::ignore}};
    set.add(f.a, access_mode::write);
    CHECK(set.try_lock({.fences = fences::wait}).error() == errc::would_block);
}

TEST_CASE("try_lock does not wait for a fence, and holds nothing then") {
    fixture f;
    support::fake_fence writing = f.camera.add_fence(access_mode::dma_write);
    const guard tried = try_lock(read(f.a), write(f.b));
    CHECK(tried.error() == errc::would_block);
    CHECK(try_lock(write(f.b)));
    writing.signal();
    CHECK(try_lock(read(f.a)));
}

TEST_CASE("a buffer that is closed while a fence is waited for is still handed over") {
    fixture f;
    support::fake_fence writing = f.camera.add_fence(access_mode::dma_write);
    waiter w;
    w.start({}, read(f.a));
    f.a.close();
    writing.signal();
    f.loop.run_ready();
    CHECK(w.held);
}

TEST_CASE("a kernel that refuses to export a fence makes the lock fail with its answer") {
    for (const int error : {EINVAL, EMFILE, ENOMEM, EBADF, EIO}) {
        fixture f;
        support::fake_fence writing = f.camera.add_fence(access_mode::dma_write);
        f.camera.inject(DMA_BUF_IOCTL_EXPORT_SYNC_FILE, error, 1);
        waiter w;
        w.start({}, read(f.a));
        f.loop.run_ready();
        CHECK(w.ec == std::error_code{error, std::system_category()});
        CHECK(try_lock(write(f.a), lock_options{.fences = fences::ignore}));
    }
}

TEST_CASE("signals do not keep a lock from waiting for a fence") {
    fixture f;
    support::fake_fence writing = f.camera.add_fence(access_mode::dma_write);
    f.camera.inject(DMA_BUF_IOCTL_EXPORT_SYNC_FILE, EINTR, 100);
    waiter w;
    w.start({}, read(f.a));
    f.loop.run_ready();
    writing.signal();
    f.loop.run_ready();
    CHECK(w.held);
}

TEST_CASE("a blocking lock waits for a fence, and its lease starts afterwards") {
    epoll_loop loop;
    domain media{loop, {.report = {}}};
    support::fake_dma_buf memory;
    const buffer a = media.import(memory.duplicate());
    support::fake_fence writing = memory.add_fence(access_mode::dma_write);
    std::thread device{[&] { writing.signal(); }};
    const guard held = blocking_lock(read(a));
    CHECK(held);
    CHECK(media.counters().granted_at_once + media.counters().granted_after_wait == 1);
    device.join();
}

TEST_CASE("a blocking lock that waits for a fence gives up at its deadline, in its own time, or when told to") {
    epoll_loop loop;
    domain media{loop, {.report = {}}};
    support::fake_dma_buf memory;
    const buffer a = media.import(memory.duplicate());
    support::fake_fence never = memory.add_fence(access_mode::dma_write);
    std::error_code ec;
    SUBCASE("at its deadline") {
        static_cast<void>(blocking_lock(read(a), lock_options{.deadline = loop.now() + 1ms}, ec));
        CHECK(ec == errc::timed_out);
    }
    SUBCASE("in its own time") {
        static_cast<void>(blocking_lock(read(a), lock_options{.fence_timeout = 1ms}, ec));
        CHECK(ec == errc::fence_timed_out);
    }
    SUBCASE("when told to") {
        std::stop_source stop;
        const std::stop_token token = stop.get_token();
        std::thread other{[&] { stop.request_stop(); }};
        static_cast<void>(blocking_lock(read(a), lock_options{.stop = token}, ec));
        CHECK(ec == errc::cancelled);
        other.join();
    }
    SUBCASE("when the fence fails") {
        std::thread device{[&] { never.fail(EIO); }};
        static_cast<void>(blocking_lock(read(a), ec));
        CHECK((ec == errc::fence_failed || !ec)); // it may have failed before it was asked for
        device.join();
    }
    CHECK(try_lock(write(a), lock_options{.fences = fences::ignore}));
}

TEST_CASE("a blocking lock that waits for a fence fails with closed when the domain goes away") {
    support::fake_dma_buf memory;
    support::fake_fence never = memory.add_fence(access_mode::dma_write);
    manual_loop loop;
    std::optional<domain> media;
    media.emplace(loop, domain_options{.report = {}});
    const buffer a = media->import(memory.duplicate());
    std::error_code ec;
    std::thread other{[&] { static_cast<void>(blocking_lock(read(a), ec)); }};
    while (media->counters().fences_waited == 0) { std::this_thread::yield(); }
    media.reset();
    other.join();
    CHECK(ec == errc::closed);
}

namespace {

/// A loop that never turns, and does something when it is posted to.
struct meddling_loop final : event_loop {
    explicit meddling_loop(virtual_clock& c) : event_loop{c.time} {}

    std::function<void()> meddle = [] {};

    [[nodiscard]] int fd() const noexcept override { return -1; }

private:
    void wake() noexcept override { meddle(); }
    void wait(bool) noexcept override {}
    void flush() noexcept override {}
    void set_kernel_timer(time_point) noexcept override {}
    std::error_code start_watch(fd_watch&) noexcept override { return {}; }
    void stop_watch(fd_watch&) noexcept override {}
};

} // namespace

TEST_CASE("a granted lock whose time runs out before its loop has been told does not wait for the fence for ever") {
    fixture f;
    meddling_loop elsewhere{f.loop.time_source()};
    std::array<std::byte, 64> bytes{};
    const buffer plain = f.media.adopt(bytes);
    guard held = try_lock(write(plain), write(f.a));
    support::fake_fence never = f.camera.add_fence(access_mode::dma_write);
    waiter first;
    first.start({.on = &elsewhere}, write(plain));
    waiter second;
    second.start({.fence_timeout = 1ms}, write(f.a));
    elsewhere.poll();
    elsewhere.meddle = [&f] { f.loop.advance(2ms); }; // both are granted, and only the first has been told
    held.unlock();
    f.loop.advance(1h);
    CHECK(second.done());
    CHECK(second.ec == errc::fence_timed_out);
}

TEST_CASE("a blocking lock on the loop's own thread does not wait for a fence either") {
    fixture f;
    support::fake_fence writing = f.camera.add_fence(access_mode::dma_write);
    std::error_code ec;
    const auto in_loop = [&](buffer b) -> probe {
        co_await resume_on(f.loop);
        static_cast<void>(blocking_lock(read(b), ec));
    };
    const probe p = in_loop(f.a);
    f.loop.run_ready();
    CHECK(ec == errc::would_deadlock);
    CHECK(try_lock(write(f.a), lock_options{.fences = fences::ignore}));
}

TEST_CASE("a lock that waits for a fence on a loop that can wait no longer fails with that loop's error") {
    epoll_loop loop;
    domain media{loop, {.report = {}}};
    support::fake_dma_buf camera;
    const buffer a = media.import(camera.duplicate(), "camera");
    support::fake_fence working = camera.add_fence(access_mode::dma_write);
    waiter w;
    w.start({.lease = no_lease}, read(a));
    loop.poll(); // the fence is watched
    REQUIRE(!w.done());
    ::close(loop.fd());
    loop.poll();
    REQUIRE(loop.error() == std::error_code{EBADF, std::system_category()});
    REQUIRE(w.done());
    CHECK(w.ec == loop.error());
    CHECK(try_lock(write(a)).error() == errc::would_block); // of the fence: the waiter has left
    working.signal();
    CHECK(try_lock(write(a)));
}
