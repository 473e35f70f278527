// SPDX-License-Identifier: MIT
#pragma once
/// \file check.hpp  What every benchmark has to show: that what it measured did what it was to do.
///
/// A benchmark whose counts do not add up has no time, and its program exits with 1. With DMASYNC_BENCH_MISCOUNT in the
/// environment every count is taken to be wrong: so a test sees that no benchmark goes without a check.

#include <benchmark/benchmark.h>

#include <atomic>
#include <cstdint>
#include <string>

namespace bench {

/// Whether a check has failed in this program.
inline std::atomic<bool> failed{false};

/// Whether every count is to be taken for wrong; set by main.
inline bool miscount = false;

/// What has been counted under locks is as much as there were locks.
inline void expect_count(benchmark::State& state, std::uint64_t counted, std::uint64_t expected) {
    if (counted == expected && !miscount) { return; }
    failed = true;
    state.SkipWithError(
        ("check: counted " + std::to_string(counted) + ", expected " + std::to_string(expected)).c_str());
}

/// The benchmark cannot run on this machine; no failure.
inline void skip(benchmark::State& state, const char* why) {
    state.SkipWithError((std::string{"skipped: "} + why).c_str());
}

} // namespace bench
