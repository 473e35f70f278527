// SPDX-License-Identifier: MIT
#include <dmasync/fence.hpp>

#include <dmasync/manual_loop.hpp>

#include <doctest/doctest.h>
#include <support/callback.hpp>
#include <support/every_loop.hpp>
#include <support/fake_dma_buf.hpp>
#include <support/pipe.hpp>
#include <support/probe.hpp>

#include <cerrno>
#include <chrono>
#include <csignal>
#include <memory>
#include <stop_token>
#include <string>
#include <system_error>
#include <thread>
#include <utility>

#include <fcntl.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <unistd.h>

using namespace dmasync;
using namespace std::chrono_literals;
using support::fake_fence;
using support::make;

namespace {

struct manual {
    static std::unique_ptr<event_loop> create(std::error_code&) { return std::make_unique<manual_loop>(); }
};

std::error_code system_error(int error) { return {error, std::system_category()}; }

/// What a wait has come to. Resumed twice, it would say so.
struct result {
    int times = 0;
    std::error_code error;
};

probe await_fence(event_loop& loop, const fence& f, wait_options options, result& out) {
    std::error_code ec;
    co_await f.wait(loop, options, ec);
    ++out.times;
    out.error = ec;
}

/// Stops the loop that it waits on.
probe await_then_stop(event_loop& loop, const fence& f, wait_options options, result& out) {
    std::error_code ec;
    co_await f.wait(loop, options, ec);
    ++out.times;
    out.error = ec;
    loop.stop();
}

std::string state_and_error(const fence& f) {
    const std::string state = f.state() == fence_state::pending     ? "pending"
                              : f.state() == fence_state::signalled ? "signalled"
                                                                    : "failed";
    return f.error() ? state + " " + std::to_string(f.error().value()) : state;
}

} // namespace

// ---- state -----------------------------------------------------------------------------------------------------------

TEST_CASE("an empty fence stands for nothing to wait for") {
    const fence none;
    std::error_code ec = errc::closed;
    CHECK(!none);
    CHECK(none.fd() == -1);
    CHECK(none.state() == fence_state::signalled);
    CHECK_FALSE(none.error());
    CHECK_FALSE(none.ended_at());
    CHECK_FALSE(none.blocking_wait(event_loop::time_point::min()));
    CHECK(!none.duplicate(ec));
    CHECK_FALSE(ec);
    CHECK(none.info(ec).points.empty());
    CHECK_FALSE(ec);
}

TEST_CASE("a fence is pending, then signalled or failed with the errno of its driver") {
    const fake_fence good;
    const fake_fence bad;
    const fence a = good.file();
    const fence b = bad.file();
    CHECK(state_and_error(a) == "pending");
    good.signal();
    bad.fail(EIO);
    CHECK(state_and_error(a) == "signalled");
    CHECK(b.state() == fence_state::failed);
    CHECK(b.error() == system_error(EIO));
}

TEST_CASE("a fence tells when its last point ended") {
    const fake_fence first;
    const fake_fence last;
    std::error_code ec;
    const fence both = fence::merge(first.file(), last.file(), "both", ec);
    first.signal();
    CHECK_FALSE(both.ended_at());
    const auto before = event_loop::clock::now();
    last.fail(EIO);
    REQUIRE(both.ended_at());
    CHECK(*both.ended_at() >= before);
    CHECK(*both.ended_at() <= event_loop::clock::now());
}

TEST_CASE("a fence can be moved, duplicated and given up") {
    const fake_fence work;
    std::error_code ec;
    fence f = work.file();
    const fence copy = f.duplicate(ec);
    CHECK(copy.fd() != f.fd());
    const unique_fd fd = f.release();
    CHECK(!f);
    work.signal();
    CHECK(copy.state() == fence_state::signalled);
    CHECK(detail::fence_ended(fd.get()));
}

TEST_CASE("what is no sync_file is no fence, and its descriptor is closed") {
    const std::size_t before = support::open_descriptors();
    std::error_code ec;
    unique_fd fd;
    SUBCASE("a pipe") { fd = std::move(support::pipe{}.read_end); }
    SUBCASE("a directory") { fd.reset(::open("/", O_RDONLY | O_CLOEXEC)); }
    SUBCASE("a socket") { fd.reset(::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0)); }
    SUBCASE("a device") { fd.reset(::open("/dev/null", O_RDWR | O_CLOEXEC)); }
    SUBCASE("a dma-buf") { fd = support::fake_dma_buf{}.duplicate(); }
    CHECK(!fence::adopt(std::move(fd), ec));
    CHECK(ec == errc::not_a_fence);
    CHECK(support::open_descriptors() == before);
}

