// SPDX-License-Identifier: MIT
#include <dmasync/wait.hpp>

#include <dmasync/epoll_loop.hpp>
#include <dmasync/manual_loop.hpp>
#include <dmasync/task.hpp>

#include <doctest/doctest.h>
#include <support/callback.hpp>
#include <support/pipe.hpp>
#include <support/probe.hpp>

#include <chrono>
#include <stop_token>
#include <system_error>
#include <thread>

#include <poll.h>

using namespace dmasync;
using namespace std::chrono_literals;
using support::timed;

namespace {

probe sleep_until_then(event_loop& loop, event_loop::time_point until) { co_await sleep_until(loop, until); }

probe await_readable(event_loop& loop, int fd, short& found, std::error_code& ec) {
    found = co_await readable(loop, fd, ec);
}

/// What a wait has come to. Resumed twice, it would say so.
struct result {
    int times = 0;
    std::error_code error;
    short found = 0;
};

probe bounded_sleep(event_loop& loop, event_loop::clock::duration d, wait_options options, result& out) {
    co_await sleep_for(loop, d, options, out.error);
    ++out.times;
}

probe bounded_read(event_loop& loop, int fd, wait_options options, result& out) {
    out.found = co_await readable(loop, fd, options, out.error);
    ++out.times;
}

probe bounded_change(event_loop& loop, wait_options options, result& out) {
    co_await resume_on(loop, options, out.error);
    ++out.times;
}

} // namespace

TEST_CASE("a sleep lasts until its time, not less") {
    manual_loop loop;
    const probe sleeper = sleep_until_then(loop, loop.now() + 10ms);
    loop.advance(10ms - 1ns);
    CHECK_FALSE(sleeper.done());
    loop.advance(1ns);
    CHECK(sleeper.done());
}

TEST_CASE("a sleep until a time that has passed lasts for a turn of the loop") {
    manual_loop loop;
    for (const auto until : {loop.now(), event_loop::time_point{}}) {
        const probe sleeper = sleep_until_then(loop, until);
        CHECK_FALSE(sleeper.done());
        loop.poll();
        CHECK(sleeper.done());
    }
}

TEST_CASE("a sleep of longer than there is time lasts for ever") {
    manual_loop loop;
    const probe sleeper = [](event_loop& l) -> probe {
        co_await sleep_for(l, event_loop::clock::duration::max());
    }(loop);
    loop.advance(24h * 365 * 100);
    CHECK_FALSE(sleeper.done());
}

TEST_CASE("a sleeper may be destroyed") {
    manual_loop loop;
    { const probe sleeper = sleep_until_then(loop, loop.now() + 10ms); }
    loop.advance(20ms);
}

TEST_CASE("a loop may be destroyed before those that sleep on it") {
    probe sleeper;
    {
        manual_loop loop;
        sleeper = sleep_until_then(loop, loop.now() + 10ms);
    }
    CHECK_FALSE(sleeper.done());
}

TEST_CASE("what waits for a descriptor goes on when it is readable, and is told what was found") {
    manual_loop loop;
    const support::pipe p;
    short found = 0;
    std::error_code ec;
    const probe waiter = await_readable(loop, p.read_end.get(), found, ec);
    loop.run_ready();
    CHECK_FALSE(waiter.done());
    p.put();
    loop.run_ready();
    CHECK(waiter.done());
    CHECK(found == POLLIN);
    CHECK_FALSE(ec);
}

TEST_CASE("what waits for room goes on when there is some") {
    manual_loop loop;
    const support::pipe p;
    short found = 0;
    loop.run([](event_loop& l, int fd, short& f) -> task<> {
        std::error_code ec;
        f = co_await writable(l, fd, ec);
    }(loop, p.write_end.get(), found));
    CHECK(found == POLLOUT);
}

TEST_CASE("waiting for what is no descriptor ends at once with an error") {
    manual_loop loop;
    short found = 0;
    std::error_code ec;
    const probe waiter = await_readable(loop, -1, found, ec);
    CHECK(waiter.done());
    CHECK(ec == std::errc::bad_file_descriptor);
    CHECK(found == 0);
}

TEST_CASE("what waits for a descriptor may be destroyed") {
    manual_loop loop;
    const support::pipe p;
    short found = 0;
    std::error_code ec;
    { const probe waiter = await_readable(loop, p.read_end.get(), found, ec); }
    p.put();
    loop.run_ready();
    CHECK(found == 0);
}

TEST_CASE("a deadline ends a sleep that would last longer, and no other") {
    manual_loop loop;
    result cut;
    result whole;
    const probe a = bounded_sleep(loop, 20ms, {.deadline = loop.now() + 10ms}, cut);
    const probe b = bounded_sleep(loop, 10ms, {.deadline = loop.now() + 10ms}, whole);
    loop.advance(10ms - 1ns);
    CHECK(cut.times + whole.times == 0);
    loop.advance(1h);
    CHECK(cut.times == 1);
    CHECK(cut.error == errc::timed_out);
    CHECK(whole.times == 1);
    CHECK_FALSE(whole.error);
}

TEST_CASE("a deadline ends the wait for a descriptor, and what comes later is not heard") {
    manual_loop loop;
    const support::pipe p;
    result r;
    const probe waiter = bounded_read(loop, p.read_end.get(), {.deadline = loop.now() + 10ms}, r);
    loop.advance(10ms - 1ns);
    CHECK(r.times == 0);
    loop.advance(1ns);
    p.put();
    loop.run_ready();
    CHECK(r.times == 1);
    CHECK(r.error == errc::timed_out);
    CHECK(r.found == 0);
}

