// SPDX-License-Identifier: MIT
/// What gets its turn beside work that never waits.
#include <dmasync/wait.hpp>

#include <dmasync/manual_loop.hpp>
#include <dmasync/task.hpp>

#include <doctest/doctest.h>
#include <support/callback.hpp>
#include <support/every_loop.hpp>
#include <support/pipe.hpp>
#include <support/probe.hpp>

#include <chrono>
#include <deque>
#include <memory>
#include <optional>
#include <string>
#include <thread>

#include <poll.h>

using namespace dmasync;
using namespace std::chrono_literals;
using support::make;
using support::posted;
using support::timed;
using support::watch;

namespace {

probe yield_and_note(event_loop& loop, std::string& notes, char what, int times) {
    for (int i = 0; i < times; ++i) {
        notes += what;
        co_await yield(loop);
    }
}

void wait_for_tick() {
    const auto before = event_loop::coarse_clock();
    while (event_loop::coarse_clock() == before) {}
}

} // namespace

TEST_CASE(
    "a coroutine that yields goes on after what was posted, after timers that are due and descriptors that are ready") {
    manual_loop loop;
    const support::pipe p;
    std::string notes;
    posted work{[&] { notes += 'p'; }};
    timed t{[&] { notes += 't'; }};
    watch w{p.read_end.get(), POLLIN, [&] { notes += 'w'; }};
    loop.arm(t, loop.now());
    REQUIRE_FALSE(loop.watch(w));
    p.put();
    const probe coroutine = yield_and_note(loop, notes, 'y', 2);
    loop.post(work);
    loop.poll();
    CHECK(notes == "ypwty");
}

TEST_CASE("a coroutine that yields is resumed once, and takes turns with others that do") {
    manual_loop loop;
    std::string notes;
    const probe a = yield_and_note(loop, notes, 'a', 3);
    const probe b = yield_and_note(loop, notes, 'b', 3);
    loop.run_ready();
    CHECK(notes == "ababab");
    CHECK(a.done());
    CHECK(b.done());
}

TEST_CASE("a coroutine that yields without end keeps no other timer of the same time") {
    manual_loop loop;
    int yields = 0;
    bool stop = false;
    const probe endless = [](event_loop& l, int& count, const bool& end) -> probe {
        while (!end) {
            ++count;
            co_await yield(l);
        }
    }(loop, yields, stop);
    timed t{[&] { stop = true; }};
    loop.arm(t, loop.now());
    loop.poll();
    CHECK(t.runs == 1);
    CHECK(yields == 2);
    CHECK(endless.done() == false);
    loop.poll();
    CHECK(endless.done());
}

TEST_CASE("a timer that arms itself again in the past keeps neither other timers nor the turn") {
    manual_loop loop;
    std::optional<timed> greedy;
    greedy.emplace([&] { loop.arm(*greedy, event_loop::time_point{}); });
    timed other;
    loop.arm(*greedy, event_loop::time_point{});
    loop.arm(other, loop.now());
    loop.poll();
    CHECK(other.runs == 1);
    CHECK(greedy->runs == 1);
    loop.poll();
    CHECK(greedy->runs == 2);
    loop.disarm(*greedy);
}

TEST_CASE("a sleep for no time is a yield") {
    manual_loop loop;
    const probe sleeper = [](event_loop& l) -> probe { co_await sleep_for(l, 0ns); }(loop);
    CHECK_FALSE(sleeper.done());
    loop.poll();
    CHECK(sleeper.done());
}

TEST_CASE("a coroutine that yields may be destroyed") {
    manual_loop loop;
    std::string notes;
    { const probe coroutine = yield_and_note(loop, notes, 'y', 2); }
    loop.run_ready();
    CHECK(notes == "y");
}

TEST_CASE_TEMPLATE("a coroutine that yields lets timers ring, descriptors be read and other threads' posts run", Kind,
                   EVERY_LOOP) {
    const auto loop = make<Kind>();
    if (!loop) { return; }
    const support::pipe p;
    int missing = 3;
    const auto came = [&] { --missing; };
    timed t{came};
    watch w{p.read_end.get(), POLLIN, came};
    posted work{came};
    loop->arm(t, loop->now() + 5ms);
    REQUIRE_FALSE(loop->watch(w));
    std::thread other{[&] {
        loop->post(work);
        p.put();
    }};
    loop->run([](event_loop& l, const int& left) -> task<> {
        while (left > 0) { co_await yield(l); }
    }(*loop, missing));
    other.join();
    CHECK(missing == 0);
}

TEST_CASE_TEMPLATE("between pieces of work that take long, timers that are due and ready descriptors have their turn",
                   Kind, EVERY_LOOP) {
    const auto loop = make<Kind>();
    if (!loop) { return; }
    const support::pipe p;
    timed t;
    watch w{p.read_end.get(), POLLIN};
    std::deque<posted> batch;
    batch.emplace_back([&] {
        loop->arm(t, loop->now());
        static_cast<void>(loop->watch(w));
        p.put();
    });
    for (int i = 0; i < 8; ++i) { batch.emplace_back(wait_for_tick); }
    bool both = false;
    batch.emplace_back([&] {
        both = t.runs == 1 && w.runs == 1;
        loop->stop();
    });
    for (posted& work : batch) { loop->post(work); }
    loop->run();
    CHECK(both);
}
