// SPDX-License-Identifier: MIT
#pragma once
/// \file reference.hpp  `ref`: the least that any lock can cost. Other figures are to be read as multiples of it, measured in the
/// same run.

#include "check.hpp"

#include <benchmark/benchmark.h>

#include <atomic>
#include <cstdint>

namespace bench {

/// One compare-and-swap, one increment, one release by compare-and-swap, on one cache line.
inline void ref(benchmark::State& state) {
    struct alignas(64) reference_lock {
        std::atomic<std::uint32_t> word{0};
        std::uint32_t counter = 0;
    } lock;
    for (auto _ : state) {
        std::uint32_t expected = 0;
        while (!lock.word.compare_exchange_strong(expected, 1, std::memory_order_acquire)) { expected = 0; }
        ++lock.counter;
        expected = 1;
        while (!lock.word.compare_exchange_strong(expected, 0, std::memory_order_release)) { expected = 1; }
    }
    expect_count(state, lock.counter, static_cast<std::uint32_t>(state.iterations()));
}

} // namespace bench
