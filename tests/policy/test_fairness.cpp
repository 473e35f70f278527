// SPDX-License-Identifier: MIT
/// What asks later and wants the same never goes first, and everything that asks is served.
#include <dmasync/domain.hpp>
#include <dmasync/lock.hpp>
#include <dmasync/lock_set.hpp>
#include <dmasync/manual_loop.hpp>

#include <doctest/doctest.h>
#include <support/probe.hpp>

#include <algorithm>
#include <array>
#include <chrono>
#include <cstddef>
#include <deque>
#include <memory>
#include <optional>
#include <random>
#include <stop_token>
#include <system_error>
#include <vector>

using namespace dmasync;
using namespace std::chrono_literals;

namespace {

struct wish {
    std::size_t buffer;
    access_mode mode;
};

/// One acquisition of the world below; what is known of it from outside.
struct actor {
    std::vector<wish> wishes;
    std::unique_ptr<lock_set> set;
    std::optional<std::stop_source> stop;
    std::stop_token token;
    guard held;
    std::error_code ec;
    probe coroutine;
    bool asked = false;
    bool counted = false;

    [[nodiscard]] bool waits() const { return asked && !coroutine.done(); }
};

/// Buffers, and acquisitions in the order in which they asked. Looks at every grant.
class world {
public:
    world() {
        for (buffer& b : buffers) { b = media.allocate(64); }
    }

    actor& ask(std::vector<wish> wishes, event_loop::time_point deadline = event_loop::time_point::max()) {
        actor& a = actors.emplace_back();
        a.wishes = std::move(wishes);
        a.set = std::make_unique<lock_set>(media);
        for (const wish& w : a.wishes) { a.set->add(buffers[w.buffer], w.mode); }
        a.stop.emplace();
        a.token = a.stop->get_token();
        a.coroutine = acquire(a, deadline);
        a.asked = true;
        turn();
        return a;
    }

    /// Lets the loop run one turn, then looks at what was granted in it.
    void turn() {
        loop.run_ready();
        look();
    }

    void release(actor& a) {
        a.held.unlock();
        turn();
    }

    void advance(std::chrono::nanoseconds d) {
        loop.advance(d);
        look();
    }

    [[nodiscard]] std::size_t waiting() const {
        return static_cast<std::size_t>(std::ranges::count_if(actors, [](const actor& a) { return a.waits(); }));
    }

    manual_loop loop;
    domain media{loop, {.report = {}}};
    std::array<buffer, 5> buffers;
    std::deque<actor> actors;
    int overtaken = 0;
    int shared_by_conflicting = 0;

private:
    static probe acquire(actor& a, event_loop::time_point deadline) {
        const lock_options options{.deadline = deadline, .stop = a.token};
        a.held = co_await a.set->lock(options, a.ec);
    }

    static bool conflict(const actor& a, const actor& b) {
        for (const wish& x : a.wishes) {
            for (const wish& y : b.wishes) {
                if (x.buffer == y.buffer && dmasync::conflict(x.mode, y.mode)) { return true; }
            }
        }
        return false;
    }

    /// A grant is a coroutine that is done with a guard, seen once; it must not have passed an older one that still
    /// waits. Called when the loop has run: what was cancelled does not wait any more, and knows it.
    void look() {
        for (std::size_t i = 0; i < actors.size(); ++i) {
            actor& a = actors[i];
            if (a.counted || !a.coroutine.done() || !a.held || a.held.expired()) { continue; }
            for (std::size_t k = 0; k < actors.size(); ++k) {
                const actor& b = actors[k];
                if (k == i || !conflict(a, b)) { continue; }
                const bool holds = b.coroutine.done() && b.held && !b.held.expired();
                shared_by_conflicting += holds ? 1 : 0;
                overtaken += k < i && b.waits() ? 1 : 0;
            }
            a.counted = true;
        }
    }
};

constexpr auto r = access_mode::read;
constexpr auto w = access_mode::write;

/// Keeps `streams` small holds going, each replaced before it is released, until `large` is served.
/// Returns: how many of the stream were granted meanwhile.
int stream_past(world& x, actor& large, const std::vector<std::vector<wish>>& small) {
    std::deque<actor*> live;
    for (actor& a : x.actors) {
        if (&a != &large && a.held) { live.push_back(&a); }
    }
    int granted = 0;
    for (std::size_t i = 0; i < 1000 && large.waits() && !live.empty(); ++i) {
        actor& next = x.ask(small[i % small.size()]);
        granted += next.held ? 1 : 0;
        if (next.held) { live.push_back(&next); }
        x.release(*live.front());
        live.pop_front();
    }
    return granted;
}

} // namespace

