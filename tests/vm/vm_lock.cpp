// SPDX-License-Identifier: MIT
// Locks of real dma-bufs with real fences, on every loop that asks the kernel. What the host tests show with doubles, and
// what doubles cannot show: that the kernel wakes nothing too early, and never holds the loop's thread.
#include <dmasync/domain.hpp>
#include <dmasync/epoll_loop.hpp>
#include <dmasync/lock.hpp>
#include <dmasync/uring_loop.hpp>

#include <doctest/doctest.h>
#include <support/child.hpp>
#include <support/descriptors.hpp>
#include <support/every_loop.hpp>
#include <support/pipe.hpp>
#include <support/probe.hpp>
#include <support/real_time.hpp>
#include <support/sw_sync.hpp>
#include <support/vgem.hpp>
#include <support/waiter.hpp>

#include <algorithm>
#include <array>
#include <atomic>
#include <cerrno>
#include <chrono>
#include <climits>
#include <cstdarg>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <stop_token>
#include <string>
#include <system_error>
#include <thread>
#include <utility>
#include <vector>

#include <liburing.h>
#include <poll.h>
#include <sys/epoll.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

using namespace dmasync;
using support::waiter;
using namespace std::chrono_literals;
using support::run_for;
using support::run_until;
using support::sw_timeline;
using support::vgem_buffer;

// ---- what the kernel is made to answer -------------------------------------------------------------------------------

namespace {

constexpr int always = INT_MAX;

/// While in scope the kernel refuses a request, the first `times` that it is made. One at a time.
class refusal {
public:
    refusal(unsigned long request, int error, int times = always, std::uint64_t side = any_side) {
        left = times;
        failure = error;
        refused_side = side;
        refused = request;
    }
    refusal(const refusal&) = delete;
    refusal& operator=(const refusal&) = delete;
    ~refusal() { refused = 0; }

    /// Returns: the errno; 0 when the request is to be made.
    static int of(unsigned long request, const void* argument) noexcept {
        if (request != refused) { return 0; }
        if (refused_side != any_side && (static_cast<const dma_buf_sync*>(argument)->flags & 4U) != refused_side) {
            return 0;
        }
        return left-- > 0 ? failure.load() : 0;
    }

    static constexpr std::uint64_t any_side = 1;

private:
    inline static std::atomic<unsigned long> refused{0};
    inline static std::atomic<int> failure{0};
    inline static std::atomic<int> left{0};
    inline static std::atomic<std::uint64_t> refused_side{any_side}; // of DMA_BUF_IOCTL_SYNC: START or END
};

} // namespace

// Replaces the C library's in this program.
// NOLINTNEXTLINE(cert-dcl50-cpp,readability-inconsistent-declaration-parameter-name): the C library's declaration
extern "C" int ioctl(int fd, unsigned long request, ...) noexcept {
    va_list list;
    va_start(list, request);
    void* argument = va_arg(list, void*);
    va_end(list);
    if (const int error = refusal::of(request, argument); error != 0) {
        errno = error;
        return -1;
    }
    return static_cast<int>(::syscall(SYS_ioctl, fd, request, argument));
}

namespace {

std::error_code system_error(int error) { return {error, std::system_category()}; }

/// A domain, and two dma-bufs of a graphics card.
template <class Loop>
struct fixture {
    Loop loop;
    std::vector<std::string> reports;
    vgem_buffer camera;
    vgem_buffer screen;
    domain media{
        loop, {.report = [this](const lease_report& r) { reports.push_back(to_string(r)); }, .overdue_limit = 100ms}};
    buffer a = media.import(camera.exported(), "camera");
    buffer b = media.import(screen.exported(), "screen");

    /// Whether the buffer is not held. A CPU's lock would wait for fences in the kernel.
    static bool is_free(const buffer& x) {
        return static_cast<bool>(try_lock(dma_write(x), lock_options{.fences = fences::ignore}));
    }
};

/// A device begins to work on a buffer, until its timeline is at 1.
void begin_work(const buffer& b, const sw_timeline& device, access_mode a) {
    std::error_code ec;
    dma_buf::import_fence(b.fd(), device.create(1), a, ec);
    CHECK_FALSE(ec);
}

/// Runs the loop until the waiter has its outcome.
bool settles(event_loop& loop, const waiter& w) {
    return run_until(loop, [&w] { return w.done(); });
}

/// What polling a dma-buf by hand says after the first of two fences that are pending has ended, and after both.
struct answers {
    bool after_one;
    bool after_both;
};

template <class IsReady>
answers poll_by_hand(const vgem_buffer& b, IsReady is_ready) {
    std::array<sw_timeline, 2> devices;
    std::error_code ec;
    for (const sw_timeline& d : devices) { dma_buf::import_fence(b.fd(), d.create(1), access_mode::dma_write, ec); }
    CHECK_FALSE(ec);
    CHECK_FALSE(is_ready());
    devices[0].advance();
    const bool after_one = is_ready();
    devices[1].advance();
    return {after_one, after_one || is_ready()};
}

} // namespace