TEST_CASE("a descriptor that is not open is no fence, and the error says why") {
    std::error_code ec;
    CHECK(!fence::adopt(unique_fd{}, ec));
    CHECK(ec == std::errc::bad_file_descriptor);
}

TEST_CASE("a sync_file is adopted though signals interrupt the question") {
    fence f = fake_fence{}.file();
    support::inject(f.fd(), SYNC_IOC_FILE_INFO, EINTR, 5);
    std::error_code ec;
    CHECK(fence::adopt(f.release(), ec));
    CHECK_FALSE(ec);
}

// ---- info ------------------------------------------------------------------------------------------------------------

TEST_CASE("a fence tells what it is made of") {
    const fake_fence camera{"camera"};
    const fake_fence screen{"screen"};
    std::error_code ec;
    const fence both = fence::merge(camera.file(), screen.file(), "frame 7", ec);
    camera.fail(EIO);
    fence_info i = both.info(ec);
    REQUIRE(i.points.size() == 2);
    CHECK(i.name == "frame 7");
    CHECK(i.state == fence_state::pending);
    CHECK_FALSE(i.error);
    CHECK(i.points[0].driver == "fake driver");
    CHECK(i.points[0].timeline == "camera");
    CHECK(i.points[0].state == fence_state::failed);
    CHECK(i.points[0].error == system_error(EIO));
    CHECK(i.points[0].ended);
    CHECK(i.points[1].timeline == "screen");
    CHECK(i.points[1].state == fence_state::pending);
    CHECK_FALSE(i.points[1].ended);
    screen.signal();
    i = both.info(ec);
    CHECK(i.state == fence_state::failed);
    CHECK(i.error == system_error(EIO));
    CHECK_FALSE(ec);
}

TEST_CASE("points that come between the two questions are asked for again") {
    const fence f = fake_fence{"work"}.file();
    support::inject(f.fd(), SYNC_IOC_FILE_INFO, EINVAL, 1, 1); // "more than there is room for"
    std::error_code ec;
    CHECK(f.info(ec).points.size() == 1);
    CHECK_FALSE(ec);
}

TEST_CASE("a fence whose points change all the time is given up on") {
    const fence f = fake_fence{}.file();
    support::inject(f.fd(), SYNC_IOC_FILE_INFO, EINVAL, support::always);
    std::error_code ec;
    CHECK(f.info(ec).points.empty());
    CHECK(ec == std::errc::invalid_argument);
    CHECK_FALSE(f.ended_at());
}

TEST_CASE("either question about points may fail") {
    const fence f = fake_fence{}.file();
    std::error_code ec;
    for (const int step : {0, 1}) {
        support::inject(f.fd(), SYNC_IOC_FILE_INFO, ENOMEM, 1, step);
        CHECK(f.info(ec).points.empty());
        CHECK(ec == std::errc::not_enough_memory);
    }
    CHECK(f.info(ec).points.size() == 1);
    CHECK_FALSE(ec);
}

// ---- merge -----------------------------------------------------------------------------------------------------------

TEST_CASE("a merged fence ends when both have, with the error of the one that failed") {
    const fake_fence a;
    const fake_fence b;
    std::error_code ec;
    const fence both = fence::merge(a.file(), b.file(), "both", ec);
    CHECK_FALSE(ec);
    a.fail(ENODEV);
    CHECK(both.state() == fence_state::pending);
    b.signal();
    CHECK(both.error() == system_error(ENODEV));
}

TEST_CASE("merging with an empty fence is duplicating") {
    const fake_fence work;
    const fence f = work.file();
    std::error_code ec;
    const fence left = fence::merge({}, f, "left", ec);
    const fence right = fence::merge(f, {}, "right", ec);
    CHECK(left);
    CHECK(right);
    CHECK(!fence::merge({}, {}, "none", ec));
    CHECK_FALSE(ec);
}

TEST_CASE("a name that is too long for the kernel is cut") {
    const fence f = fake_fence{}.file();
    std::error_code ec;
    const fence merged = fence::merge(f, f, std::string(40, 'n'), ec);
    CHECK(merged.info(ec).name == std::string(31, 'n'));
}

TEST_CASE("a merge that fails leaves nothing behind") {
    const fence f = fake_fence{}.file();
    const std::size_t before = support::open_descriptors();
    support::inject(f.fd(), SYNC_IOC_MERGE, ENOMEM);
    std::error_code ec;
    CHECK(!fence::merge(f, f, "merged", ec));
    CHECK(ec == std::errc::not_enough_memory);
    CHECK(support::open_descriptors() == before);
}

