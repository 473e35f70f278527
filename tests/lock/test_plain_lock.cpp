// SPDX-License-Identifier: MIT
// A lock without options, on the thread that has the domain to itself, goes the shortest way: without a step, a queue that is
// looked through, or an operation. It has to come to the same as any other.
#include <dmasync/dmasync.hpp>
#include <dmasync/observe/stuck_after.hpp>

#include <doctest/doctest.h>
#include <support/probe.hpp>

#include <array>
#include <chrono>
#include <cstddef>
#include <optional>
#include <span>
#include <string>
#include <system_error>
#include <utility>
#include <vector>

using namespace dmasync;
using namespace std::chrono_literals;

namespace {

/// A domain that is one thread's for good, so that the shortest way is taken from the first lock on.
struct place {
    place() : place{domain_options{}} {}
    explicit place(domain_options o) : media{loop, single(std::move(o))} {
        for (std::size_t i = 0; i < buffers.size(); ++i) {
            buffers.at(i) = media.adopt(std::span{memory}.subspan(i, 1), "buffer");
        }
    }

    static domain_options single(domain_options o) {
        o.single_threaded = true;
        o.report = {};
        return o;
    }

    std::array<std::byte, 4> memory{};
    manual_loop loop;
    domain media;
    std::array<buffer, 4> buffers;
};

// ---- granted or refused ----------------------------------------------------------------------------------------------

/// What a buffer of a set may be like.
enum class condition { idle, read, written, read_and_waited_for, closed, foreign, none };
constexpr std::array conditions{
    condition::idle,   condition::read,    condition::written, condition::read_and_waited_for,
    condition::closed, condition::foreign, condition::none};

probe wait_to_write(const buffer& b) {
    std::error_code ec;
    auto held = co_await lock(write(b), lock_options{}, ec);
}

/// Buffers of every condition, and as many again.
struct zoo : place {
    zoo() {
        buffers[3].close();
        static_cast<void>(foreign.adopt(memory_of_others, "foreign"));
    }

    /// The first or the second buffer of a set, in this condition.
    const buffer& get(condition c, std::size_t which) {
        buffer& b = buffers.at(which);
        switch (c) {
        case condition::idle: return b;
        case condition::read: return keep(try_lock(read(b)), b);
        case condition::written: return keep(try_lock(write(b)), b);
        case condition::read_and_waited_for: {
            const buffer& held = keep(try_lock(read(b)), b);
            waiters.push_back(wait_to_write(held));
            return held;
        }
        case condition::closed: return buffers[3];
        case condition::foreign: return alien;
        default: return nothing;
        }
    }

    const buffer& keep(guard g, const buffer& b) {
        holders.push_back(std::move(g));
        return b;
    }

    std::array<std::byte, 1> memory_of_others{};
    domain foreign{loop};
    buffer alien = foreign.adopt(memory_of_others, "foreign");
    buffer nothing;
    std::vector<guard> holders;
    std::vector<probe> waiters;
};

template <access_mode... Modes>
void compare(zoo& z, lock_request<Modes>... requests) {
    std::error_code with_options;
    std::error_code without;
    const auto ask_with_options = [&] {
        return static_cast<bool>(dmasync::try_lock(requests..., lock_options{}, with_options));
    };
    const auto ask = [&] { return static_cast<bool>(dmasync::try_lock(requests..., without)); };
    const bool expected = ask_with_options();
    static_cast<void>(ask()); // its record has been used with other options
    CHECK(ask() == expected);
    CHECK(without == with_options);
    CHECK(ask_with_options() == expected); // nothing of it has stayed
    z.waiters.clear();
    z.holders.clear();
    CHECK(try_lock(write(z.buffers[0]), write(z.buffers[1]), write(z.buffers[2])));
}

template <access_mode M>
lock_request<M> request(const buffer& b) {
    return lock_request<M>{b, call_site::current()};
}

template <access_mode First, access_mode Second>
void compare_pairs() {
    for (const condition one : conditions) {
        for (const condition other : conditions) {
            zoo z;
            CAPTURE(static_cast<int>(one));
            CAPTURE(static_cast<int>(other));
            const buffer& first = z.get(one, 0);
            const buffer& second = z.get(other, 1);
            compare(z, request<First>(first), request<Second>(second));
        }
    }
}

template <access_mode First, access_mode Second, access_mode Third>
void compare_repeated() {
    for (std::size_t i = 0; i < 27; ++i) {
        zoo z;
        CAPTURE(i);
        compare(z, request<First>(z.buffers.at(i % 3)), request<Second>(z.buffers.at(i / 3 % 3)),
                request<Third>(z.buffers.at(i / 9)));
    }
}

} // namespace

