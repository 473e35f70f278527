// SPDX-License-Identifier: MIT
/// What every event loop on a real clock does. No test relies on how long something takes: where time matters, only on
/// the order of what happens, and on nothing being early.
#include <dmasync/domain.hpp>
#include <dmasync/epoll_loop.hpp>
#include <dmasync/manual_loop.hpp>
#include <dmasync/task.hpp>
#include <dmasync/wait.hpp>

#include <doctest/doctest.h>
#include <support/callback.hpp>
#include <support/every_loop.hpp>
#include <support/pipe.hpp>
#include <support/probe.hpp>

#include <chrono>
#include <cstddef>
#include <deque>
#include <optional>
#include <string>
#include <system_error>
#include <thread>

#include <poll.h>

using namespace dmasync;
using namespace std::chrono_literals;
using support::host_until;
using support::is_readable;
using support::make;
using support::posted;
using support::timed;
using support::watch;

namespace {

probe sleep_a_little(event_loop& loop) { co_await sleep_for(loop, 2ms); }

} // namespace

// ---- hosting ---------------------------------------------------------------------------------------------------------

TEST_CASE_TEMPLATE("a host learns of posts from other threads, of timers and of descriptors", Kind, EVERY_LOOP) {
    const auto loop = make<Kind>();
    if (!loop) { return; }
    const support::pipe p;
    posted from_elsewhere;
    timed timer;
    watch w{p.read_end.get(), POLLIN};
    loop->arm(timer, loop->now() + 2ms);
    REQUIRE_FALSE(loop->watch(w));
    std::thread other{[&] {
        loop->post(from_elsewhere);
        p.put();
    }};
    host_until(*loop, [&] { return from_elsewhere.runs + timer.runs + w.runs == 3; });
    other.join();
}

TEST_CASE_TEMPLATE("what is deferred runs when all that was ready with it has run, and before what came of that", Kind,
                   EVERY_LOOP) {
    const auto loop = make<Kind>();
    if (!loop) { return; }
    std::string order;
    posted deferred{[&] { order += 'd'; }};
    posted next{[&] { order += 'n'; }};
    posted first{[&] {
        order += '1';
        loop->defer(deferred);
        loop->post(next);
    }};
    posted second{[&] {
        order += '2';
        loop->stop();
    }};
    loop->post(first);
    loop->post(second);
    loop->run();
    loop->poll();
    CHECK(order == "12dn");
}

TEST_CASE_TEMPLATE("what a timer or a watch defers runs before the loop leaves to its host, which need not come back",
                   Kind, EVERY_LOOP) {
    const auto loop = make<Kind>();
    if (!loop) { return; }
    const support::pipe p;
    posted by_timer;
    posted by_watch;
    timed timer{[&] { loop->defer(by_timer); }};
    watch w{p.read_end.get(), POLLIN, [&] { loop->defer(by_watch); }};
    loop->arm(timer, loop->now() + 1ms);
    REQUIRE_FALSE(loop->watch(w));
    p.put();
    host_until(*loop, [&] {
        CHECK(by_timer.runs == timer.runs);
        CHECK(by_watch.runs == w.runs);
        return timer.runs + w.runs == 2;
    });
    CHECK(by_timer.runs + by_watch.runs == 2);
    CHECK_FALSE(is_readable(loop->fd()));
}

TEST_CASE_TEMPLATE("a host learns of what is set between two polls", Kind, EVERY_LOOP) {
    const auto loop = make<Kind>();
    if (!loop) { return; }
    const support::pipe p;
    p.put();
    posted own;
    loop->post(own);
    host_until(*loop, [&] { return own.runs == 1; });
    timed timer;
    loop->arm(timer, loop->now() + 1ms);
    host_until(*loop, [&] { return timer.runs == 1; });
    watch w{p.read_end.get(), POLLIN};
    REQUIRE_FALSE(loop->watch(w));
    host_until(*loop, [&] { return w.runs == 1; });
}

