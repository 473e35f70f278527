// SPDX-License-Identifier: MIT
#include <dmasync/observe/stuck_after.hpp>

#include <dmasync/epoll_loop.hpp>
#include <dmasync/lock.hpp>
#include <dmasync/manual_loop.hpp>
#include <dmasync/observe/snapshot.hpp>
#include <dmasync/transaction.hpp>

#include <doctest/doctest.h>
#include <support/transaction_user.hpp>
#include <support/waiter.hpp>

#include <array>
#include <atomic>
#include <chrono>
#include <cstddef>
#include <string>
#include <system_error>
#include <thread>
#include <vector>

using namespace dmasync;
using namespace std::chrono_literals;
using support::waiter;

namespace {

struct fixture {
    explicit fixture(std::chrono::nanoseconds after = 1s) : media{loop, options(after)} {}

    domain_options options(std::chrono::nanoseconds after) {
        return {.lease = no_lease, .name = "media", .stuck = stuck_after(after, [this](const stuck_report& r) {
                                                        reports.push_back(r);
                                                    })};
    }

    /// The acquisition of a link of the first report.
    const domain_snapshot::acquisition& of(std::size_t link) {
        const stuck_report& r = reports.at(0);
        return r.seen.acquisitions.at(r.chain.at(link).acquisition);
    }

    std::vector<stuck_report> reports;
    manual_loop loop;
    domain media;
    buffer a = media.allocate(64, "a");
    buffer b = media.allocate(64, "b");
    std::error_code ec;
};

/// A place of this file, as reports show it.
std::string at(unsigned line) { return "(test_stuck_after.cpp:" + std::to_string(line) + ")"; }

} // namespace

TEST_CASE("nothing is stuck unless the domain says when") {
    fixture f{no_lease};
    const guard held = try_lock(write(f.a));
    waiter w;
    w.start({}, write(f.a));
    f.loop.advance(24h);
    CHECK(f.reports.empty());
    CHECK(f.media.counters().stuck == 0);
}

TEST_CASE("a lock that waits for too long is reported with what holds, since when, and the place that locked it") {
    fixture f;
    const guard held = try_lock(read(f.a), lock_options{.name = "archive"});
    const unsigned culprit = __LINE__ - 1;
    f.loop.advance(3s);
    waiter w;
    w.start({.name = "encode"}, write(f.a));
    const unsigned victim = __LINE__ - 1;
    f.loop.advance(999ms);
    CHECK(f.reports.empty());
    f.loop.advance(1ms);
    REQUIRE(f.reports.size() == 1);
    CHECK(to_string(f.reports[0]) == "stuck: 'encode' has waited for 1.00 s to write 'a' " + at(victim) +
                                         ", in domain 'media'\n"
                                         "  behind 'archive', which has held 'a' to read for 4.00 s, without a lease " +
                                         at(culprit) +
                                         "\n"
                                         "  'archive' does not move: nothing of its own waits in this domain");
}

TEST_CASE("each wait is reported once, however long it goes on") {
    fixture f;
    guard held = try_lock(write(f.a));
    waiter w;
    w.start({}, write(f.a));
    f.loop.advance(1h);
    CHECK(f.reports.size() == 1);
    CHECK(f.media.counters().stuck == 1);
    CHECK(f.media.snapshot().acquisitions.at(1).stuck);
    held.unlock();
    f.loop.run_ready();
    REQUIRE(w.done());
    CHECK(!f.media.snapshot().acquisitions.at(0).stuck);
    waiter again;
    again.start({}, write(f.a));
    f.loop.advance(1s);
    CHECK(f.reports.size() == 2);
}