TEST_CASE("one buffer in any condition is granted or refused as with options") {
    for (const condition c : conditions) {
        CAPTURE(static_cast<int>(c));
        zoo z;
        const buffer& b = z.get(c, 0);
        SUBCASE("to read") { compare(z, read(b)); }
        SUBCASE("to write") { compare(z, write(b)); }
    }
}

TEST_CASE("so are two, whatever the accesses") {
    SUBCASE("") { compare_pairs<access_mode::read, access_mode::read>(); }
    SUBCASE("") { compare_pairs<access_mode::read, access_mode::write>(); }
    SUBCASE("") { compare_pairs<access_mode::write, access_mode::read>(); }
    SUBCASE("") { compare_pairs<access_mode::dma_write, access_mode::read_write>(); }
}

TEST_CASE("so are three, any of which may be the same buffer") {
    SUBCASE("") { compare_repeated<access_mode::read, access_mode::read, access_mode::read>(); }
    SUBCASE("") { compare_repeated<access_mode::read, access_mode::write, access_mode::read>(); }
    SUBCASE("") { compare_repeated<access_mode::write, access_mode::read, access_mode::dma_read>(); }
    SUBCASE("") { compare_repeated<access_mode::write, access_mode::write, access_mode::write>(); }
}

// ---- waited for ------------------------------------------------------------------------------------------------------

namespace {

/// What waits, and gets it, one after the other.
struct line {
    place p;
    std::string order;
    std::vector<probe> coroutines;
    std::optional<guard> held;

    explicit line(domain_options o = {}) : p{std::move(o)} { held.emplace(try_lock(write(p.buffers[0]))); }

    /// Without options, or an error code: the shortest way.
    template <access_mode Mode>
    void join(char name) {
        coroutines.push_back(wait<Mode>(*this, name));
    }
    template <access_mode Mode>
    static probe wait(line& l, char name) {
        auto mine = co_await lock(request<Mode>(l.p.buffers[0]));
        l.order += name;
    }

    void release_and_run() {
        held.reset();
        p.loop.run_ready();
    }
};

probe wait_and_say(const buffer& b, std::error_code& ec) {
    ec = errc::would_block;
    auto mine = co_await lock(write(b), ec);
}

} // namespace

TEST_CASE("locks that wait for one buffer get it in order of age, readers together") {
    line l;
    l.join<access_mode::write>('a');
    l.join<access_mode::read>('b');
    l.join<access_mode::read>('c');
    l.join<access_mode::write>('d');
    l.join<access_mode::write>('e');
    l.join<access_mode::read>('f');
    CHECK(l.order.empty());
    CHECK(l.p.media.counters().contended == 6);
    l.release_and_run();
    CHECK(l.order == "abcdef");
    CHECK(l.p.media.counters().granted_after_wait == 6);
}

TEST_CASE("a reader that is older than a waiting writer goes first when a writer leaves") {
    line l;
    l.join<access_mode::read>('a');
    l.join<access_mode::write>('b');
    l.release_and_run();
    CHECK(l.order == "ab");
}

