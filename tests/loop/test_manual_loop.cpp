// SPDX-License-Identifier: MIT
#include <dmasync/manual_loop.hpp>

#include <dmasync/task.hpp>
#include <dmasync/wait.hpp>

#include <doctest/doctest.h>
#include <support/callback.hpp>
#include <support/pipe.hpp>

#include <chrono>
#include <optional>
#include <string>
#include <thread>

#include <poll.h>

using namespace dmasync;
using namespace std::chrono_literals;
using support::posted;
using support::timed;
using support::watch;

TEST_CASE("virtual time stands still unless it is moved") {
    manual_loop loop;
    const auto start = loop.now();
    loop.run_ready();
    CHECK(loop.now() == start);
    loop.advance(3ms);
    CHECK(loop.now() == start + 3ms);
    CHECK(loop.coarse_now() == loop.now());
}

TEST_CASE("advancing runs each timer at its own time, with what becomes ready by it") {
    manual_loop loop;
    const auto start = loop.now();
    std::string notes;
    event_loop::time_point at_second{};
    posted after_first{[&] { notes += 'p'; }};
    timed first{[&] {
        notes += '1';
        loop.post(after_first);
    }};
    timed second{[&] {
        notes += '2';
        at_second = loop.now();
    }};
    loop.arm(second, start + 20ms);
    loop.arm(first, start + 10ms);
    loop.advance(30ms);
    CHECK(notes == "1p2");
    CHECK(at_second == start + 20ms);
    CHECK(loop.now() == start + 30ms);
}

TEST_CASE("advancing runs timers that are armed meanwhile, if they are due by its end") {
    manual_loop loop;
    std::optional<timed> tick;
    tick.emplace([&] { loop.arm(*tick, loop.now() + 10ms); });
    loop.arm(*tick, loop.now() + 10ms);
    loop.advance(35ms);
    CHECK(tick->runs == 3);
    loop.disarm(*tick);
}

TEST_CASE("advancing by more than there is ends at the end of time") {
    manual_loop loop;
    timed t;
    loop.arm(t, loop.now() + 24h);
    loop.advance(event_loop::clock::duration::max());
    CHECK(t.runs == 1);
    CHECK(loop.now() == event_loop::time_point::max());
}

TEST_CASE("setting the time runs nothing; what has become due is run later, at the new time") {
    manual_loop loop;
    const auto start = loop.now();
    timed t;
    loop.arm(t, start + 1ms);
    loop.set(start + 1h);
    CHECK(t.runs == 0);
    loop.run_ready();
    CHECK(t.runs == 1);
    CHECK(loop.now() == start + 1h);
}

TEST_CASE("a run moves time by itself to the next timer") {
    manual_loop loop;
    const auto start = loop.now();
    loop.run([](event_loop& l) -> task<> { co_await sleep_for(l, 24h); }(loop));
    CHECK(loop.now() == start + 24h);
}

TEST_CASE("a run does not move time while a descriptor is ready") {
    manual_loop loop;
    const auto start = loop.now();
    const support::pipe p;
    p.put();
    event_loop::time_point seen{};
    watch w{p.read_end.get(), POLLIN, [&] { seen = loop.now(); }};
    timed end{[&] { loop.stop(); }};
    REQUIRE_FALSE(loop.watch(w));
    loop.arm(end, start + 10ms);
    loop.run();
    CHECK(seen == start);
    CHECK(loop.now() == start + 10ms);
}

TEST_CASE("a watched descriptor is looked at whenever something may be ready") {
    manual_loop loop;
    const support::pipe p;
    watch w{p.read_end.get(), POLLIN};
    REQUIRE_FALSE(loop.watch(w));
    loop.run_ready();
    CHECK(w.runs == 0);
    p.put();
    loop.run_ready();
    CHECK(w.runs == 1);
    CHECK(w.revents == POLLIN);
}

TEST_CASE("without timers a run waits for other threads") {
    manual_loop loop;
    posted stop{[&] { loop.stop(); }};
    std::thread other{[&] { loop.post(stop); }};
    loop.run();
    other.join();
    CHECK(stop.runs == 1);
}

TEST_CASE("a virtual loop that is destroyed discards what it never came to") {
    posted work;
    timed t;
    const support::pipe p;
    watch w{p.read_end.get(), POLLIN};
    {
        manual_loop loop;
        loop.post(work);
        loop.arm(t, loop.now() + 1ms);
        REQUIRE_FALSE(loop.watch(w));
    }
    CHECK(work.discards == 1);
    CHECK(t.discards == 1);
    CHECK(w.discards == 1);
}