TEST_CASE("a descriptor that is ready when the deadline is looked at was not late") {
    manual_loop loop;
    const support::pipe p;
    result r;
    const probe waiter = bounded_read(loop, p.read_end.get(), {.deadline = loop.now() + 10ms}, r);
    timed ready{[&] { p.put(); }}; // after the turn's look at descriptors, before the deadline's
    loop.arm(ready, loop.now() + 10ms - 1ns);
    loop.set(loop.now() + 20ms);
    loop.poll();
    CHECK(r.times == 1);
    CHECK_FALSE(r.error);
    CHECK(r.found == POLLIN);
}

TEST_CASE("what asks for a descriptor after the deadline asks once, and does not suspend") {
    manual_loop loop;
    const support::pipe p;
    result empty;
    result full;
    result bad;
    CHECK(bounded_read(loop, p.read_end.get(), {.deadline = loop.now()}, empty).done());
    p.put();
    CHECK(bounded_read(loop, p.read_end.get(), {.deadline = loop.now()}, full).done());
    CHECK(bounded_read(loop, 1'000'000, {.deadline = loop.now()}, bad).done());
    CHECK(empty.error == errc::timed_out);
    CHECK_FALSE(full.error);
    CHECK(full.found == POLLIN);
    CHECK(bad.error == std::errc::bad_file_descriptor);
    CHECK(bad.found == 0);
}

TEST_CASE("a stop request ends sleeps and waits for descriptors, on the loop's thread") {
    manual_loop loop;
    const support::pipe p;
    std::stop_source source;
    const std::stop_token token = source.get_token();
    result slept;
    result read;
    const probe a = bounded_sleep(loop, 1h, {.stop = token}, slept);
    const probe b = bounded_read(loop, p.read_end.get(), {.stop = token}, read);
    loop.run_ready();
    std::thread{[&] { source.request_stop(); }}.join();
    CHECK(slept.times + read.times == 0);
    loop.run_ready();
    p.put();
    loop.advance(2h);
    CHECK(slept.times == 1);
    CHECK(slept.error == errc::cancelled);
    CHECK(read.times == 1);
    CHECK(read.error == errc::cancelled);
}

TEST_CASE("where stop was requested before, nothing is waited for") {
    manual_loop loop;
    const support::pipe p;
    std::stop_source source;
    source.request_stop();
    const std::stop_token token = source.get_token();
    result slept;
    result read;
    CHECK(bounded_sleep(loop, 1h, {.stop = token}, slept).done());
    CHECK(bounded_read(loop, p.read_end.get(), {.stop = token}, read).done());
    CHECK(slept.error == errc::cancelled);
    CHECK(read.error == errc::cancelled);
}

TEST_CASE("a descriptor, its deadline and a stop request in one turn have one outcome") {
    manual_loop loop;
    const support::pipe p;
    std::stop_source source;
    const std::stop_token token = source.get_token();
    result r;
    const probe waiter = bounded_read(loop, p.read_end.get(), {.deadline = loop.now() + 1ms, .stop = token}, r);
    p.put();
    source.request_stop();
    loop.advance(1ms);
    CHECK(r.times == 1);
}

TEST_CASE("what waits with a stop token may be destroyed, and stop requested later") {
    manual_loop loop;
    const support::pipe p;
    std::stop_source source;
    const std::stop_token token = source.get_token();
    result r;
    {
        const probe a = bounded_sleep(loop, 1h, {.stop = token}, r);
        const probe b = bounded_read(loop, p.read_end.get(), {.deadline = loop.now() + 1h, .stop = token}, r);
    }
    source.request_stop();
    loop.advance(2h);
    CHECK(r.times == 0);
}

TEST_CASE("a change of loops is judged on arrival, and goes there in any case") {
    manual_loop loop;
    std::stop_source source;
    const std::stop_token token = source.get_token();
    result in_time;
    result late;
    result cancelled;
    const probe a = bounded_change(loop, {.deadline = loop.now() + 2ms, .stop = token}, in_time);
    const probe b = bounded_change(loop, {.deadline = loop.now() + 1ms}, late);
    CHECK(in_time.times + late.times == 0);
    loop.set(loop.now() + 1ms);
    loop.run_ready();
    CHECK(in_time.times == 1);
    CHECK_FALSE(in_time.error);
    CHECK(late.times == 1);
    CHECK(late.error == errc::timed_out);
    source.request_stop();
    const probe c = bounded_change(loop, {.stop = token}, cancelled);
    CHECK(cancelled.times == 0); // not in place: that would be another thread
    loop.run_ready();
    CHECK(cancelled.times == 1);
    CHECK(cancelled.error == errc::cancelled);
}

TEST_CASE("a coroutine goes on on the loop that it names, and stays there") {
    epoll_loop here;
    epoll_loop there;
    std::thread other{[&] { there.run(); }};
    const auto journey = [](event_loop& a, event_loop& b) -> task<bool> {
        bool right = a.in_this_thread();
        co_await resume_on(b);
        right &= b.in_this_thread() && !a.in_this_thread();
        co_await resume_on(b); // is there
        right &= b.in_this_thread();
        co_await resume_on(a);
        co_return right&& a.in_this_thread();
    };
    CHECK(here.run(journey(here, there)));
    there.stop();
    other.join();
}

#if defined(__cpp_exceptions)
TEST_CASE("without an error code, a descriptor that is none is thrown") {
    manual_loop loop;
    CHECK_THROWS_AS(loop.run([](event_loop& l) -> task<> { co_await readable(l, -1); }(loop)), std::system_error);
}
#endif
