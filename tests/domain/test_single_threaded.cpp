// SPDX-License-Identifier: MIT
// In a single-threaded domain the holds of one turn of the loop begin together, when it is over: the clock is read once.
#include <dmasync/dmasync.hpp>
#include <dmasync/observe/snapshot.hpp>

#include <doctest/doctest.h>
#include <support/callback.hpp>

#include <array>
#include <chrono>
#include <cstddef>
#include <optional>
#include <span>
#include <utility>
#include <vector>

#include <poll.h>

using namespace dmasync;
using support::posted;
using support::timed;
using namespace std::chrono_literals;

namespace {

struct place {
    place() {
        for (std::size_t i = 0; i < buffers.size(); ++i) {
            buffers.at(i) = media.adopt(std::span{memory}.subspan(i, 1), "buffer");
        }
    }

    std::array<std::byte, 3> memory{};
    manual_loop loop;
    std::vector<lease_event> events;
    domain media{loop,
                 {.lease = 10ms,
                  .report = [this](const lease_report& r) { events.push_back(r.event); },
                  .single_threaded = true}};
    std::array<buffer, 3> buffers;
};

/// As if the coroutine had computed for so long.
void compute(place& p, event_loop::clock::duration d) { p.loop.set(p.loop.now() + d); }

} // namespace

TEST_CASE("a lease is counted from the end of the turn in which the hold began") {
    place p;
    std::optional<guard> held;
    const auto body = [](place& here, std::optional<guard>& out) -> task<> {
        compute(here, 4ms);
        out.emplace(co_await lock(write(here.buffers[0])));
        compute(here, 4ms);
    };
    const event_loop::time_point begin = p.loop.now();
    p.loop.run(body(p, held));
    p.loop.run_ready();
    CHECK(held->expires_at() == begin + 4ms + 4ms + 10ms);
    p.loop.advance(9ms);
    CHECK_FALSE(held->expired());
    p.loop.advance(1ms);
    CHECK(held->expired());
    CHECK(p.events == std::vector{lease_event::expired});
}

TEST_CASE("a turn that takes longer than the lease does not end it") {
    place p;
    bool in_time = false;
    const auto body = [](place& here, bool& ended_well) -> task<> {
        auto held = co_await lock(write(here.buffers[0]));
        compute(here, 1h);
        CHECK_FALSE(held.expired());
        CHECK(try_lock(write(here.buffers[0])).error() == errc::would_block); // looks for leases that have ended
        ended_well = !held.unlock();
    };
    p.loop.run(body(p, in_time));
    CHECK(in_time);
    CHECK(p.events.empty());
}

TEST_CASE("a caller that asks when a lease ends has it counted from then on") {
    place p;
    const auto body = [](place& here) -> task<> {
        auto held = co_await lock(write(here.buffers[0]));
        compute(here, 3ms);
        const event_loop::time_point asked = here.loop.now();
        CHECK(held.expires_at() == asked + 10ms);
        compute(here, 3ms);
        CHECK(held.expires_at() == asked + 10ms);
        CHECK(held.renew(20ms) == asked + 3ms + 20ms);
    };
    p.loop.run(body(p));
}

TEST_CASE("a snapshot in the same turn shows what is held, and how long it may be") {
    place p;
    const auto body = [](place& here) -> task<> {
        auto first = co_await lock(write(here.buffers[0]));
        auto second = co_await lock(read(here.buffers[1]), lock_options{.lease = no_lease});
        compute(here, 2ms);
        const domain_snapshot s = here.media.snapshot();
        REQUIRE(s.acquisitions.size() == 2);
        CHECK(s.acquisitions[0].lease_left == 10ms);
        CHECK_FALSE(s.acquisitions[1].lease_left);
    };
    p.loop.run(body(p));
}