TEST_CASE_TEMPLATE("a host learns of more descriptors than the kernel tells of at once", Kind, EVERY_LOOP) {
    const auto loop = make<Kind>();
    if (!loop) { return; }
    constexpr std::size_t count = 200;
    std::deque<support::pipe> pipes(count);
    std::deque<watch> watches;
    std::size_t called = 0;
    for (const support::pipe& p : pipes) {
        p.put();
        REQUIRE_FALSE(loop->watch(watches.emplace_back(p.read_end.get(), POLLIN, [&] { ++called; })));
    }
    host_until(*loop, [&] { return called == count; });
}

TEST_CASE_TEMPLATE("a host sleeps while there is nothing to do", Kind, EVERY_LOOP) {
    const auto loop = make<Kind>();
    if (!loop) { return; }
    const support::pipe p;
    watch w{p.read_end.get(), POLLIN};
    REQUIRE_FALSE(loop->watch(w));
    posted once;
    loop->post(once);
    int polls = 0;
    while (is_readable(loop->fd()) && polls < 20) {
        loop->poll();
        ++polls;
    }
    CHECK(once.runs == 1);
    CHECK(polls < 20);
    loop->unwatch(w);
}

TEST_CASE_TEMPLATE("work that posts itself again has the host come back", Kind, EVERY_LOOP) {
    const auto loop = make<Kind>();
    if (!loop) { return; }
    std::optional<posted> again;
    again.emplace([&] {
        if (again->runs < 50) { loop->post(*again); }
    });
    loop->post(*again);
    host_until(*loop, [&] { return again->runs == 50; });
}

TEST_CASE_TEMPLATE("a host learns of what a run has left: timers, descriptors, and work that it posted", Kind,
                   EVERY_LOOP) {
    const auto loop = make<Kind>();
    if (!loop) { return; }
    const support::pipe p;
    probe sleeper;
    posted own;
    watch w{p.read_end.get(), POLLIN};
    loop->run([](event_loop& l, probe& sleeping, posted& work, watch& watched) -> task<> {
        co_await sleep_for(l, 1ms); // no signal of before the run is left
        sleeping = sleep_a_little(l);
        static_cast<void>(l.watch(watched));
        l.post(work);
    }(*loop, sleeper, own, w));
    CHECK(own.runs == 0);
    host_until(*loop, [&] { return own.runs == 1; });
    host_until(*loop, [&] { return sleeper.done(); });
    p.put();
    host_until(*loop, [&] { return w.runs == 1; });
}

TEST_CASE_TEMPLATE("a host learns of a post by another thread that the last turn of a run did not come to", Kind,
                   EVERY_LOOP) {
    const auto loop = make<Kind>();
    if (!loop) { return; }
    timed end{[&] { loop->stop(); }};
    std::optional<posted> again; // posted anew between the batch and the look at the kernel, which takes its signal
    again.emplace([&] {
        if (end.runs == 0) {
            std::thread{[&] { loop->post(*again); }}.join();
        }
    });
    loop->arm(end, loop->now());
    loop->post(*again);
    loop->run();
    const int before = again->runs;
    host_until(*loop, [&] { return again->runs == before + 1; });
}

TEST_CASE_TEMPLATE("a poll says whether it has done anything", Kind, EVERY_LOOP) {
    const auto loop = make<Kind>();
    if (!loop) { return; }
    posted work;
    CHECK_FALSE(loop->poll());
    loop->post(work);
    CHECK(loop->poll());
    CHECK(work.runs == 1);
    CHECK_FALSE(loop->poll());
}

TEST_CASE("every loop can be polled by its own type") {
    const auto runs_posted_work = [](auto& loop) {
        posted work;
        loop.post(work);
        return loop.poll() && work.runs == 1;
    };
#if !defined(DMASYNC_WITHOUT_URING)
    std::error_code ec;
    if (const auto loop = uring_loop::create(ec)) { CHECK(runs_posted_work(*loop)); }
#endif
    epoll_loop on_epoll;
    CHECK(runs_posted_work(on_epoll));
    manual_loop manual;
    CHECK(runs_posted_work(manual));
}
