// SPDX-License-Identifier: MIT
// What does an uncontended lock with a lease cost?
#include "../support/check.hpp"
#include "studio.hpp"

#include <dmasync/dmasync.hpp>

#include <benchmark/benchmark.h>

#include <cstddef>
#include <cstdint>
#include <thread>

using namespace dmasync;
using bench::studio;

namespace {

template <std::size_t N>
void dmasync_lock(benchmark::State& state) {
    studio s;
    bench::run_locks_of<N>(state, s);
}
BENCHMARK(dmasync_lock<1>);
BENCHMARK(dmasync_lock<4>);
BENCHMARK(dmasync_lock<16>);

/// Where whatever a domain may keep for the thread that uses it most is of no use.
template <std::size_t N>
void dmasync_lock_after_another_thread(benchmark::State& state) {
    constexpr std::uint64_t long_enough = 100'000;
    studio s;
    std::thread{[&s] {
        for (std::uint64_t i = 0; i < long_enough; ++i) { auto held = blocking_lock(write(s.buffers[0])); }
    }}.join();
    bench::run_locks_of<N>(state, s);
}
BENCHMARK(dmasync_lock_after_another_thread<1>);
BENCHMARK(dmasync_lock_after_another_thread<4>);

template <std::size_t N>
void dmasync_lock_without_lease(benchmark::State& state) {
    studio s{{.lease = no_lease}};
    bench::run_locks_of<N>(state, s);
}
BENCHMARK(dmasync_lock_without_lease<1>);
BENCHMARK(dmasync_lock_without_lease<4>);
BENCHMARK(dmasync_lock_without_lease<16>);

void dmasync_lock_read(benchmark::State& state) {
    studio s;
    bench::run(state, s, [](benchmark::State& st, studio& all) -> task<> {
        for (auto _ : st) {
            auto held = co_await lock(read(all.buffers[0]));
            ++all.counts[0]; // uncontended
            benchmark::ClobberMemory();
        }
    });
}
BENCHMARK(dmasync_lock_read);

task<> lock_set_and_count(benchmark::State& state, studio& s, lock_set& set) {
    for (auto _ : state) {
        auto held = co_await set.lock();
        ++s.counts[0];
        benchmark::ClobberMemory();
    }
}

template <std::size_t N>
void dmasync_lock_set(benchmark::State& state) {
    studio s;
    lock_set set{s.media};
    for (std::size_t i = 0; i < N; ++i) { set.add(s.buffers[i], access_mode::write); }
    bench::run(state, s, [&set](auto& st, auto& all) { return lock_set_and_count(st, all, set); });
}
BENCHMARK(dmasync_lock_set<1>);
BENCHMARK(dmasync_lock_set<4>);
BENCHMARK(dmasync_lock_set<16>);

/// Buffer by buffer, as if each told which is the next.
template <std::size_t N>
void dmasync_transaction(benchmark::State& state) {
    studio s;
    bench::run(state, s, [](benchmark::State& st, studio& all) -> task<> {
        for (auto _ : st) {
            transaction tx{all.media};
            for (std::size_t i = 0; i < N; ++i) { co_await tx.lock(write(all.buffers[i])); }
            auto held = tx.done();
            ++all.counts[0];
            benchmark::ClobberMemory();
        }
    });
}
BENCHMARK(dmasync_transaction<4>);

void dmasync_blocking_lock(benchmark::State& state) {
    studio s;
    for (auto _ : state) {
        auto held = blocking_lock(write(s.buffers[0]));
        ++s.counts[0];
        benchmark::ClobberMemory();
    }
    bench::expect_count(state, s.counts[0], static_cast<std::uint64_t>(state.iterations()));
}
BENCHMARK(dmasync_blocking_lock);

} // namespace