TEST_CASE("a transaction's wait that is granted and given up at the same moment is not watched any longer") {
    fixture f{1s};
    buffer c = f.media.allocate(64, "c");
    const guard hog = try_lock(write(f.a), lock_options{.lease = 10ms});
    support::transaction_user t{f.media, {.lease = 10ms, .name = "tx"}};
    REQUIRE(t.has_locked(write(f.b)));
    t.lock(write(f.a));
    f.loop.advance(50ms); // both leases end: `a` is granted to the transaction, which has lost `b`
    REQUIRE(t.done());
    CHECK(t.ec == errc::lease_expired);
    guard held = try_lock(write(c));
    std::array<waiter, 3> next; // in the records that have become free
    for (waiter& w : next) { w.start({.name = "next"}, write(c)); }
    f.loop.advance(1s);
    REQUIRE(f.reports.size() == 1);
    CHECK(f.reports[0].others == 2);
    held.unlock();
    f.loop.run_ready();
    CHECK(next[0].done());
}

TEST_CASE("a wait that ends in time is not reported, however it ends") {
    fixture f;
    guard held = try_lock(write(f.a));
    waiter granted;
    granted.start({}, write(f.a));
    waiter late;
    late.start({.deadline = f.loop.now() + 999ms}, write(f.a));
    waiter abandoned;
    abandoned.start({}, write(f.a));
    f.loop.advance(500ms);
    held.unlock();
    f.loop.run_ready();
    abandoned.coroutine.destroy();
    f.loop.advance(1h);
    CHECK(granted.done());
    CHECK(late.ec == errc::timed_out);
    CHECK(f.reports.empty());
}

TEST_CASE(
    "a report that takes long is followed by a pause, after which all that are stuck by then are reported together") {
    manual_loop loop;
    std::vector<std::size_t> others;
    domain media{loop, {.lease = no_lease, .stuck = stuck_after(1s, [&](const stuck_report& r) {
                                               loop.set(loop.now() + 10ms);
                                               others.push_back(r.others);
                                           })}};
    const buffer a = media.allocate(64);
    const guard held = try_lock(write(a));
    std::array<waiter, 100> staggered;
    for (waiter& w : staggered) {
        w.start({}, write(a));
        loop.advance(1ms);
    }
    loop.advance(900ms + 10ms + 309ms);
    CHECK(others == std::vector<std::size_t>{0});
    CHECK(media.counters().stuck == 1);
    loop.advance(1ms);
    CHECK(others == std::vector<std::size_t>{0, 98});
    loop.advance(10min);
    CHECK(media.counters().stuck == 100);
    CHECK(others.size() == 2);
}

TEST_CASE("waits are reported in their own time, though others have ended") {
    fixture f;
    const guard held = try_lock(write(f.a));
    waiter first;
    first.start({.name = "first"}, write(f.a));
    f.loop.advance(600ms);
    waiter second;
    second.start({.name = "second"}, write(f.a));
    first.coroutine.destroy();
    f.loop.advance(999ms);
    CHECK(f.reports.empty());
    f.loop.advance(1ms);
    REQUIRE(f.reports.size() == 1);
    CHECK(f.of(0).set.view() == "second");
}

TEST_CASE("an older waiter is on the chain, with what it wants") {
    fixture f;
    const guard held = try_lock(write(f.b), lock_options{.lease = 1min, .name = "culprit"});
    const unsigned culprit = __LINE__ - 1;
    waiter older;
    older.start({.name = "older"}, read(f.a), read(f.b));
    const unsigned before = __LINE__ - 1;
    f.loop.advance(1s);
    f.reports.clear();
    waiter younger;
    younger.start({.name = "younger"}, write(f.a));
    const unsigned first = __LINE__ - 1;
    f.loop.advance(1s);
    REQUIRE(f.reports.size() == 1);
    CHECK(to_string(f.reports[0]) ==
          "stuck: 'younger' has waited for 1.00 s to write 'a' " + at(first) +
              ", in domain 'media'\n"
              "  behind 'older', which has waited for 2.00 s to read 'a' " +
              at(before) +
              "\n"
              "  behind 'culprit', which has held 'b' to write for 2.00 s, its lease ends in 58.0 s " +
              at(culprit) +
              "\n"
              "  'culprit' does not move: nothing of its own waits in this domain");
}

