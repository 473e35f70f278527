// SPDX-License-Identifier: MIT
/// What every event loop on a real clock does. No test relies on how long something takes: where time matters, only on
/// the order of what happens, and on nothing being early.
#include <dmasync/domain.hpp>
#include <dmasync/manual_loop.hpp>
#include <dmasync/task.hpp>
#include <dmasync/wait.hpp>

#include <doctest/doctest.h>
#include <support/callback.hpp>
#include <support/child.hpp>
#include <support/every_loop.hpp>
#include <support/pipe.hpp>

#include <algorithm>
#include <array>
#include <atomic>
#include <chrono>
#include <csignal>
#include <cstddef>
#include <deque>
#include <optional>
#include <random>
#include <string>
#include <system_error>
#include <thread>
#include <vector>

#include <fcntl.h>
#include <poll.h>
#include <sys/time.h>

using namespace dmasync;
using namespace std::chrono_literals;
using support::make;
using support::posted;
using support::timed;
using support::watch;

// ---- posted work -----------------------------------------------------------------------------------------------------

TEST_CASE_TEMPLATE("posted work runs once, in the order of posting, and not in place", Kind, EVERY_LOOP) {
    const auto loop = make<Kind>();
    if (!loop) { return; }
    std::string notes;
    posted a{[&] { notes += 'a'; }};
    posted b{[&] { notes += 'b'; }};
    posted end{[&] { loop->stop(); }};
    loop->post(a);
    loop->post(b);
    loop->post(end);
    CHECK(notes.empty());
    loop->run();
    CHECK(notes == "ab");
    CHECK(a.runs == 1);
}

