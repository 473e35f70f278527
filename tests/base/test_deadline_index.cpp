// SPDX-License-Identifier: MIT
#include <dmasync/detail/base/deadline_index.hpp>

#include <doctest/doctest.h>

#include <chrono>
#include <deque>
#include <random>
#include <set>

using namespace dmasync::detail;
using namespace std::chrono_literals;

namespace {

struct item : timed {};
using book = deadline_index<item>;
using time_point = book::time_point;

constexpr time_point start{1h};

std::set<item*> ended_by(book& b, time_point now, time_point* next = nullptr) {
    std::set<item*> ended;
    const time_point n = b.collect(now, [&](item& i) { ended.insert(&i); });
    if (next != nullptr) { *next = n; }
    return ended;
}

} // namespace

TEST_CASE("an empty book has nothing to end, ever") {
    book b;
    time_point next;
    CHECK(ended_by(b, start, &next).empty());
    CHECK(next == time_point::max());
}

TEST_CASE("what has ended is handed over once, and the next end is known") {
    book b;
    item shorter;
    item longer;
    b.enter(longer, start, start + 5s);
    b.enter(shorter, start, start + 10ms);
    time_point next;
    CHECK(ended_by(b, start + 10ms, &next) == std::set{&shorter});
    CHECK(next == start + 5s);
    CHECK(ended_by(b, start + 10ms).empty());
    CHECK(ended_by(b, start + 5s) == std::set{&longer});
}

TEST_CASE("what has left does not end") {
    book b;
    item i;
    b.enter(i, start, start + 10ms);
    book::leave(i);
    CHECK(ended_by(b, start + 1h).empty());
}

TEST_CASE("a moved end counts, and the beginning stays") {
    book b;
    item i;
    b.enter(i, start, start + 10ms);
    b.move(i, start + 5ms, start + 100ms);
    CHECK(i.since == start);
    CHECK(ended_by(b, start + 50ms).empty());
    CHECK(ended_by(b, start + 100ms) == std::set{&i});
}

TEST_CASE("something without end is not entered, and may leave all the same") {
    book b;
    item i;
    b.enter(i, start, time_point::max());
    CHECK(i.since == start);
    CHECK(i.until == time_point::max());
    i.until = start; // a look would see it end
    time_point next;
    CHECK(ended_by(b, start + 24h, &next).empty());
    CHECK(next == time_point::max());
    book::leave(i);
}

TEST_CASE("a span is counted from the entry") {
    book b;
    item i;
    b.enter(i, start, deadline_span{10ms});
    CHECK(i.since == start);
    CHECK(i.until == start + 10ms);
    CHECK(ended_by(b, start + 9ms).empty());
    CHECK(ended_by(b, start + 10ms) == std::set{&i});
}

TEST_CASE("a span counts from an earlier entry whose clock was ahead: it is never shorter") {
    book b;
    item first;
    item second;
    b.enter(first, start + 1ms, deadline_span{10ms});
    b.enter(second, start, deadline_span{10ms});
    CHECK(second.until == start + 11ms);
}

TEST_CASE("a span that leads beyond the end of time lasts until then") {
    constexpr auto longest_that_ends = std::chrono::nanoseconds{(std::int64_t{1} << 62U) - 1};
    book b;
    item i;
    b.enter(i, time_point::max() - 1h, deadline_span{longest_that_ends});
    CHECK(i.until == time_point::max());
    book::leave(i);
}

TEST_CASE("a span as long as there is has no end") {
    book b;
    item i;
    b.enter(i, start, deadline_span{std::chrono::nanoseconds::max()});
    CHECK(i.until == time_point::max());
    CHECK(ended_by(b, time_point::max()).empty());
    book::leave(i);
}

TEST_CASE("what is entered without a time begins when it is said what time it is") {
    book b;
    item brief;
    item longer;
    b.enter_undated(longer);
    b.enter_undated(brief);
    CHECK(ended_by(b, start + 1h).empty());
    const auto span_of = [&](const item& i) { return deadline_span{&i == &brief ? 1ms : 10ms}; };
    CHECK(b.date(start, span_of) == start + 1ms);
    CHECK(longer.since == start);
    CHECK(longer.until == start + 10ms);
    CHECK(ended_by(b, start + 1ms) == std::set{&brief});
    CHECK(ended_by(b, start + 10ms) == std::set{&longer});
    CHECK(b.date(start, span_of) == time_point::max());
}

TEST_CASE("what has left before that never began") {
    book b;
    item i;
    b.enter_undated(i);
    book::leave(i);
    CHECK(b.date(start, [](const item&) { return deadline_span{1ms}; }) == time_point::max());
    CHECK(ended_by(b, start + 1h).empty());
}

TEST_CASE("something may be given an end later, and lose it again") {
    book b;
    item i;
    b.enter(i, start, time_point::max());
    b.move(i, start, start + 10ms);
    b.move(i, start, time_point::max());
    CHECK(ended_by(b, start + 1h).empty());
    b.move(i, start, start + 10ms);
    CHECK(ended_by(b, start + 1h) == std::set{&i});
}

TEST_CASE("an entry whose clock was read before that of the entry in front of it is not overlooked") {
    constexpr auto duration = std::chrono::nanoseconds{4 << 20};
    book b;
    item first;
    item late;
    b.enter(first, start, start + duration);
    b.enter(late, start - 2ms, start - 2ms + duration);
    time_point next;
    CHECK(ended_by(b, start, &next).empty());
    CHECK(next == late.until);
}

TEST_CASE("random entries end exactly when they should, whatever their durations") {
    const unsigned seed = 7;
    INFO("seed ", seed);
    std::mt19937_64 random{seed};
    book b;
    std::deque<item> items(400);
    std::set<item*> inside;
    time_point now = start;
    for (int step = 0; step < 4000; ++step) {
        now += std::chrono::microseconds{random() % 3000};
        item& i = items[static_cast<std::size_t>(random() % items.size())];
        if (inside.erase(&i) != 0) {
            book::leave(i);
        } else {
            // a clock that was read before the lock was taken may be a little behind
            const auto duration = std::chrono::microseconds{1ULL << (random() % 24)};
            const time_point read = now - std::chrono::microseconds{random() % 50};
            if (random() % 2 == 0) {
                b.enter(i, read, now + duration);
            } else {
                b.enter(i, read, deadline_span{duration});
            }
            inside.insert(&i);
        }
        std::set<item*> expected;
        time_point expected_next = time_point::max();
        for (item* each : inside) {
            if (each->until <= now) {
                expected.insert(each);
            } else {
                expected_next = std::min(expected_next, each->until);
            }
        }
        time_point next;
        REQUIRE(ended_by(b, now, &next) == expected);
        REQUIRE(next == expected_next);
        for (item* each : expected) { inside.erase(each); }
    }
}