TEST_CASE("a transaction that holds and waits is not the one that does not move") {
    fixture f;
    const guard held = try_lock(write(f.b), lock_options{.name = "culprit"});
    support::transaction_user t{f.media, {.name = "grow"}};
    REQUIRE(t.has_locked(write(f.a)));
    t.lock(write(f.b));
    f.loop.advance(1s);
    f.reports.clear();
    waiter w;
    w.start({.name = "victim"}, read(f.a));
    f.loop.advance(1s);
    REQUIRE(f.reports.size() == 1);
    const stuck_report& r = f.reports[0];
    REQUIRE(r.chain.size() == 4);
    CHECK(r.chain[1].how == stuck_report::step::holds);
    CHECK(f.of(1).set.view() == "grow");
    CHECK(r.chain[2].how == stuck_report::step::also_waits);
    CHECK(f.of(3).set.view() == "culprit");
    CHECK(r.cycle == stuck_cycle::none);
}

TEST_CASE("a transaction that waits before it begins again is stuck like any other") {
    fixture f;
    support::transaction_user older{f.media, {.name = "older"}};
    support::transaction_user younger{f.media, {.name = "younger"}};
    REQUIRE(older.has_locked(write(f.a)));
    REQUIRE(younger.has_locked(write(f.b)));
    younger.lock(write(f.a));
    const unsigned line = __LINE__ - 1;
    older.lock(write(f.b)); // wounds the younger one
    f.loop.run_ready();
    REQUIRE(younger.ec == errc::wounded);
    younger.restart();
    f.loop.run_ready();
    REQUIRE(older.done());
    REQUIRE(younger.waits());
    f.loop.advance(1s);
    REQUIRE(f.reports.size() == 1);
    CHECK(f.of(0).set.view() == "younger");
    CHECK(f.of(0).place.line() == line);
    CHECK(f.of(1).set.view() == "older");
    CHECK(f.reports[0].cycle == stuck_cycle::none);
}

TEST_CASE("holds that wait for each other are a cycle, where both say whose they are") {
    fixture f;
    int left = 0;
    int right = 0;
    const guard left_has = try_lock(write(f.a), lock_options{.name = "left", .user = &left});
    const unsigned left_hold = __LINE__ - 1;
    const guard right_has = try_lock(write(f.b), lock_options{.name = "right", .user = &right});
    const unsigned right_hold = __LINE__ - 1;
    waiter left_wants;
    left_wants.start({.name = "left", .user = &left}, read(f.b));
    const unsigned left_wait = __LINE__ - 1;
    waiter right_wants;
    right_wants.start({.name = "right", .user = &right}, read(f.a));
    const unsigned right_wait = __LINE__ - 1;
    f.loop.advance(1s);
    REQUIRE(f.reports.size() == 1);
    CHECK(f.reports[0].cycle == stuck_cycle::certain);
    CHECK(f.reports[0].others == 1);
    CHECK(f.reports[0].chain.front().acquisition == f.reports[0].chain.back().acquisition);
    CHECK(to_string(f.reports[0]) == "stuck: 'left' has waited for 1.00 s to read 'b' " + at(left_wait) +
                                         ", in domain 'media'\n"
                                         "  behind 'right', which has held 'b' to write for 1.00 s, without a lease " +
                                         at(right_hold) +
                                         "\n"
                                         "  and 'right' itself has waited for 1.00 s to read 'a' " +
                                         at(right_wait) +
                                         "\n"
                                         "  behind 'left', which has held 'a' to write for 1.00 s, without a lease " +
                                         at(left_hold) +
                                         "\n"
                                         "  and 'left' itself has waited for 1.00 s to read 'b' " +
                                         at(left_wait) +
                                         "\n"
                                         "  a cycle: only a lease, a deadline or a stop request ends it. Lock all of "
                                         "it in one set, or in a transaction; "
                                         "1 more lock behind it");
}

