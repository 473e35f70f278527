// SPDX-License-Identifier: MIT
/// What every event loop on a real clock does. No test relies on how long something takes: where time matters, only on
/// the order of what happens, and on nothing being early.
#include <dmasync/domain.hpp>

#include <doctest/doctest.h>
#include <support/callback.hpp>
#include <support/every_loop.hpp>
#include <support/pipe.hpp>

#include <algorithm>
#include <chrono>
#include <cstddef>
#include <deque>
#include <optional>
#include <system_error>

#include <fcntl.h>
#include <poll.h>

using namespace dmasync;
using namespace std::chrono_literals;
using support::make;
using support::posted;
using support::timed;
using support::watch;

// ---- watched descriptors ---------------------------------------------------------------------------------------------

TEST_CASE_TEMPLATE("a watch is called once its descriptor is ready, and once only", Kind, EVERY_LOOP) {
    const auto loop = make<Kind>();
    if (!loop) { return; }
    const support::pipe p;
    watch w{p.read_end.get(), POLLIN, [&] { loop->stop(); }};
    REQUIRE_FALSE(loop->watch(w));
    CHECK(w.active);
    posted write{[&] { p.put(); }};
    loop->post(write);
    loop->run();
    CHECK(w.runs == 1);
    CHECK(w.revents == POLLIN);
    CHECK_FALSE(w.active);
    CHECK_FALSE(loop->poll()); // still readable, but not watched
    CHECK(w.runs == 1);
}

TEST_CASE_TEMPLATE("a pipe with room is writable at once", Kind, EVERY_LOOP) {
    const auto loop = make<Kind>();
    if (!loop) { return; }
    const support::pipe p;
    watch w{p.write_end.get(), POLLOUT, [&] { loop->stop(); }};
    REQUIRE_FALSE(loop->watch(w));
    loop->run();
    CHECK(w.revents == POLLOUT);
}

TEST_CASE_TEMPLATE("the end of the other side counts as ready", Kind, EVERY_LOOP) {
    const auto loop = make<Kind>();
    if (!loop) { return; }
    support::pipe p;
    watch w{p.read_end.get(), POLLIN, [&] { loop->stop(); }};
    REQUIRE_FALSE(loop->watch(w));
    p.write_end.reset();
    loop->run();
    CHECK((w.revents & POLLHUP) != 0);
}

TEST_CASE_TEMPLATE("a watch may be started again where it is called", Kind, EVERY_LOOP) {
    const auto loop = make<Kind>();
    if (!loop) { return; }
    const support::pipe p;
    p.put();
    std::optional<watch> w;
    std::error_code ec;
    w.emplace(p.read_end.get(), POLLIN, [&] {
        if (w->runs == 100) { return loop->stop(); }
        ec = loop->watch(*w);
    });
    REQUIRE_FALSE(loop->watch(*w));
    loop->run();
    CHECK_FALSE(ec);
    CHECK(w->runs == 100);
}

TEST_CASE_TEMPLATE("a watch that was taken back is not called, however ready its descriptor is", Kind, EVERY_LOOP) {
    const auto loop = make<Kind>();
    if (!loop) { return; }
    const support::pipe p;
    const support::pipe q;
    watch back{p.read_end.get(), POLLIN};
    REQUIRE_FALSE(loop->watch(back));
    p.put();
    loop->unwatch(back);
    watch end{q.read_end.get(), POLLIN, [&] { loop->stop(); }};
    REQUIRE_FALSE(loop->watch(end));
    q.put();
    loop->run();
    CHECK(back.runs == 0);
    CHECK_FALSE(back.active);
}