// ---- blocking wait ---------------------------------------------------------------------------------------------------

TEST_CASE("a thread waits for a fence that another ends") {
    const fake_fence work;
    const fence f = work.file();
    std::thread device{[&] { work.fail(EIO); }};
    CHECK(f.blocking_wait() == system_error(EIO));
    device.join();
}

TEST_CASE("a thread waits until its deadline, not less") {
    const fence f = fake_fence{}.file();
    const auto deadline = event_loop::clock::now() + 2ms;
    CHECK(f.blocking_wait(deadline) == errc::timed_out);
    CHECK(event_loop::clock::now() >= deadline);
}

TEST_CASE("a deadline that has passed asks once") {
    const fake_fence work;
    const fence f = work.file();
    CHECK(f.blocking_wait({}) == errc::timed_out);
    CHECK(f.blocking_wait(event_loop::time_point::min()) == errc::timed_out);
    work.signal();
    CHECK_FALSE(f.blocking_wait(event_loop::time_point::min()));
}

TEST_CASE("signals do not end a blocking wait") {
    struct sigaction counting {};
    struct sigaction old {};
    static volatile std::sig_atomic_t signals;
    signals = 0;
    counting.sa_handler = [](int) { signals = signals + 1; };
    REQUIRE(::sigaction(SIGALRM, &counting, &old) == 0);
    const itimerval often{{0, 200}, {0, 200}};
    REQUIRE(::setitimer(ITIMER_REAL, &often, nullptr) == 0);
    const fence f = fake_fence{}.file();
    while (signals < 3) { CHECK(f.blocking_wait(event_loop::clock::now() + 2ms) == errc::timed_out); }
    const itimerval never{};
    ::setitimer(ITIMER_REAL, &never, nullptr);
    ::sigaction(SIGALRM, &old, nullptr);
}

// ---- waiting from a coroutine ----------------------------------------------------------------------------------------

TEST_CASE("what waits for a fence that has ended, or for none, does not suspend") {
    manual_loop loop;
    const fake_fence work;
    work.fail(EIO);
    const fence ended = work.file();
    const fence none;
    result a;
    result b;
    CHECK(await_fence(loop, ended, {.deadline = {}}, a).done()); // whatever the deadline
    CHECK(a.error == system_error(EIO));
    CHECK(await_fence(loop, none, {.deadline = {}}, b).done());
    CHECK_FALSE(b.error);
}

TEST_CASE("what asks too late, or stopped already, does not suspend") {
    manual_loop loop;
    const fence f = fake_fence{}.file();
    std::stop_source stop;
    stop.request_stop();
    const std::stop_token token = stop.get_token();
    result late;
    result stopped;
    CHECK(await_fence(loop, f, {.deadline = loop.now()}, late).done());
    CHECK(late.error == errc::timed_out);
    CHECK(await_fence(loop, f, {.stop = token}, stopped).done());
    CHECK(stopped.error == errc::cancelled);
}

TEST_CASE_TEMPLATE("what waits for a fence goes on when it ends, with its error", Kind, EVERY_LOOP, manual) {
    const auto loop = make<Kind>();
    if (!loop) { return; }
    for (const int error : {0, EIO}) {
        const fake_fence one;
        const fence file = one.file();
        result r;
        const probe p = await_then_stop(*loop, file, {}, r);
        CHECK_FALSE(p.done());
        std::thread device{[&] { error == 0 ? one.signal() : one.fail(error); }};
        loop->run();
        device.join();
        CHECK(r.times == 1);
        CHECK(r.error == system_error(error));
    }
}

TEST_CASE_TEMPLATE("several wait for one fence, and all go on", Kind, EVERY_LOOP, manual) {
    const auto loop = make<Kind>();
    if (!loop) { return; }
    const fake_fence work;
    const fence f = work.file();
    result first;
    result second;
    const probe a = await_fence(*loop, f, {}, first);
    const probe b = await_fence(*loop, f, {}, second);
    work.signal();
    while (first.times + second.times < 2) { loop->poll(); }
    CHECK_FALSE(first.error);
    CHECK_FALSE(second.error);
}