TEST_CASE("owners of transactions that wait for each other outside of these are a cycle") {
    fixture f;
    int left = 0;
    int right = 0;
    support::transaction_user left_has{f.media, {.name = "left", .user = &left}};
    support::transaction_user right_has{f.media, {.name = "right", .user = &right}};
    REQUIRE(left_has.has_locked(write(f.a)));
    REQUIRE(right_has.has_locked(write(f.b)));
    waiter left_wants;
    left_wants.start({.name = "left", .user = &left}, read(f.b));
    waiter right_wants;
    right_wants.start({.name = "right", .user = &right}, read(f.a));
    f.loop.advance(1s);
    REQUIRE(f.reports.size() == 1);
    CHECK(f.reports[0].cycle == stuck_cycle::certain);
    CHECK(f.reports[0].chain.size() == 5);
}

TEST_CASE("owners of two transactions each that wait for each other are a cycle") {
    fixture f;
    int left = 0;
    int right = 0;
    support::transaction_user left_has{f.media, {.name = "left", .user = &left}};
    support::transaction_user right_has{f.media, {.name = "right", .user = &right}};
    REQUIRE(left_has.has_locked(write(f.a)));
    REQUIRE(right_has.has_locked(write(f.b)));
    support::transaction_user right_wants{f.media, {.name = "right", .user = &right}};
    support::transaction_user left_wants{f.media, {.name = "left", .user = &left}};
    right_wants.lock(write(f.a));
    left_wants.lock(write(f.b));
    f.loop.advance(1s);
    REQUIRE(f.reports.size() == 1);
    CHECK(f.reports[0].cycle == stuck_cycle::certain);
}

TEST_CASE("where only its name tells what a transaction's owner waits for, it is a possible cycle") {
    fixture f;
    support::transaction_user left_has{f.media, {.name = "left"}};
    support::transaction_user right_has{f.media, {.name = "right"}};
    REQUIRE(left_has.has_locked(write(f.a)));
    REQUIRE(right_has.has_locked(write(f.b)));
    waiter left_wants;
    left_wants.start({.name = "left"}, read(f.b));
    waiter right_wants;
    right_wants.start({.name = "right"}, read(f.a));
    f.loop.advance(1s);
    REQUIRE(!f.reports.empty());
    CHECK(f.reports[0].cycle == stuck_cycle::possible);
}

TEST_CASE("a transaction that waits for another one of the same name is no cycle") {
    fixture f;
    support::transaction_user holds{f.media, {.name = "frame"}};
    REQUIRE(holds.has_locked(write(f.a)));
    support::transaction_user waits{f.media, {.name = "frame"}};
    waits.lock(write(f.a));
    f.loop.advance(1s);
    REQUIRE(f.reports.size() == 1);
    CHECK(f.reports[0].cycle == stuck_cycle::none);
}

TEST_CASE("where only names tell whose they are, it is a possible cycle") {
    fixture f;
    const guard left_has = try_lock(write(f.a), lock_options{.name = "left"});
    const guard right_has = try_lock(write(f.b), lock_options{.name = "right"});
    waiter left_wants;
    left_wants.start({.name = "left"}, read(f.b));
    waiter right_wants;
    right_wants.start({.name = "right"}, read(f.a));
    f.loop.advance(1s);
    REQUIRE(!f.reports.empty());
    const stuck_report& r = f.reports[0];
    CHECK(r.cycle == stuck_cycle::possible);
    CHECK(r.circle == 0);
    REQUIRE(r.chain.size() == 5);
    CHECK(r.chain[2].how == stuck_report::step::perhaps_also_waits);
    CHECK(to_string(r).find("a possible cycle: that 'left' holds and waits is known by its name only") !=
          std::string::npos);
}

TEST_CASE("a hold of the same code, with the same name, is no cycle") {
    fixture f;
    std::array<waiter, 2> frames;
    for (waiter& each : frames) { each.start({.name = "frame"}, write(f.a)); }
    f.loop.advance(1s);
    REQUIRE(f.reports.size() == 1);
    CHECK(f.reports[0].cycle == stuck_cycle::none);
    CHECK(f.reports[0].chain.size() == 2);
}