TEST_CASE_TEMPLATE("a descriptor that is closed after its watch was taken back is closed for the other side too", Kind,
                   EVERY_LOOP) {
    const auto loop = make<Kind>();
    if (!loop) { return; }
    support::pipe p;
    watch w{p.read_end.get(), POLLIN};
    const auto close_it = [&] {
        loop->unwatch(w);
        p.read_end.reset();
    };
    REQUIRE_FALSE(loop->watch(w));
    SUBCASE("between turns") { close_it(); }
    SUBCASE("in a turn, by its end") {
        posted within{[&] {
            close_it();
            loop->stop();
        }};
        loop->post(within);
        loop->run();
    }
    pollfd other{p.write_end.get(), 0, 0};
    CHECK(::poll(&other, 1, 20'000) == 1); // 20 s: lost, not late
    CHECK((other.revents & POLLERR) != 0); // EPIPE for a writer
}

TEST_CASE_TEMPLATE("of two watches that are ready together, the first may take the other back", Kind, EVERY_LOOP) {
    const auto loop = make<Kind>();
    if (!loop) { return; }
    const support::pipe p;
    const support::pipe q;
    p.put();
    q.put();
    std::optional<watch> one;
    std::optional<watch> two;
    posted end{[&] { loop->stop(); }};
    const auto finish = [&](watch& other) {
        if (other.active) { loop->unwatch(other); }
        other.fd = -1; // what is called now is a fault
        loop->post(end);
    };
    one.emplace(p.read_end.get(), POLLIN, [&] { finish(*two); });
    two.emplace(q.read_end.get(), POLLIN, [&] { finish(*one); });
    REQUIRE_FALSE(loop->watch(*one));
    REQUIRE_FALSE(loop->watch(*two));
    loop->run();
    loop->poll();
    CHECK(one->runs + two->runs == 1);
}

TEST_CASE_TEMPLATE("one descriptor can be watched twice, for different things", Kind, EVERY_LOOP) {
    const auto loop = make<Kind>();
    if (!loop) { return; }
    const support::pipe p;
    int left = 3;
    const auto called = [&] {
        if (--left == 0) { loop->stop(); }
    };
    watch a{p.read_end.get(), POLLIN, called};
    watch b{p.read_end.get(), POLLIN, called};
    watch c{p.write_end.get(), POLLOUT, called};
    REQUIRE_FALSE(loop->watch(a));
    REQUIRE_FALSE(loop->watch(b));
    REQUIRE_FALSE(loop->watch(c));
    p.put();
    loop->run();
    CHECK(a.runs == 1);
    CHECK(b.runs == 1);
    CHECK(c.runs == 1);
}

TEST_CASE_TEMPLATE("a number that was closed and opened anew is another descriptor", Kind, EVERY_LOOP) {
    const auto loop = make<Kind>();
    if (!loop) { return; }
    std::optional<support::pipe> p{std::in_place};
    const int number = p->read_end.get();
    watch old{number, POLLIN};
    REQUIRE_FALSE(loop->watch(old));
    loop->unwatch(old);
    p.reset();
    p.emplace();
    REQUIRE(p->read_end.get() == number);
    watch fresh{number, POLLIN, [&] { loop->stop(); }};
    REQUIRE_FALSE(loop->watch(fresh));
    p->put();
    loop->run();
    CHECK(old.runs == 0);
    CHECK(fresh.runs == 1);
}

TEST_CASE_TEMPLATE("a regular file is always ready", Kind, EVERY_LOOP) {
    const auto loop = make<Kind>();
    if (!loop) { return; }
    const unique_fd file{::open("/proc/self/exe", O_RDONLY | O_CLOEXEC)};
    watch w{file.get(), POLLIN, [&] { loop->stop(); }};
    REQUIRE_FALSE(loop->watch(w));
    loop->run();
    CHECK(w.revents == POLLIN);
}

TEST_CASE_TEMPLATE("what is no descriptor is refused", Kind, EVERY_LOOP) {
    const auto loop = make<Kind>();
    if (!loop) { return; }
    watch w{-1, POLLIN};
    CHECK(loop->watch(w) == std::errc::bad_file_descriptor);
    CHECK_FALSE(w.active);
}

TEST_CASE_TEMPLATE("more watches than the kernel tells of at once are all called", Kind, EVERY_LOOP) {
    const auto loop = make<Kind>();
    if (!loop) { return; }
    constexpr std::size_t count = 200;
    std::deque<support::pipe> pipes(count);
    std::deque<watch> watches;
    std::size_t called = 0;
    for (const support::pipe& p : pipes) {
        p.put();
        watch& w = watches.emplace_back(p.read_end.get(), POLLIN, [&] {
            if (++called == count) { loop->stop(); }
        });
        REQUIRE_FALSE(loop->watch(w));
    }
    loop->run();
    CHECK(std::all_of(watches.begin(), watches.end(), [](const watch& w) { return w.runs == 1; }));
}

TEST_CASE_TEMPLATE("watches, posts and timers by the hundred, started while others are called", Kind, EVERY_LOOP) {
    const auto loop = make<Kind>();
    if (!loop) { return; }
    constexpr int rounds = 300;
    std::deque<support::pipe> pipes(8);
    std::deque<watch> watches;
    std::deque<timed> timers;
    int left = rounds;
    bool refused = false;
    for (std::size_t i = 0; i < pipes.size(); ++i) {
        timers.emplace_back([&, i] { pipes[i].put(); });
        watch& w = watches.emplace_back(pipes[i].read_end.get(), POLLIN, [&, i] {
            pipes[i].take();
            if (--left <= 0) { return loop->stop(); } // others of the same batch may follow
            refused |= static_cast<bool>(loop->watch(watches[i]));
            loop->arm(timers[i], loop->now() + std::chrono::microseconds{50 * i});
        });
        REQUIRE_FALSE(loop->watch(w));
        loop->arm(timers[i], loop->now());
    }
    loop->run();
    CHECK(left <= 0);
    CHECK_FALSE(refused);
    for (watch& w : watches) {
        if (w.active) { loop->unwatch(w); }
    }
    for (timed& t : timers) { loop->disarm(t); }
}
