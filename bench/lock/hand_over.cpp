// SPDX-License-Identifier: MIT
// What does it cost to hand a buffer over from coroutine to coroutine, on one loop, in order of age, with a lease?
#include "../support/check.hpp"
#include "studio.hpp"

#include <dmasync/dmasync.hpp>

#include <benchmark/benchmark.h>

#include <cstdint>

using namespace dmasync;

namespace {

constexpr std::uint64_t coroutines = 64;

/// Coroutines that queue for one buffer, over and over.
struct queue {
    bench::studio s;
    bool done = false;
    std::uint64_t out_of_turn = 0;

    [[nodiscard]] auto get() { return lock(write(s.buffers[0])); }

    /// The `place`th in the queue has got it.
    void granted(std::uint64_t place) { out_of_turn += s.counts[0]++ % coroutines == place ? 0 : 1; }
};

bench::fire_and_forget visit(queue& q, std::uint64_t place) {
    while (!q.done) {
        auto held = co_await q.get();
        q.granted(place);
    }
}

/// One of them measures: an iteration is one round, in which each has it once.
task<> measure(benchmark::State& state, queue& q) {
    {
        auto held = co_await q.get();
        for (std::uint64_t place = 0; place + 1 < coroutines; ++place) { visit(q, place); }
    }
    for (auto _ : state) {
        auto held = co_await q.get();
        q.granted(coroutines - 1);
    }
    const auto rounds = static_cast<std::uint64_t>(state.iterations());
    bench::expect_count(state, q.s.counts[0], rounds * coroutines);
    bench::expect_count(state, q.out_of_turn, 0);
    state.SetItemsProcessed(static_cast<std::int64_t>(rounds * coroutines));
    q.done = true;
    auto last = co_await q.get(); // when the others have left
}

void dmasync_hand_over(benchmark::State& state) {
    queue q;
    q.s.made.loop->run(measure(state, q));
}
BENCHMARK(dmasync_hand_over);

} // namespace