TEST_CASE("a user that locks again what it has, elsewhere, may be waiting for itself") {
    fixture f;
    const guard outer = try_lock(write(f.a), lock_options{.name = "frame"});
    waiter inner;
    inner.start({.name = "frame"}, write(f.a));
    f.loop.advance(1s);
    REQUIRE(f.reports.size() == 1);
    CHECK(f.reports[0].cycle == stuck_cycle::possible);
}

TEST_CASE("a circle that a wait only leads to begins further on") {
    fixture f;
    int self = 0;
    const guard outer = try_lock(write(f.a), lock_options{.name = "outer", .user = &self});
    waiter inner;
    inner.start({.name = "inner", .user = &self}, read(f.a));
    f.loop.advance(1s);
    f.reports.clear();
    waiter victim;
    victim.start({.name = "victim"}, write(f.a));
    f.loop.advance(1s);
    REQUIRE(f.reports.size() == 1);
    CHECK(f.reports[0].cycle == stuck_cycle::certain);
    CHECK(f.reports[0].circle == 1);
    CHECK(f.of(0).set.view() == "victim");
}

TEST_CASE("those that wait for the same in the end are one report, and others another") {
    fixture f;
    const guard of_a = try_lock(write(f.a), lock_options{.name = "of a"});
    const guard of_b = try_lock(write(f.b), lock_options{.name = "of b"});
    std::array<waiter, 5> w;
    for (std::size_t i = 0; i < w.size(); ++i) { w[i].start({}, i == 3 ? write(f.b) : write(f.a)); }
    f.loop.advance(1s);
    REQUIRE(f.reports.size() == 2);
    CHECK(f.reports[0].others == 3);
    CHECK(f.reports[1].others == 0);
    CHECK(f.media.counters().stuck == 5);
}

TEST_CASE("a hundred thousand locks in a row are explained in no time, and without a deep stack") {
    fixture f;
    const guard held = try_lock(write(f.a), lock_options{.name = "culprit"});
    std::vector<waiter> all(100'000);
    for (waiter& w : all) { w.start({}, write(f.a)); }
    f.loop.advance(1s);
    REQUIRE(f.reports.size() == 1);
    CHECK(f.reports[0].others == all.size() - 1);
    CHECK(f.reports[0].chain.size() == 2);
}

TEST_CASE("a thread that is blocked finds out by itself: the loop need not run") {
    std::atomic<int> reports{0};
    epoll_loop loop;
    domain media{loop, {.lease = no_lease, .stuck = stuck_after(20ms, [&](const stuck_report&) { ++reports; })}};
    const buffer a = media.allocate(64, "a");
    guard held = try_lock(write(a));
    std::jthread blocked{[&a] { static_cast<void>(blocking_lock(write(a))); }};
    while (reports == 0) { std::this_thread::sleep_for(1ms); }
    held.unlock();
    blocked.join();
    CHECK(reports == 1);
}

TEST_CASE("the sink may lock, and a domain without a sink only counts") {
    manual_loop loop;
    guard other;
    domain* known = nullptr;
    buffer a;
    domain media{loop, {.lease = no_lease, .stuck = stuck_after(1s, [&](const stuck_report&) {
                                               other = try_lock(write(known->allocate(64)));
                                           })}};
    domain silent{loop, {.lease = no_lease, .stuck = stuck_after(1s, {})}};
    known = &media;
    a = media.allocate(64);
    const buffer b = silent.allocate(64);
    const guard held = try_lock(write(a));
    const guard held_too = try_lock(write(b));
    waiter w;
    w.start({}, write(a));
    waiter v;
    v.start({}, write(b));
    loop.advance(1s);
    CHECK(other);
    CHECK(silent.counters().stuck == 1);
}