TEST_CASE("holds of different lengths that began in one turn end in order") {
    place p;
    std::array<std::optional<guard>, 3> held;
    const auto body = [](place& here, std::array<std::optional<guard>, 3>& out) -> task<> {
        lock_set brief{here.media, "brief", {.lease = 2ms}};
        brief.add(here.buffers[1], access_mode::write);
        lock_set endless{here.media, "endless", {.lease = no_lease}};
        endless.add(here.buffers[2], access_mode::write);
        out[0].emplace(co_await lock(write(here.buffers[0])));
        for (int i = 0; i < 2; ++i) { // a record keeps the options of its last use
            out[1].reset();
            out[2].reset();
            out[1].emplace(co_await brief.lock());
            out[2].emplace(co_await endless.lock());
        }
    };
    p.loop.run(body(p, held));
    p.loop.run_ready();
    const auto ended = [&] {
        std::array<bool, 3> e{};
        for (std::size_t i = 0; i < e.size(); ++i) { e.at(i) = held.at(i)->expired(); }
        return e;
    };
    p.loop.advance(2ms);
    CHECK(ended() == std::array{false, true, false});
    p.loop.advance(8ms);
    CHECK(ended() == std::array{true, true, false});
    p.loop.advance(24h * 365);
    CHECK(ended() == std::array{true, true, false});
}

TEST_CASE("a hold that was split, or is a transaction's, ends with the turn's others") {
    place p;
    std::vector<guard> held;
    const auto body = [](place& here, std::vector<guard>& out) -> task<> {
        auto both = co_await lock(write(here.buffers[0]), write(here.buffers[1]));
        compute(here, 1ms);
        out.push_back(both.split(here.buffers[1]));
        out.push_back(std::move(both));
        transaction t{here.media};
        co_await t.lock(write(here.buffers[2]));
        out.push_back(t.done());
    };
    const event_loop::time_point begin = p.loop.now();
    p.loop.run(body(p, held));
    p.loop.run_ready();
    for (const guard& g : held) { CHECK(g.expires_at() == begin + 1ms + 10ms); }
    p.loop.advance(10ms);
    for (const guard& g : held) { CHECK(g.expired()); }
}

TEST_CASE("a host that polls the loop need not come back for the locks of its turns") {
    const made_event_loop made = make_event_loop();
    std::array<std::byte, 1> memory{};
    domain media{*made.loop, {.lease = no_lease, .single_threaded = true}};
    const buffer b = media.adopt(memory, "b");
    posted locks{[&] { CHECK(try_lock(write(b))); }}; // in the last batch of a poll
    std::optional<timed> timer;
    timer.emplace([&] {
        made.loop->post(locks);
        if (timer->runs < 10) { made.loop->arm(*timer, made.loop->now() + 1ms); }
    });
    made.loop->arm(*timer, made.loop->now() + 1ms);
    int polls = 0;
    pollfd entry{made.loop->fd(), POLLIN, 0};
    for (; locks.runs < 10; ++polls) {
        REQUIRE(::poll(&entry, 1, 20'000) == 1); // 20 s: lost, not late
        made.loop->poll();
    }
    CHECK(polls <= 15); // one for each, and some more for what else a kernel wakes for
}

TEST_CASE("outside of the loop's turns a hold begins at once") {
    place p;
    auto held = try_lock(write(p.buffers[0]));
    const event_loop::time_point begin = p.loop.now();
    compute(p, 5ms);
    CHECK(held.expires_at() == begin + 10ms);
}

TEST_CASE("a domain may go away in the turn in which it was locked, and a hold outlive it") {
    std::optional<guard> held;
    manual_loop loop;
    {
        std::array<std::byte, 1> memory{};
        const auto body = [](event_loop& l, std::span<std::byte> bytes, std::optional<guard>& out) -> task<> {
            domain media{l, {.lease = 10ms, .single_threaded = true}};
            const buffer b = media.adopt(bytes, "buffer");
            out.emplace(co_await lock(write(b)));
        };
        loop.run(body(loop, memory, held));
    }
    loop.advance(1h);
    CHECK_FALSE(held->expired()); // leases end no more
    CHECK_FALSE(held->unlock());
}