TEST_CASE_TEMPLATE("a deadline ends the wait, and what comes later is not heard", Kind, EVERY_LOOP, manual) {
    const auto loop = make<Kind>();
    if (!loop) { return; }
    const fake_fence work;
    const fence f = work.file();
    result r;
    const auto deadline = loop->now() + 1ms;
    const probe p = await_then_stop(*loop, f, {.deadline = deadline}, r);
    loop->run();
    CHECK(r.error == errc::timed_out);
    CHECK(loop->now() >= deadline);
    work.signal();
    loop->poll();
    CHECK(r.times == 1);
}

TEST_CASE_TEMPLATE("a stop request on another thread ends the wait on the loop's", Kind, EVERY_LOOP, manual) {
    const auto loop = make<Kind>();
    if (!loop) { return; }
    const fence f = fake_fence{}.file();
    std::stop_source stop;
    const std::stop_token token = stop.get_token();
    result r;
    const probe p = await_then_stop(*loop, f, {.stop = token}, r);
    std::thread other{[&] { stop.request_stop(); }};
    loop->run();
    other.join();
    CHECK(r.times == 1);
    CHECK(r.error == errc::cancelled);
}

TEST_CASE("a stop request does not resume in place") {
    manual_loop loop;
    const fence f = fake_fence{}.file();
    std::stop_source stop;
    const std::stop_token token = stop.get_token();
    result r;
    const probe p = await_fence(loop, f, {.stop = token}, r);
    stop.request_stop();
    CHECK(r.times == 0);
    loop.run_ready();
    CHECK(r.error == errc::cancelled);
}

TEST_CASE("a fence that has ended when its deadline is looked at was not late") {
    manual_loop loop;
    const fake_fence work;
    const fence f = work.file();
    result r;
    const probe p = await_fence(loop, f, {.deadline = loop.now() + 2ms}, r);
    support::timed just_before{[&] { work.signal(); }};
    loop.arm(just_before, loop.now() + 1ms);
    loop.set(loop.now() + 1s); // the thread was away: both timers fire before the kernel is asked again
    loop.run_ready();
    CHECK(r.times == 1);
    CHECK_FALSE(r.error);
}

TEST_CASE("signal, deadline and stop in one turn: one outcome") {
    manual_loop loop;
    const fake_fence work;
    const fence f = work.file();
    std::stop_source stop;
    const std::stop_token token = stop.get_token();
    result r;
    const probe p = await_fence(loop, f, {.deadline = loop.now() + 1ms, .stop = token}, r);
    work.signal();
    stop.request_stop();
    loop.advance(1s);
    CHECK(r.times == 1);
    CHECK(r.error == errc::cancelled); // posted work comes before the kernel
}

TEST_CASE_TEMPLATE("a signal, a deadline and a stop request race: one outcome each time", Kind, EVERY_LOOP) {
    const auto loop = make<Kind>();
    if (!loop) { return; }
    for (int round = 0; round < 200; ++round) {
        const fake_fence work;
        const fence f = work.file();
        std::stop_source stop;
        const std::stop_token token = stop.get_token();
        result r;
        const probe p = await_then_stop(*loop, f, {.deadline = loop->now() + round * 1us, .stop = token}, r);
        std::thread device{[&] { work.fail(EIO); }};
        std::thread user{[&] { stop.request_stop(); }};
        loop->run();
        device.join();
        user.join();
        loop->poll();
        CHECK(r.times == 1);
        CHECK((r.error == errc::cancelled || r.error == errc::timed_out || r.error == system_error(EIO)));
    }
}

TEST_CASE_TEMPLATE("what waits for a fence may be destroyed", Kind, EVERY_LOOP, manual) {
    const auto loop = make<Kind>();
    if (!loop) { return; }
    const fake_fence work;
    const fence f = work.file();
    std::stop_source stop;
    const std::stop_token token = stop.get_token();
    result r;
    probe p = await_fence(*loop, f, {.deadline = loop->now() + 1h, .stop = token}, r);
    SUBCASE("before anything happens") { p.destroy(); }
    SUBCASE("with a stop request on its way") {
        stop.request_stop();
        p.destroy();
    }
    SUBCASE("with its fence ended") {
        work.signal();
        p.destroy();
    }
    work.signal();
    stop.request_stop();
    loop->poll();
    loop->poll();
    CHECK(r.times == 0);
}

TEST_CASE("a loop may be destroyed before those that wait on it for a fence, and stop is requested later") {
    const fence f = fake_fence{}.file();
    std::stop_source stop;
    const std::stop_token token = stop.get_token();
    result r;
    probe p;
    {
        manual_loop loop;
        p = await_fence(loop, f, {.deadline = loop.now() + 1h, .stop = token}, r);
        SUBCASE("nothing on its way") {}
        SUBCASE("a stop request on its way") { stop.request_stop(); }
    }
    stop.request_stop();
    CHECK(r.times == 0);
}

