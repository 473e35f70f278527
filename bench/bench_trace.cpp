// SPDX-License-Identifier: MIT
// What does it cost a lock that it can be traced, and that it is? Built twice: bench_trace_out is the same without the trace
// (DMASYNC_TRACE=0). Each has `ref` in it, the least that any lock can cost: compare the multiples of it, not the programs.
// tools/report runs both in turns.
#include "support/check.hpp"
#include "support/reference.hpp"

#include <dmasync/dmasync.hpp>

#include <benchmark/benchmark.h>

#include <array>
#include <cstddef>
#include <cstdint>
#include <utility>

using namespace dmasync;

namespace {

using bench::ref;
BENCHMARK(ref);

struct studio {
    studio() {
        for (buffer& b : buffers) { b = media.allocate(4096, "frame", {.from = memory_kind::memfd}); }
    }

    made_event_loop made = make_event_loop();
    domain media{*made.loop};
    std::array<buffer, 4> buffers;
    std::uint64_t locks = 0; // counted while they are held
};

template <std::size_t... I>
task<> lock_and_unlock(benchmark::State& state, studio& s, std::index_sequence<I...>) {
    for (auto _ : state) {
        auto held = co_await lock(write(s.buffers[I])...);
        ++s.locks;
        benchmark::ClobberMemory();
    }
    bench::expect_count(state, s.locks, state.iterations());
}

/// Without a recorder.
template <std::size_t N>
void lock_untraced(benchmark::State& state) {
    studio s;
    s.made.loop->run(lock_and_unlock(state, s, std::make_index_sequence<N>{}));
}
BENCHMARK(lock_untraced<1>);
BENCHMARK(lock_untraced<4>);

#if DMASYNC_TRACE
/// Each lock makes two records for each of its buffers.
template <std::size_t N>
void lock_traced(benchmark::State& state) {
    trace_recorder recorder;
    studio s;
    s.media.trace_to(recorder);
    s.made.loop->run(lock_and_unlock(state, s, std::make_index_sequence<N>{}));
}
BENCHMARK(lock_traced<1>);
BENCHMARK(lock_traced<4>);
#endif

} // namespace
