// SPDX-License-Identifier: MIT
#include <dmasync/wait.hpp>

#include <dmasync/epoll_loop.hpp>
#include <dmasync/manual_loop.hpp>
#include <dmasync/task.hpp>

#include <doctest/doctest.h>
#include <support/pipe.hpp>
#include <support/probe.hpp>

#include <chrono>
#include <system_error>
#include <thread>

#include <poll.h>

using namespace dmasync;
using namespace std::chrono_literals;

namespace {

probe sleep_until_then(event_loop& loop, event_loop::time_point until) { co_await sleep_until(loop, until); }

probe await_readable(event_loop& loop, int fd, short& found, std::error_code& ec) {
    found = co_await readable(loop, fd, ec);
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

TEST_CASE("a sleep until a time that has passed does not suspend") {
    manual_loop loop;
    CHECK(sleep_until_then(loop, loop.now()).done());
    CHECK(sleep_until_then(loop, event_loop::time_point{}).done());
}

TEST_CASE("who sleeps for longer than there is time sleeps for ever") {
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

TEST_CASE("a loop may be destroyed before those who sleep on it") {
    probe sleeper;
    {
        manual_loop loop;
        sleeper = sleep_until_then(loop, loop.now() + 10ms);
    }
    CHECK_FALSE(sleeper.done());
}

TEST_CASE("who waits for a descriptor goes on when it is readable, and is told what was found") {
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

TEST_CASE("who waits for room goes on when there is some") {
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

TEST_CASE("who waits for a descriptor may be destroyed") {
    manual_loop loop;
    const support::pipe p;
    short found = 0;
    std::error_code ec;
    { const probe waiter = await_readable(loop, p.read_end.get(), found, ec); }
    p.put();
    loop.run_ready();
    CHECK(found == 0);
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