TEST_CASE("a large set is not starved by a stream of small ones") {
    world x;
    for (std::size_t i = 0; i < 4; ++i) { x.ask({{i, w}}); }
    actor& large = x.ask({{0, w}, {1, w}, {2, w}, {3, w}});
    CHECK(stream_past(x, large, {{{0, w}}, {{1, w}}, {{2, w}}, {{3, w}}}) == 0);
    CHECK(large.held);
    CHECK(x.overtaken == 0);
}

TEST_CASE("a writer is not starved by a stream of readers") {
    world x;
    x.ask({{0, r}});
    x.ask({{0, r}});
    actor& writer = x.ask({{0, w}});
    CHECK(stream_past(x, writer, {{{0, r}}}) == 0);
    CHECK(writer.held);
    CHECK(x.overtaken == 0);
}

TEST_CASE("a reader is not starved by a stream of writers") {
    world x;
    x.ask({{0, w}});
    actor& reader = x.ask({{0, r}});
    CHECK(stream_past(x, reader, {{{0, w}}}) == 0);
    CHECK(reader.held);
    CHECK(x.overtaken == 0);
}

TEST_CASE("what does not conflict with what waits may pass") {
    world x;
    x.ask({{0, w}});
    x.ask({{0, w}, {1, w}});
    CHECK(x.ask({{2, w}}).held);
    CHECK(x.overtaken == 0);
}

namespace {

std::vector<wish> random_wishes(std::mt19937& random, std::size_t buffers) {
    std::vector<wish> wishes;
    for (std::size_t b = 0; b < buffers; ++b) {
        if (random() % 5 < 2) { wishes.push_back({b, random() % 2 == 0 ? r : w}); }
    }
    if (wishes.empty()) { wishes.push_back({random() % buffers, w}); }
    return wishes;
}

/// Sets come, are released, expire, time out, are stopped, and their coroutines destroyed, as the seed says.
void run_random(unsigned seed) {
    INFO("seed ", seed);
    std::mt19937 random{seed};
    world x;
    for (int step = 0; step < 150; ++step) {
        const std::size_t i = x.actors.empty() ? 0 : random() % x.actors.size();
        switch (random() % 10) {
        case 0:
        case 1:
        case 2:
        case 3: x.ask(random_wishes(random, x.buffers.size())); break;
        case 4: x.ask(random_wishes(random, x.buffers.size()), x.loop.now() + 1ms * (random() % 2000)); break;
        case 5:
            if (!x.actors.empty()) { x.actors[i].stop->request_stop(); }
            break;
        case 6:
            if (!x.actors.empty() && x.actors[i].waits()) {
                x.actors[i].asked = false;
                x.actors[i].coroutine.destroy();
            }
            break;
        case 7: x.advance(1ms * (random() % 1500)); break;
        default:
            if (!x.actors.empty()) { x.actors[i].held.unlock(); }
            if (random() % 2 == 0) { x.turn(); }
        }
    }
    x.advance(1h); // every lease ends
    CHECK(x.waiting() == 0);
    CHECK(x.overtaken == 0);
    CHECK(x.shared_by_conflicting == 0);
    for (const buffer& b : x.buffers) {
        std::error_code ec;
        CHECK(try_lock(write(b), ec));
    }
}

} // namespace

TEST_CASE("whatever happens to them, conflicting sets exclude each other, keep their order, and all are served") {
    for (unsigned seed = 1; seed <= 300; ++seed) { run_random(seed); }
}