// ---- fences and the kernel -------------------------------------------------------------------------------------------

TEST_CASE_TEMPLATE("a reader waits for two writing devices, in whatever order they finish", Loop, EVERY_LOOP_TYPE) {
    for (const std::size_t first : {0U, 1U}) {
        fixture<Loop> f;
        const std::array<sw_timeline, 2> devices;
        for (const sw_timeline& d : devices) { begin_work(f.a, d, access_mode::dma_write); }
        waiter w;
        w.start({}, read(f.a));
        f.loop.poll();
        devices[first].advance();
        run_for(f.loop, 30ms);
        CHECK(!w.done());
        devices[1 - first].advance();
        CHECK(settles(f.loop, w));
        CHECK(w.held);
    }
}

TEST_CASE_TEMPLATE("a writer waits for a reading and a writing device, in whatever order they finish", Loop,
                   EVERY_LOOP_TYPE) {
    for (const std::size_t first : {0U, 1U}) {
        fixture<Loop> f;
        const std::array<sw_timeline, 2> devices;
        begin_work(f.a, devices[0], access_mode::dma_read);
        begin_work(f.a, devices[1], access_mode::dma_write);
        waiter w;
        w.start({}, write(f.a));
        f.loop.poll();
        devices[first].advance();
        run_for(f.loop, 30ms);
        CHECK(!w.done());
        devices[1 - first].advance();
        CHECK(settles(f.loop, w));
        CHECK(w.held);
    }
}

TEST_CASE_TEMPLATE("a reader waits for writing devices only", Loop, EVERY_LOOP_TYPE) {
    fixture<Loop> f;
    const sw_timeline device;
    begin_work(f.a, device, access_mode::dma_read);
    waiter reader;
    reader.start({}, read(f.a));
    CHECK(reader.held);
    reader.held.unlock();
    waiter writer;
    writer.start({}, dma_write(f.a));
    run_for(f.loop, 10ms);
    CHECK(!writer.done());
    device.advance();
    CHECK(settles(f.loop, writer));
}

TEST_CASE_TEMPLATE("a set waits for the devices of all its buffers, in whatever order they finish", Loop,
                   EVERY_LOOP_TYPE) {
    std::array<std::size_t, 3> order{0, 1, 2};
    do {
        fixture<Loop> f;
        const std::array<sw_timeline, 3> devices;
        begin_work(f.a, devices[0], access_mode::dma_write);
        begin_work(f.b, devices[1], access_mode::dma_write);
        begin_work(f.b, devices[2], access_mode::dma_read);
        waiter w;
        w.start({}, read(f.a), write(f.b));
        f.loop.poll();
        for (const std::size_t i : order) {
            CHECK(!w.done());
            devices.at(i).advance();
            run_for(f.loop, 5ms);
        }
        CHECK(settles(f.loop, w));
        CHECK(w.held);
    } while (std::next_permutation(order.begin(), order.end()));
}

TEST_CASE_TEMPLATE("locks wait for devices whatever the memory is from", Loop, EVERY_LOOP_TYPE) {
    for (const memory_kind kind : {memory_kind::udmabuf, memory_kind::dma_heap}) {
        Loop loop;
        domain media{loop, {.report = {}}};
        const buffer a = media.allocate(4096, "a", {.from = kind});
        REQUIRE(a.memory() == kind);
        const sw_timeline device;
        begin_work(a, device, access_mode::dma_write);
        waiter w;
        w.start({}, read(a));
        run_for(loop, 10ms);
        CHECK(!w.done());
        device.advance();
        CHECK(settles(loop, w));
        CHECK(w.held);
    }
}

TEST_CASE("io_uring's own poll ends with the first of two fences, be it of a dma-buf or of an epoll that has it") {
    const vgem_buffer b;
    const unique_fd set{::epoll_create1(EPOLL_CLOEXEC)};
    epoll_event wanted{};
    wanted.events = EPOLLIN;
    REQUIRE(::epoll_ctl(set.get(), EPOLL_CTL_ADD, b.fd(), &wanted) == 0);
    for (const int fd : {b.fd(), set.get()}) {
        io_uring ring{};
        REQUIRE(::io_uring_queue_init(2, &ring, 0) == 0);
        ::io_uring_prep_poll_add(::io_uring_get_sqe(&ring), fd, POLLIN);
        const answers got = poll_by_hand(b, [&, submitted = false]() mutable {
            if (!std::exchange(submitted, true)) { ::io_uring_submit(&ring); }
            io_uring_cqe* cqe = nullptr;
            __kernel_timespec limit{0, 30'000'000};
            return ::io_uring_wait_cqe_timeout(&ring, &cqe, &limit) == 0;
        });
        CHECK_MESSAGE(got.after_one, "this kernel is right, and its dma-bufs might be watched by io_uring");
        CHECK(got.after_both);
        ::io_uring_queue_exit(&ring);
    }
}

