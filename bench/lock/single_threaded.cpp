// SPDX-License-Identifier: MIT
// What does a lock with a lease cost in a domain that is declared to be one thread's alone?
#include "studio.hpp"

#include <benchmark/benchmark.h>

#include <cstddef>

namespace {

template <std::size_t N>
void dmasync_single_threaded(benchmark::State& state) {
    bench::studio s{{.single_threaded = true}};
    bench::run_locks_of<N>(state, s);
}
BENCHMARK(dmasync_single_threaded<1>);
BENCHMARK(dmasync_single_threaded<4>);
BENCHMARK(dmasync_single_threaded<16>);

} // namespace