TEST_CASE("a lock that is younger than one that waits for a set with the buffer in it waits for that one") {
    line l;
    auto second = std::optional{try_lock(write(l.p.buffers[1]))};
    const auto wait_for_both = [](line& x) -> probe {
        auto mine = co_await lock(write(x.p.buffers[0]), write(x.p.buffers[1]));
        x.order += 's';
    };
    l.coroutines.push_back(wait_for_both(l));
    l.join<access_mode::write>('y');
    l.release_and_run();
    CHECK(l.order.empty());
    second.reset();
    l.p.loop.run_ready();
    CHECK(l.order == "sy");
}

TEST_CASE("a coroutine that is destroyed while it waits leaves the line to the others") {
    line l;
    l.join<access_mode::write>('a');
    l.join<access_mode::write>('b');
    l.join<access_mode::write>('c');
    l.coroutines[0].destroy();
    l.coroutines[1].destroy();
    l.release_and_run();
    CHECK(l.order == "c");
}

TEST_CASE("so does one that is destroyed between its grant and its turn") {
    line l;
    l.join<access_mode::write>('a');
    l.join<access_mode::write>('b');
    l.held.reset();
    l.coroutines[0].destroy();
    l.p.loop.run_ready();
    CHECK(l.order == "b");
}

TEST_CASE("a waiter is told of the end of the buffer") {
    line l;
    std::error_code ec;
    const probe waiter = wait_and_say(l.p.buffers[0], ec);
    CHECK(ec == errc::would_block);
    l.p.buffers[0].close();
    l.p.loop.run_ready();
    CHECK(ec == errc::closed);
    CHECK(l.p.media.snapshot().acquisitions.size() == 1); // the hold
}

TEST_CASE("a waiter is told of the end of the domain") {
    manual_loop loop;
    std::array<std::byte, 1> memory{};
    std::optional<domain> media{std::in_place, loop, domain_options{.single_threaded = true}};
    const buffer b = media->adopt(memory, "b");
    const auto held = try_lock(write(b));
    std::error_code ec;
    const probe waiter = wait_and_say(b, ec);
    media.reset();
    loop.run_ready();
    CHECK(ec == errc::closed);
}

TEST_CASE("a waiter gets the buffer when the lease before it ends") {
    line l{{.lease = 10ms}};
    l.join<access_mode::write>('a');
    l.p.loop.advance(9ms);
    CHECK(l.order.empty());
    l.p.loop.advance(1ms);
    CHECK(l.order == "a");
    CHECK(l.held->expired());
}

TEST_CASE("a waiter that is resumed after its lease has ended is told so") {
    line l{{.lease = 10ms}};
    std::error_code ec;
    const probe waiter = wait_and_say(l.p.buffers[0], ec);
    const auto other = try_lock(write(l.p.buffers[1]));
    l.held.reset();                         // granted, and posted
    l.p.loop.set(l.p.loop.now() + 1h);      // but the loop has been away
    CHECK(try_lock(write(l.p.buffers[0]))); // and another one finds out
    l.p.loop.run_ready();
    CHECK(ec == errc::lease_expired);
}

TEST_CASE("a lock that has been handed the buffer in time is not called stuck later") {
    std::vector<std::string> reports;
    line l{{.stuck = stuck_after(1s, [&](const stuck_report&) { reports.emplace_back("stuck"); })}};
    std::optional<guard> second;
    const auto wait = [](line& x, std::optional<guard>& out) -> probe {
        out.emplace(co_await lock(write(x.p.buffers[0])));
    };
    const probe waiter = wait(l, second);
    l.p.loop.advance(500ms);
    l.release_and_run();
    REQUIRE(second);
    l.p.loop.advance(2s);
    CHECK(reports.empty());
    CHECK(l.p.media.counters().stuck == 0);
}

TEST_CASE("while a trace records, the shortest way is not taken, and nothing is missed") {
    line l;
    trace_recorder recorder;
    l.p.media.trace_to(recorder);
    l.join<access_mode::write>('a');
    l.release_and_run();
    CHECK(l.order == "a");
    CHECK(recorder.collect().events.size() >= 4); // waits, released, granted, released
}