TEST_CASE("epoll and poll of a dma-buf wait for both of two fences") {
    const vgem_buffer b;
    const unique_fd set{::epoll_create1(EPOLL_CLOEXEC)};
    epoll_event wanted{};
    wanted.events = EPOLLIN;
    REQUIRE(::epoll_ctl(set.get(), EPOLL_CTL_ADD, b.fd(), &wanted) == 0);
    const answers epoll = poll_by_hand(b, [&] { return ::epoll_wait(set.get(), &wanted, 1, 30) == 1; });
    CHECK_FALSE(epoll.after_one);
    CHECK(epoll.after_both);
    const answers poll = poll_by_hand(b, [&] {
        pollfd entry{b.fd(), POLLIN, 0};
        return ::poll(&entry, 1, 30) == 1;
    });
    CHECK_FALSE(poll.after_one);
    CHECK(poll.after_both);
}

TEST_CASE_TEMPLATE("the work of a driver is waited for", Loop, EVERY_LOOP_TYPE) {
    fixture<Loop> f;
    const std::uint32_t work = f.camera.attach(access_mode::dma_write);
    waiter w;
    w.start({}, read(f.a));
    run_for(f.loop, 5ms);
    CHECK(!w.done());
    f.camera.signal(work);
    CHECK(settles(f.loop, w));
    CHECK(w.held);
}

TEST_CASE_TEMPLATE("a device that begins while another is waited for is waited for as well, and not in the kernel",
                   Loop, EVERY_LOOP_TYPE) {
    fixture<Loop> f;
    const sw_timeline first;
    const sw_timeline second;
    begin_work(f.a, first, access_mode::dma_write);
    waiter w;
    w.start({.fence_timeout = 200ms}, read(f.a));
    f.loop.poll();
    begin_work(f.a, second, access_mode::dma_write);
    std::thread rescue{[&] { // of a loop whose thread is blocked
        std::this_thread::sleep_for(2s);
        second.advance();
    }};
    first.advance();
    const auto begin = event_loop::clock::now();
    run_for(f.loop, 50ms);
    CHECK(event_loop::clock::now() - begin < 1s);
    CHECK(!w.done());
    CHECK(settles(f.loop, w));
    CHECK(w.ec == errc::fence_timed_out);
    rescue.join();
}

TEST_CASE_TEMPLATE("what waited for a holder waits for the device that the holder has set to work", Loop,
                   EVERY_LOOP_TYPE) {
    fixture<Loop> f;
    const sw_timeline device;
    guard held = try_lock(dma_write(f.a));
    waiter w;
    w.start({}, read(f.a));
    held.publish(f.a, device.create(1));
    held.unlock();
    run_for(f.loop, 10ms);
    CHECK(!w.done());
    device.advance();
    CHECK(settles(f.loop, w));
    CHECK(w.held);
}

// ---- devices that do not finish --------------------------------------------------------------------------------------

TEST_CASE_TEMPLATE("the deadline of a lock holds for a device that does not finish", Loop, EVERY_LOOP_TYPE) {
    fixture<Loop> f;
    const sw_timeline stuck;
    begin_work(f.a, stuck, access_mode::dma_write);
    waiter w;
    const auto deadline = f.loop.now() + 20ms;
    w.start({.deadline = deadline}, read(f.a));
    CHECK(settles(f.loop, w));
    CHECK(w.ec == errc::timed_out);
    CHECK(f.loop.now() >= deadline);
    CHECK(f.is_free(f.a));
}

TEST_CASE_TEMPLATE("a device is waited for as long as the lock says, or else as its lease", Loop, EVERY_LOOP_TYPE) {
    fixture<Loop> f;
    const sw_timeline stuck;
    begin_work(f.a, stuck, access_mode::dma_write);
    waiter limited;
    waiter as_its_lease;
    limited.start({.fence_timeout = 20ms}, read(f.a));
    as_its_lease.start({.lease = 400ms}, read(f.a));
    CHECK(settles(f.loop, limited));
    CHECK(limited.ec == errc::fence_timed_out);
    CHECK(!as_its_lease.done());
    CHECK(settles(f.loop, as_its_lease));
    CHECK(as_its_lease.ec == errc::fence_timed_out);
    CHECK(f.is_free(f.a));
}