TEST_CASE_TEMPLATE("work may post itself again", Kind, EVERY_LOOP) {
    const auto loop = make<Kind>();
    if (!loop) { return; }
    int left = 10'000;
    std::optional<posted> again;
    again.emplace([&] { --left > 0 ? loop->post(*again) : loop->stop(); });
    loop->post(*again);
    loop->run();
    CHECK(again->runs == 10'000);
}

TEST_CASE_TEMPLATE("work that never ends starves neither timers nor watches nor other threads", Kind, EVERY_LOOP) {
    const auto loop = make<Kind>();
    if (!loop) { return; }
    const support::pipe p;
    p.put();
    std::optional<posted> endless;
    int missing = 3;
    endless.emplace([&] {
        if (missing > 0) { loop->post(*endless); }
    });
    loop->post(*endless);
    const auto arrived = [&] {
        if (--missing == 0) { loop->stop(); }
    };
    timed timer{arrived};
    loop->arm(timer, loop->now() + 1ms);
    watch w{p.read_end.get(), POLLIN, arrived};
    REQUIRE_FALSE(loop->watch(w));
    posted from_elsewhere{arrived};
    std::thread other{[&] { loop->post(from_elsewhere); }};
    loop->run();
    loop->poll();
    other.join();
    CHECK(missing == 0);
}

TEST_CASE_TEMPLATE("two loops wake each other again and again", Kind, EVERY_LOOP) {
    const auto here = make<Kind>();
    const auto there = make<Kind>();
    if (!here) { return; }
    int left = 2000;
    std::optional<posted> ping;
    std::optional<posted> pong;
    ping.emplace([&] { there->post(*pong); });
    pong.emplace([&] { --left > 0 ? here->post(*ping) : here->stop(); });
    std::thread other{[&] { there->run(); }};
    here->post(*ping);
    here->run();
    there->stop();
    other.join();
    CHECK(pong->runs == 2000);
}

TEST_CASE_TEMPLATE("what several threads post all runs, in the order of each", Kind, EVERY_LOOP) {
    const auto loop = make<Kind>();
    if (!loop) { return; }
    constexpr int threads = 3;
    constexpr int each = 500;
    std::array<std::vector<int>, threads> seen;
    std::deque<posted> all;
    int left = threads * each;
    for (int t = 0; t < threads; ++t) {
        for (int i = 0; i < each; ++i) {
            all.emplace_back([&, t, i] {
                seen[static_cast<std::size_t>(t)].push_back(i);
                if (--left == 0) { loop->stop(); }
            });
        }
    }
    std::vector<std::thread> posters;
    for (int t = 0; t < threads; ++t) {
        posters.emplace_back([&, t] {
            for (int i = 0; i < each; ++i) { loop->post(all[static_cast<std::size_t>(t * each + i)]); }
        });
    }
    loop->run();
    for (std::thread& t : posters) { t.join(); }
    for (const auto& numbers : seen) {
        CHECK(numbers.size() == each);
        CHECK(std::is_sorted(numbers.begin(), numbers.end()));
    }
}

// ---- stop ------------------------------------------------------------------------------------------------------------

TEST_CASE_TEMPLATE("a stop before the run ends the run at once, and only that", Kind, EVERY_LOOP) {
    const auto loop = make<Kind>();
    if (!loop) { return; }
    posted work{[&] { loop->stop(); }};
    loop->stop();
    loop->run();
    CHECK(work.runs == 0);
    loop->post(work);
    loop->run();
    CHECK(work.runs == 1);
}

TEST_CASE_TEMPLATE("a stop from another thread ends a run that waits", Kind, EVERY_LOOP) {
    const auto loop = make<Kind>();
    if (!loop) { return; }
    for (int round = 0; round < 200; ++round) {
        std::thread other{[&] { loop->stop(); }};
        loop->run();
        other.join();
    }
}

// ---- timers ----------------------------------------------------------------------------------------------------------

TEST_CASE_TEMPLATE("timers fire in the order of their times, none early", Kind, EVERY_LOOP) {
    const auto loop = make<Kind>();
    if (!loop) { return; }
    constexpr std::size_t count = 500;
    std::minstd_rand random{1};
    std::deque<timed> timers;
    std::vector<event_loop::time_point> fired;
    bool early = false;
    const auto start = loop->now();
    for (std::size_t i = 0; i < count; ++i) {
        timed& t = timers.emplace_back([&, i] {
            early |= loop->now() < timers[i].due();
            fired.push_back(timers[i].due());
            if (fired.size() == count) { loop->stop(); }
        });
        loop->arm(t, start + std::chrono::microseconds{random() % 20'000});
    }
    loop->run();
    CHECK_FALSE(early);
    CHECK(std::is_sorted(fired.begin(), fired.end()));
}

TEST_CASE_TEMPLATE("timers of one time fire in the order in which they were armed", Kind, EVERY_LOOP) {
    const auto loop = make<Kind>();
    if (!loop) { return; }
    std::string notes;
    timed a{[&] { notes += 'a'; }};
    timed b{[&] { notes += 'b'; }};
    timed end{[&] { loop->stop(); }};
    const auto when = loop->now() + 1ms;
    loop->arm(a, when);
    loop->arm(b, when);
    loop->arm(end, when);
    loop->arm(a, when); // armed anew: now the last
    loop->run();
    CHECK(notes == "ba");
}

TEST_CASE_TEMPLATE("a timer whose time has passed fires", Kind, EVERY_LOOP) {
    const auto loop = make<Kind>();
    if (!loop) { return; }
    timed past{[&] { loop->stop(); }};
    loop->arm(past, event_loop::time_point{});
    loop->run();
    CHECK(past.runs == 1);
    CHECK_FALSE(past.armed());
}

TEST_CASE_TEMPLATE("a timer that is disarmed does not fire, be it by one of the same time", Kind, EVERY_LOOP) {
    const auto loop = make<Kind>();
    if (!loop) { return; }
    const auto when = loop->now() + 1ms;
    timed never;
    timed first{[&] { loop->disarm(never); }};
    timed end{[&] { loop->stop(); }};
    loop->arm(first, when);
    loop->arm(never, when);
    loop->arm(end, when + 1ms);
    loop->run();
    CHECK(first.runs == 1);
    CHECK(never.runs == 0);
}

TEST_CASE_TEMPLATE("an armed timer can be moved to an earlier time, and to a later one", Kind, EVERY_LOOP) {
    const auto loop = make<Kind>();
    if (!loop) { return; }
    std::string notes;
    timed sooner{[&] { notes += 's'; }};
    timed fixed{[&] { notes += 'f'; }};
    timed later{[&] {
        notes += 'l';
        loop->stop();
    }};
    const auto start = loop->now();
    loop->arm(later, start + 1ms);
    loop->arm(fixed, start + 4ms);
    loop->arm(sooner, start + 1h);
    loop->arm(later, start + 6ms);
    loop->arm(sooner, start + 2ms);
    loop->run();
    CHECK(notes == "sfl");
}

TEST_CASE_TEMPLATE("a loop that sleeps until a late timer wakes for an earlier one", Kind, EVERY_LOOP) {
    const auto loop = make<Kind>();
    if (!loop) { return; }
    timed late;
    timed early{[&] { loop->stop(); }};
    posted arm_early{[&] { loop->arm(early, loop->now() + 1ms); }};
    loop->arm(late, loop->now() + 1h);
    std::thread other{[&] { loop->post(arm_early); }};
    loop->run();
    other.join();
    CHECK(early.runs == 1);
    loop->disarm(late);
}

TEST_CASE_TEMPLATE("a timer arms itself again", Kind, EVERY_LOOP) {
    const auto loop = make<Kind>();
    if (!loop) { return; }
    std::optional<timed> tick;
    tick.emplace([&] { tick->runs < 20 ? loop->arm(*tick, loop->now() + 100us) : loop->stop(); });
    loop->arm(*tick, loop->now());
    loop->run();
    CHECK(tick->runs == 20);
}

TEST_CASE_TEMPLATE("signals that interrupt the wait neither end it nor make a timer early", Kind, EVERY_LOOP) {
    const auto loop = make<Kind>();
    if (!loop) { return; }
    struct sigaction count {};
    static std::atomic<int> signals{0};
    signals = 0;
    count.sa_handler = [](int) { ++signals; };
    struct sigaction before {};
    REQUIRE(::sigaction(SIGALRM, &count, &before) == 0); // without SA_RESTART
    const itimerval storm{{0, 500}, {0, 500}};
    const itimerval calm{};
    ::setitimer(ITIMER_REAL, &storm, nullptr);
    const auto when = loop->now() + 20ms;
    bool early = false;
    timed t{[&] {
        early = loop->now() < when;
        if (signals > 0) { loop->stop(); }
    }};
    std::optional<timed> until_signals;
    until_signals.emplace([&] { signals > 0 ? loop->stop() : loop->arm(*until_signals, loop->now() + 1ms); });
    loop->arm(t, when);
    loop->arm(*until_signals, when);
    loop->run();
    ::setitimer(ITIMER_REAL, &calm, nullptr);
    ::sigaction(SIGALRM, &before, nullptr);
    loop->disarm(*until_signals);
    CHECK(signals > 0);
    CHECK(t.runs == 1);
    CHECK_FALSE(early);
}

// ---- threads ---------------------------------------------------------------------------------------------------------

TEST_CASE_TEMPLATE("a loop may move to another thread; what it waits for moves with it", Kind, EVERY_LOOP) {
    const auto loop = make<Kind>();
    if (!loop) { return; }
    const support::pipe p;
    bool refused = false;
    watch w{p.read_end.get(), POLLIN, [&] { loop->stop(); }};
    timed timer;
    std::thread other{[&] { // ends, and with it what io_uring has it wait for
        posted begin{[&] {
            refused = static_cast<bool>(loop->watch(w));
            loop->arm(timer, loop->now() + 5ms);
            loop->stop();
        }};
        loop->post(begin);
        loop->run();
        loop->poll(); // now the kernel has it all
    }};
    other.join();
    REQUIRE_FALSE(refused);
    timed then{[&] { p.put(); }};
    loop->arm(then, timer.due() + 1ms);
    loop->run();
    CHECK(timer.runs == 1);
    CHECK(w.runs == 1);
}

TEST_CASE_TEMPLATE("a loop knows whether this is its thread", Kind, EVERY_LOOP) {
    const auto loop = make<Kind>();
    if (!loop) { return; }
    CHECK_FALSE(loop->in_this_thread());
    bool inside = false;
    bool elsewhere = true;
    posted look{[&] {
        inside = loop->in_this_thread();
        std::thread{[&] { elsewhere = loop->in_this_thread(); }}.join();
        loop->stop();
    }};
    loop->post(look);
    loop->run();
    CHECK(inside);
    CHECK_FALSE(elsewhere);
}

// ---- the loop that a thread is in ------------------------------------------------------------------------------------

TEST_CASE("a thread knows the loop that it is in, and that it is in none after the turn") {
    manual_loop loop;
    event_loop* seen = nullptr;
    posted look{[&seen] { seen = event_loop::current(); }};
    loop.post(look);
    CHECK(event_loop::current() == nullptr);
    loop.run_ready();
    CHECK(seen == static_cast<event_loop*>(&loop));
    CHECK(event_loop::current() == nullptr);
}

TEST_CASE("a loop that is hosted by another one is the inner of the two, for the length of its turn") {
    manual_loop outer;
    manual_loop inner;
    std::vector<event_loop*> seen;
    const auto look = [&seen] { seen.push_back(event_loop::current()); };
    posted within{look};
    posted around{[&] {
        inner.run_ready();
        look();
    }};
    inner.post(within);
    outer.post(around);
    outer.run_ready();
    CHECK(seen == std::vector<event_loop*>{&inner, &outer});
}

TEST_CASE("a loop that runs on another thread is not this one's") {
    manual_loop loop;
    event_loop* seen = &loop;
    posted look{[&seen] { std::thread{[&seen] { seen = event_loop::current(); }}.join(); }};
    loop.post(look);
    loop.run_ready();
    CHECK(seen == nullptr);
}

// ---- the end of a loop, and misuse -----------------------------------------------------------------------------------

TEST_CASE_TEMPLATE("a loop that is destroyed discards what it never came to", Kind, EVERY_LOOP) {
    auto loop = make<Kind>();
    if (!loop) { return; }
    const support::pipe p;
    posted work;
    posted foreign;
    timed timer;
    watch w{p.read_end.get(), POLLIN};
    loop->post(work);
    std::thread{[&] { loop->post(foreign); }}.join();
    loop->arm(timer, loop->now() + 1h);
    REQUIRE_FALSE(loop->watch(w));
    loop.reset();
    CHECK(work.runs + foreign.runs + timer.runs + w.runs == 0);
    CHECK(work.discards == 1);
    CHECK(foreign.discards == 1);
    CHECK(timer.discards == 1);
    CHECK(w.discards == 1);
    CHECK_FALSE(timer.armed());
    CHECK_FALSE(w.active);
}

TEST_CASE_TEMPLATE("a loop that is destroyed leaves no descriptor behind", Kind, EVERY_LOOP) {
    if (!make<Kind>()) { return; }
    const support::pipe p;
    const auto lowest_free = [] { return unique_fd{::fcntl(STDERR_FILENO, F_DUPFD_CLOEXEC, 0)}.get(); };
    const int before = lowest_free();
    {
        const auto loop = make<Kind>();
        watch a{p.read_end.get(), POLLIN};
        watch b{p.read_end.get(), POLLIN};
        REQUIRE_FALSE(loop->watch(a));
        REQUIRE_FALSE(loop->watch(b));
        loop->unwatch(a);
        loop->unwatch(b);
        loop->poll();
    }
    CHECK(lowest_free() == before);
}

TEST_CASE_TEMPLATE("misuse of a loop ends the process and says why", Kind, EVERY_LOOP) {
    if (!make<Kind>()) { return; }
    support::check_misuse("event_loop destroyed before its domains", [] {
        auto loop = make<Kind>();
        const domain d{*loop};
        loop.reset();
    });
    support::check_misuse("event_loop run from inside itself or from two threads", [] {
        const auto loop = make<Kind>();
        posted inside{[&] { loop->run(); }};
        loop->post(inside);
        loop->run();
    });
    support::check_misuse("fd_watch is active already", [] {
        const auto loop = make<Kind>();
        const support::pipe p;
        watch w{p.read_end.get(), POLLIN};
        static_cast<void>(loop->watch(w));
        static_cast<void>(loop->watch(w));
    });
    support::check_misuse("event_loop::defer outside of a turn", [] {
        const auto loop = make<Kind>();
        posted work;
        loop->defer(work);
    });
    support::check_misuse("event_loop stopped while it ran a task", [] {
        const auto loop = make<Kind>();
        loop->run([](event_loop& l) -> task<> {
            l.stop();
            co_await sleep_for(l, 1h);
        }(*loop));
    });
}

TEST_CASE_TEMPLATE("timers and watches touched on another thread while the loop is in a turn abort", Kind, EVERY_LOOP) {
    if (!make<Kind>()) { return; }
    const auto check = [](const std::string& call, const auto& body) {
        support::check_misuse("event_loop::" + call + " on another thread than the loop's", [&body] {
            const auto loop = make<Kind>();
            const support::pipe p;
            timed alarm;
            watch readable{p.read_end.get(), POLLIN};
            posted turn{[&] {
                loop->arm(alarm, loop->now() + 1h);
                std::thread{[&] { body(*loop, alarm, readable); }}.join();
            }};
            loop->post(turn);
            loop->poll();
        });
    };
    check("arm", [](event_loop& l, timed& t, watch&) { l.arm(t, l.now()); });
    check("disarm", [](event_loop& l, timed& t, watch&) { l.disarm(t); });
    check("watch", [](event_loop& l, timed&, watch& w) { static_cast<void>(l.watch(w)); });
    check("unwatch", [](event_loop& l, timed&, watch& w) {
        w.active = true; // as if it had been watched by the turn
        l.unwatch(w);
    });
}

TEST_CASE_TEMPLATE("between turns a loop's timers and watches may be touched on any thread, one at a time", Kind,
                   EVERY_LOOP) {
    const auto loop = make<Kind>();
    if (!loop) { return; }
    const support::pipe p;
    timed alarm;
    watch readable{p.read_end.get(), POLLIN};
    std::error_code ec;
    std::thread{[&] {
        loop->arm(alarm, loop->now() + 1h);
        ec = loop->watch(readable);
        loop->disarm(alarm);
        loop->unwatch(readable);
    }}.join();
    CHECK(!ec);
    CHECK(!readable.active);
}