TEST_CASE("a fence that the loop cannot watch ends the wait at once, with the kernel's error") {
    manual_loop loop;
    fence f = fake_fence{}.file();
    result r;
    ::close(f.fd()); // by mistake
    const probe p = await_fence(loop, f, {}, r);
    CHECK(p.done());
    CHECK(r.error == std::errc::bad_file_descriptor);
    CHECK(f.blocking_wait() == std::errc::bad_file_descriptor);
    static_cast<void>(f.release().release());
}

// ---- what the kernel should not say ------------------------------------------------------------------------------------

namespace {

/// Makes of the answers to SYNC_IOC_FILE_INFO whatever `change` does; without it, merges without a descriptor.
struct odd_kernel : support::meddler {
    void (*change)(sync_file_info& i) = nullptr;

    int change_answer(unsigned long request, void* argument, int result) override {
        if (request == SYNC_IOC_FILE_INFO && change != nullptr) { change(*static_cast<sync_file_info*>(argument)); }
        if (request == SYNC_IOC_MERGE) {
            auto& merged = *static_cast<sync_merge_data*>(argument);
            const unique_fd unwanted{merged.fence};
            merged.fence = -1;
        }
        return result;
    }
};

} // namespace

TEST_CASE("a merge that gives no descriptor fails: an empty fence would be one that has ended") {
    const fake_fence work;
    const fence f = work.file();
    odd_kernel kernel;
    const support::meddling scope{kernel};
    std::error_code ec;
    CHECK_FALSE(fence::merge(f, f, "merged", ec));
    CHECK(ec == system_error(EBADF));
}

TEST_CASE("of a fence no more points are believed than there was room for") {
    const fake_fence work;
    const fence f = work.file();
    odd_kernel kernel;
    kernel.change = [](sync_file_info& i) { i.num_fences += i.sync_fence_info == 0 ? 0 : 1000; };
    const support::meddling scope{kernel};
    std::error_code ec;
    CHECK(f.info(ec).points.size() == 1);
    CHECK_FALSE(ec);
}

TEST_CASE("a fence of more points than memory could hold is refused") {
    const fake_fence work;
    const fence f = work.file();
    odd_kernel kernel;
    kernel.change = [](sync_file_info& i) { i.num_fences = 0xffff'ffff; };
    const support::meddling scope{kernel};
    std::error_code ec;
    CHECK(f.info(ec).points.empty());
    CHECK(ec == errc::out_of_memory);
}

TEST_CASE("a status that is no error number has failed all the same") {
    const fake_fence work;
    const fence f = work.file();
    work.fail(EPIPE);
    odd_kernel kernel;
    const support::meddling scope{kernel};
    kernel.change = [](sync_file_info& i) { i.status = -0x7fff'ffff - 1; };
    CHECK(f.error() == system_error(EIO));
    kernel.change = [](sync_file_info& i) { i.status = -4096; };
    CHECK(f.error() == system_error(EIO));
    kernel.change = [](sync_file_info& i) { i.status = -4095; };
    CHECK(f.error() == system_error(4095));
}

TEST_CASE("waiting leaves no descriptor behind") {
    epoll_loop loop;
    const std::size_t before = support::open_descriptors();
    {
        const fake_fence work;
        const fence f = work.file();
        result r;
        const probe a = await_fence(loop, f, {}, r);
        const probe b = await_fence(loop, f, {}, r); // the loop watches a duplicate
    }
    CHECK(support::open_descriptors() == before);
}

#if defined(__cpp_exceptions)
namespace {
probe await_throwing(event_loop& loop, const fence& f, std::error_code& caught) {
    try {
        co_await f.wait(loop);
    } catch (const std::system_error& e) { caught = e.code(); }
}
} // namespace

TEST_CASE("without an error code, what went wrong is thrown") {
    manual_loop loop;
    const fake_fence work;
    const fence f = work.file();
    std::error_code caught;
    const probe p = await_throwing(loop, f, caught);
    work.fail(EIO);
    loop.run_ready();
    CHECK(caught == system_error(EIO));
    CHECK_THROWS_AS(static_cast<void>(fence::adopt(unique_fd{})), std::system_error);
    support::inject(f.fd(), SYNC_IOC_MERGE, ENOMEM);
    CHECK_THROWS_AS(static_cast<void>(fence::merge(f, f, "merged")), std::system_error);
}
#endif