TEST_CASE_TEMPLATE("what waits for a device that does not finish can be stopped", Loop, EVERY_LOOP_TYPE) {
    fixture<Loop> f;
    const sw_timeline stuck;
    begin_work(f.a, stuck, access_mode::dma_write);
    std::stop_source stop;
    const std::stop_token token = stop.get_token();
    waiter w;
    w.start({.stop = token}, read(f.a));
    f.loop.poll();
    std::thread user{[&] { stop.request_stop(); }};
    CHECK(settles(f.loop, w));
    CHECK(w.ec == errc::cancelled);
    CHECK(f.is_free(f.a));
    user.join();
}

TEST_CASE_TEMPLATE("a coroutine that waits for a device that does not finish can be destroyed", Loop, EVERY_LOOP_TYPE) {
    fixture<Loop> f;
    const std::size_t before = support::count_descriptors();
    const sw_timeline stuck;
    begin_work(f.a, stuck, access_mode::dma_write);
    waiter w;
    w.start({}, read(f.a));
    f.loop.poll();
    w.coroutine.destroy();
    CHECK(f.is_free(f.a));
    CHECK(support::count_descriptors() == before + 1); // the timeline
}

TEST_CASE_TEMPLATE("while one waits for a device that does not finish, others are served and leases end", Loop,
                   EVERY_LOOP_TYPE) {
    fixture<Loop> f;
    const sw_timeline stuck;
    begin_work(f.a, stuck, access_mode::dma_write);
    waiter w;
    w.start({}, read(f.a));
    f.loop.poll();
    for (int i = 0; i < 20; ++i) {
        const guard held = try_lock(write(f.b), lock_options{.lease = 5ms});
        REQUIRE(held);
        waiter next;
        next.start({}, write(f.b));
        CHECK(settles(f.loop, next));
        CHECK(next.held);
        CHECK(held.expired());
    }
    CHECK(!w.done());
    CHECK(f.reports.size() == 20);
    stuck.advance();
    CHECK(settles(f.loop, w));
}

TEST_CASE(
    "a caller that ignores fences and reads by the CPU waits for them in the kernel all the same, with its thread") {
    fixture<epoll_loop> f;
    const sw_timeline device;
    begin_work(f.a, device, access_mode::dma_write);
    CHECK(try_lock(dma_read(f.a), lock_options{.fences = fences::ignore}));
    std::atomic<bool> through{false};
    std::thread reader{[&] {
        CHECK(try_lock(read(f.a), lock_options{.fences = fences::ignore}));
        through = true;
    }};
    std::this_thread::sleep_for(50ms);
    CHECK_FALSE(through);
    device.advance();
    reader.join();
    CHECK(through);
}

// ---- devices that fail -----------------------------------------------------------------------------------------------

TEST_CASE_TEMPLATE("a device that fails makes the lock that waited for it fail, and frees the buffers", Loop,
                   EVERY_LOOP_TYPE) {
    fixture<Loop> f;
    sw_timeline broken;
    begin_work(f.a, broken, access_mode::dma_write);
    waiter w;
    w.start({}, read(f.a), write(f.b));
    f.loop.poll();
    broken.close();
    CHECK(settles(f.loop, w));
    CHECK(w.ec == errc::fence_failed);
    CHECK(!w.held);
    CHECK(f.is_free(f.a));
    CHECK(f.is_free(f.b));
    CHECK(try_lock(read(f.a), write(f.b))); // the fence has ended: there is nothing to wait for any more
}

TEST_CASE_TEMPLATE("any of the devices that are waited for may fail, whichever finishes first", Loop, EVERY_LOOP_TYPE) {
    for (const std::size_t broken : {0U, 1U, 2U}) {
        for (const bool first : {true, false}) {
            fixture<Loop> f;
            std::array<sw_timeline, 3> devices;
            begin_work(f.a, devices[0], access_mode::dma_write);
            begin_work(f.a, devices[1], access_mode::dma_write);
            begin_work(f.b, devices[2], access_mode::dma_write);
            waiter w;
            w.start({}, read(f.a), read(f.b));
            f.loop.poll();
            if (first) { devices.at(broken).close(); }
            run_for(f.loop, 5ms);
            for (std::size_t i = 0; i < devices.size(); ++i) {
                if (i != broken) { devices.at(i).advance(); }
            }
            run_for(f.loop, 5ms);
            if (!first) { devices.at(broken).close(); }
            CHECK(settles(f.loop, w));
            CAPTURE(broken);
            CAPTURE(first);
            CHECK(w.ec == errc::fence_failed);
        }
    }
}

TEST_CASE_TEMPLATE("a device that failed before it was asked for is not heard of: the kernel forgets it", Loop,
                   EVERY_LOOP_TYPE) {
    fixture<Loop> f;
    sw_timeline broken;
    begin_work(f.a, broken, access_mode::dma_write);
    broken.close();
    waiter w;
    w.start({}, read(f.a));
    CHECK(w.held);
}

// ---- devices that outlast the lock -----------------------------------------------------------------------------------

TEST_CASE_TEMPLATE("a hold that is released on a fence ends with it, and the next waiter is granted", Loop,
                   EVERY_LOOP_TYPE) {
    fixture<Loop> f;
    const sw_timeline device;
    guard held = try_lock(dma_write(f.a), dma_write(f.b));
    held.release_on(device.create(1));
    CHECK(!held);
    waiter w;
    w.start({}, read(f.a), read(f.b));
    run_for(f.loop, 10ms);
    CHECK(!w.done());
    device.advance();
    CHECK(settles(f.loop, w));
    CHECK(w.held);
    CHECK(f.reports.empty());
}

TEST_CASE_TEMPLATE("a hold that is released on a merged fence ends with both parts", Loop, EVERY_LOOP_TYPE) {
    fixture<Loop> f;
    const sw_timeline one;
    const sw_timeline two;
    std::error_code ec;
    guard held = try_lock(dma_write(f.a));
    held.release_on(fence::merge(one.create(1), two.create(1), "both", ec));
    run_for(f.loop, 5ms);
    one.advance();
    run_for(f.loop, 10ms);
    CHECK(!f.is_free(f.a));
    two.advance();
    CHECK(run_until(f.loop, [&] { return f.is_free(f.a); }));
}

TEST_CASE_TEMPLATE("a device that fails ends the hold that was released on it, and is reported with its error", Loop,
                   EVERY_LOOP_TYPE) {
    fixture<Loop> f;
    sw_timeline broken;
    guard held = try_lock(dma_write(f.a));
    held.release_on(broken.create(1));
    f.loop.poll();
    broken.close();
    CHECK(run_until(f.loop, [&] { return f.is_free(f.a); }));
    CHECK(f.media.counters().devices_failed == 1);
    REQUIRE(f.reports.size() == 1);
    CHECK(f.reports[0].starts_with("device failed"));
    CHECK(f.reports[0].ends_with(std::generic_category().message(ENOENT)));
}

TEST_CASE_TEMPLATE("a device that outlasts the lease is reported, and keeps its buffers until it has finished", Loop,
                   EVERY_LOOP_TYPE) {
    fixture<Loop> f;
    const sw_timeline device;
    guard held = try_lock(dma_write(f.a), lock_options{.lease = 10ms});
    held.release_on(device.create(1));
    CHECK(run_until(f.loop, [&] { return f.media.counters().devices_overdue == 1; }));
    CHECK(!f.is_free(f.a));
    device.advance();
    CHECK(run_until(f.loop, [&] { return f.is_free(f.a); }));
    CHECK(f.media.counters().leases_expired == 0);
    REQUIRE(f.reports.size() == 1);
    CHECK(f.reports[0].starts_with("device overdue"));
}

TEST_CASE_TEMPLATE("a device that outlasts the overdue limit loses its buffers, and its end changes nothing", Loop,
                   EVERY_LOOP_TYPE) {
    fixture<Loop> f;
    const sw_timeline device;
    guard held = try_lock(dma_write(f.a), lock_options{.lease = 10ms});
    const auto end = f.loop.now() + 10ms + 100ms;
    held.release_on(device.create(1));
    waiter w;
    w.start({.fences = fences::ignore}, dma_write(f.a));
    CHECK(settles(f.loop, w));
    CHECK(f.loop.now() >= end);
    CHECK(f.media.counters().leases_expired == 1);
    REQUIRE(f.reports.size() == 2);
    CHECK(f.reports[0].starts_with("device overdue"));
    CHECK(f.reports[1].starts_with("lease expired"));
    device.advance();
    run_for(f.loop, 10ms);
    CHECK(w.held);
    CHECK(!w.held.expired());
    CHECK(!f.is_free(f.a));
}

TEST_CASE_TEMPLATE("work that a driver lets expire ends the hold like work that is done", Loop, EVERY_LOOP_TYPE) {
    fixture<Loop> f;
    std::optional<vgem_buffer> other{std::in_place};
    static_cast<void>(other->attach(access_mode::dma_write));
    std::error_code ec;
    guard held = try_lock(dma_write(f.a));
    held.release_on(dma_buf::export_fence(other->fd(), access_mode::write, ec));
    run_for(f.loop, 5ms);
    CHECK(!f.is_free(f.a));
    other.reset(); // the one that closes the card's file ends its work, as the ten seconds would
    CHECK(run_until(f.loop, [&] { return f.is_free(f.a); }));
    CHECK(f.reports.empty());
}

// ---- others that do not know the library-----------------------------------------------------------------------------

TEST_CASE("another process that polls the dma-buf waits for a published fence") {
    fixture<epoll_loop> f;
    const sw_timeline device;
    guard held = try_lock(dma_write(f.a));
    held.publish(f.a, device.create(1));
    held.unlock();
    const support::pipe begun;
    const pid_t other = ::fork();
    if (other == 0) {
        pollfd entry{f.camera.fd(), POLLIN, 0};
        const bool pending = ::poll(&entry, 1, 0) == 0;
        if (::write(begun.write_end.get(), "x", 1) != 1) { ::_exit(2); }
        const bool ended = ::poll(&entry, 1, 10'000) == 1;
        ::_exit(pending && ended ? 0 : 1);
    }
    pollfd entry{begun.read_end.get(), POLLIN, 0};
    CHECK(::poll(&entry, 1, 10'000) == 1);
    std::this_thread::sleep_for(20ms);
    CHECK(::waitpid(other, nullptr, WNOHANG) == 0);
    device.advance();
    int status = -1;
    CHECK(::waitpid(other, &status, 0) == other);
    CHECK(status == 0);
}

TEST_CASE("a reader's published fence lets other processes read, not write") {
    fixture<epoll_loop> f;
    const sw_timeline device;
    guard held = try_lock(dma_read(f.a));
    held.publish(f.a, device.create(1));
    held.unlock();
    const auto seen = support::in_child([&] {
        pollfd entry{f.camera.fd(), POLLIN | POLLOUT, 0};
        ::poll(&entry, 1, 0);
        return static_cast<int>(entry.revents);
    });
    CHECK(seen.exit_code == POLLIN);
}

TEST_CASE("a driver refuses work that conflicts with a published fence") {
    fixture<epoll_loop> f;
    const sw_timeline device;
    guard held = try_lock(dma_write(f.a));
    held.publish(f.a, device.create(1));
    std::uint32_t work = 0;
    CHECK(f.camera.attach(access_mode::dma_read, work) == EBUSY);
    device.advance();
    CHECK(f.camera.attach(access_mode::dma_read, work) == 0);
    f.camera.signal(work);
}

// ---- locks that block ------------------------------------------------------------------------------------------------

TEST_CASE_TEMPLATE("a thread waits for two devices, in whatever order they finish; the loop is not run", Loop,
                   EVERY_LOOP_TYPE) {
    for (const std::size_t first : {0U, 1U}) {
        fixture<Loop> f;
        const std::array<sw_timeline, 2> devices;
        for (const sw_timeline& d : devices) { begin_work(f.a, d, access_mode::dma_write); }
        std::atomic<int> finished{0};
        std::thread other{[&] {
            for (const std::size_t i : {first, 1 - first}) {
                std::this_thread::sleep_for(20ms);
                ++finished;
                devices.at(i).advance();
            }
        }};
        const guard held = blocking_lock(read(f.a), write(f.b));
        CHECK(held);
        CHECK(finished == 2);
        other.join();
    }
}

TEST_CASE_TEMPLATE("a thread that waits for devices gives up at its deadline, in its own time, or when told to", Loop,
                   EVERY_LOOP_TYPE) {
    fixture<Loop> f;
    const sw_timeline stuck;
    begin_work(f.a, stuck, access_mode::dma_write);
    std::error_code ec;
    static_cast<void>(blocking_lock(read(f.a), lock_options{.deadline = f.loop.now() + 10ms}, ec));
    CHECK(ec == errc::timed_out);
    static_cast<void>(blocking_lock(read(f.a), lock_options{.fence_timeout = 10ms}, ec));
    CHECK(ec == errc::fence_timed_out);
    std::stop_source stop;
    const std::stop_token token = stop.get_token();
    std::thread user{[&] { stop.request_stop(); }};
    static_cast<void>(blocking_lock(read(f.a), lock_options{.stop = token}, ec));
    CHECK(ec == errc::cancelled);
    user.join();
    CHECK(f.is_free(f.a));
}

TEST_CASE_TEMPLATE("a thread that waits for devices hears of any that fails", Loop, EVERY_LOOP_TYPE) {
    for (const std::size_t broken : {0U, 1U}) {
        fixture<Loop> f;
        std::array<sw_timeline, 2> devices;
        begin_work(f.a, devices[0], access_mode::dma_write);
        begin_work(f.b, devices[1], access_mode::dma_write);
        std::thread other{[&] {
            std::this_thread::sleep_for(20ms);
            devices.at(broken).close();
            std::this_thread::sleep_for(20ms);
            devices.at(1 - broken).advance();
        }};
        std::error_code ec;
        static_cast<void>(blocking_lock(read(f.a), read(f.b), ec));
        CAPTURE(broken);
        CHECK(ec == errc::fence_failed);
        other.join();
        CHECK(f.is_free(f.a));
    }
}

// ---- kernels before 6.0 ----------------------------------------------------------------------------------------------

TEST_CASE_TEMPLATE("a lock waits for all devices where the kernel exports no fences", Loop, EVERY_LOOP_TYPE) {
    const refusal old_kernel{DMA_BUF_IOCTL_EXPORT_SYNC_FILE, ENOTTY};
    std::array<std::size_t, 3> order{0, 1, 2};
    do {
        fixture<Loop> f;
        const std::array<sw_timeline, 3> devices;
        begin_work(f.a, devices[0], access_mode::dma_write);
        begin_work(f.a, devices[1], access_mode::dma_write);
        begin_work(f.b, devices[2], access_mode::dma_read);
        waiter w;
        w.start({}, read(f.a), write(f.b));
        f.loop.poll();
        for (const std::size_t i : order) {
            CHECK(!w.done());
            devices.at(i).advance();
            run_for(f.loop, 5ms);
        }
        CHECK(settles(f.loop, w));
        CHECK(w.held);
    } while (std::next_permutation(order.begin(), order.end()));
}

TEST_CASE_TEMPLATE("a lock gives up on a device where the kernel exports no fences", Loop, EVERY_LOOP_TYPE) {
    const refusal old_kernel{DMA_BUF_IOCTL_EXPORT_SYNC_FILE, ENOTTY};
    fixture<Loop> f;
    const std::size_t before = support::count_descriptors();
    const sw_timeline stuck;
    begin_work(f.a, stuck, access_mode::dma_write);
    waiter w;
    w.start({.fence_timeout = 10ms}, read(f.a));
    CHECK(settles(f.loop, w));
    CHECK(w.ec == errc::fence_timed_out);
    CHECK(f.is_free(f.a));
    CHECK(support::count_descriptors() == before + 1); // the timeline
}

TEST_CASE_TEMPLATE("a thread waits for all devices where the kernel exports no fences", Loop, EVERY_LOOP_TYPE) {
    const refusal old_kernel{DMA_BUF_IOCTL_EXPORT_SYNC_FILE, ENOTTY};
    for (const std::size_t first : {0U, 1U}) {
        fixture<Loop> f;
        const std::array<sw_timeline, 2> devices;
        for (const sw_timeline& d : devices) { begin_work(f.a, d, access_mode::dma_write); }
        std::atomic<int> finished{0};
        std::thread other{[&] {
            for (const std::size_t i : {first, 1 - first}) {
                std::this_thread::sleep_for(20ms);
                ++finished;
                devices.at(i).advance();
            }
        }};
        CHECK(blocking_lock(read(f.a)));
        CHECK(finished == 2);
        other.join();
    }
}

// ---- a kernel that refuses -------------------------------------------------------------------------------------------

namespace {

constexpr std::array refusals{EBADF, EINVAL, EIO, ENOMEM};

/// After a lock that failed nothing is left: neither descriptors nor holds.
template <class Loop>
void check_nothing_left(fixture<Loop>& f, std::size_t descriptors) {
    f.loop.poll();
    CHECK(support::count_descriptors() == descriptors);
    CHECK(try_lock(write(f.a), write(f.b)));
}

} // namespace

TEST_CASE_TEMPLATE("signals and a short shortage do not make a lock fail", Loop, EVERY_LOOP_TYPE) {
    for (const auto request : {DMA_BUF_IOCTL_SYNC, DMA_BUF_IOCTL_EXPORT_SYNC_FILE}) {
        for (const auto& [error, times] : {std::pair{EINTR, 10'000}, std::pair{EAGAIN, 3}}) {
            fixture<Loop> f;
            const sw_timeline device;
            begin_work(f.a, device, access_mode::dma_write);
            const refusal storm{request, error, times};
            waiter w;
            w.start({}, read(f.a));
            f.loop.poll();
            device.advance();
            CHECK(settles(f.loop, w));
            CHECK(w.held);
        }
    }
}

TEST_CASE_TEMPLATE("a kernel that does not begin a CPU's access makes the lock fail with its answer", Loop,
                   EVERY_LOOP_TYPE) {
    for (const auto mode : {cpu_access::tracked, cpu_access::always}) {
        for (const int error : refusals) {
            fixture<Loop> f;
            const std::size_t before = support::count_descriptors();
            waiter w;
            {
                const refusal no_start{DMA_BUF_IOCTL_SYNC, error, always, DMA_BUF_SYNC_START};
                w.start({.cpu_access = mode}, read(f.a), write(f.b));
            }
            CHECK(w.ec == system_error(error));
            CHECK(!w.held);
            check_nothing_left(f, before);
        }
    }
}

TEST_CASE("a kernel that is short of something for ever makes the lock fail, after a while") {
    fixture<epoll_loop> f;
    const std::size_t before = support::count_descriptors();
    waiter w;
    {
        const refusal shortage{DMA_BUF_IOCTL_SYNC, EAGAIN};
        w.start({}, read(f.a), write(f.b));
    }
    CHECK(w.ec == system_error(EAGAIN));
    check_nothing_left(f, before);
}

TEST_CASE_TEMPLATE("a kernel that exports no fence for want of something makes the lock fail with its answer", Loop,
                   EVERY_LOOP_TYPE) {
    for (const int error : {EBADF, EINVAL, EIO, ENOMEM, EMFILE, EAGAIN}) {
        fixture<Loop> f;
        const sw_timeline device;
        begin_work(f.b, device, access_mode::dma_write);
        const std::size_t before = support::count_descriptors();
        waiter w;
        {
            const refusal no_export{DMA_BUF_IOCTL_EXPORT_SYNC_FILE, error};
            w.start({}, read(f.a), write(f.b));
            CHECK(settles(f.loop, w));
        }
        CHECK(w.ec == system_error(error));
        device.advance();
        check_nothing_left(f, before);
    }
}

TEST_CASE("a kernel that exports no fence makes a blocking lock fail with its answer") {
    for (const int error : refusals) {
        fixture<epoll_loop> f;
        const sw_timeline device;
        begin_work(f.b, device, access_mode::dma_write);
        const std::size_t before = support::count_descriptors();
        std::error_code ec;
        {
            const refusal no_export{DMA_BUF_IOCTL_EXPORT_SYNC_FILE, error};
            static_cast<void>(blocking_lock(read(f.a), write(f.b), ec));
        }
        CHECK(ec == system_error(error));
        device.advance();
        check_nothing_left(f, before);
    }
}

TEST_CASE("a kernel that does not end a CPU's access says so at unlock, and the buffers are free all the same") {
    for (const int error : refusals) {
        fixture<epoll_loop> f;
        const std::size_t before = support::count_descriptors();
        guard held = try_lock(read(f.a), write(f.b), lock_options{.cpu_access = cpu_access::always});
        REQUIRE(held);
        {
            const refusal no_end{DMA_BUF_IOCTL_SYNC, error, always, DMA_BUF_SYNC_END};
            CHECK(held.unlock() == system_error(error));
        }
        check_nothing_left(f, before);
    }
}

TEST_CASE("a kernel that does not end the CPU's access keeps a device from the buffer, until it does") {
    for (const int error : refusals) {
        fixture<epoll_loop> f;
        CHECK(try_lock(write(f.a)));
        std::error_code ec;
        {
            const refusal no_end{DMA_BUF_IOCTL_SYNC, error, 1, DMA_BUF_SYNC_END};
            static_cast<void>(try_lock(dma_read(f.a), ec));
        }
        CHECK(ec == system_error(error));
        CHECK(try_lock(dma_read(f.a)));
    }
}

TEST_CASE_TEMPLATE("a kernel that does not tell how a fence ended makes the lock fail", Loop, EVERY_LOOP_TYPE) {
    for (const int error : {EBADF, EIO, ENOMEM}) {
        fixture<Loop> f;
        const sw_timeline device;
        begin_work(f.a, device, access_mode::dma_write);
        const std::size_t before = support::count_descriptors();
        waiter w;
        w.start({}, read(f.a));
        f.loop.poll();
        {
            const refusal no_answer{SYNC_IOC_FILE_INFO, error};
            device.advance();
            CHECK(settles(f.loop, w));
        }
        CHECK(w.ec == errc::fence_failed);
        check_nothing_left(f, before);
    }
}

TEST_CASE("a kernel that takes no fence says so to the one that publishes it, and the hold goes on") {
    for (const int error : {EBADF, EINVAL, EIO, ENOMEM, ENOTTY, EAGAIN}) {
        fixture<epoll_loop> f;
        const sw_timeline device;
        guard held = try_lock(dma_write(f.a));
        std::error_code ec;
        {
            const refusal no_import{DMA_BUF_IOCTL_IMPORT_SYNC_FILE, error};
            held.publish(f.a, device.create(1), ec);
        }
        CHECK(ec == system_error(error));
        CHECK(dma_buf::is_idle(f.a.fd(), access_mode::write));
        CHECK_FALSE(held.unlock());
    }
}

TEST_CASE_TEMPLATE("a thousand locks that wait for devices leave no descriptor behind", Loop, EVERY_LOOP_TYPE) {
    fixture<Loop> f;
    const std::size_t before = support::count_descriptors();
    {
        const sw_timeline device;
        for (std::uint32_t i = 1; i <= 1000; ++i) {
            std::error_code ec;
            dma_buf::import_fence(f.a.fd(), device.create(i), access_mode::dma_write, ec);
            dma_buf::import_fence(f.b.fd(), device.create(i), access_mode::dma_read, ec);
            waiter w;
            w.start({}, read(f.a), write(f.b));
            f.loop.poll();
            CHECK(!w.done());
            device.advance();
            REQUIRE(settles(f.loop, w));
            CHECK(w.held);
        }
    }
    CHECK(support::count_descriptors() == before);
    CHECK(f.media.counters().granted_after_wait == 1000);
}
