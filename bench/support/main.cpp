// SPDX-License-Identifier: MIT
// Runs the benchmarks of a program; exits with 1 when one of them did not do what it counts, or when there is none.
#include "check.hpp"

#include <benchmark/benchmark.h>

#include <condition_variable>
#include <cstdlib>
#include <mutex>
#include <stop_token>
#include <thread>

int main(int argc, char** argv) {
    // With a single thread, glibc's std::mutex leaves out its atomic operations.
    const std::jthread parked{[](const std::stop_token& stop) {
        std::mutex mutex;
        std::unique_lock lock{mutex};
        std::condition_variable_any{}.wait(lock, stop, [] { return false; });
    }};
    bench::miscount = std::getenv("DMASYNC_BENCH_MISCOUNT") != nullptr; // NOLINT(concurrency-mt-unsafe)
#if defined(__clang__)
    benchmark::AddCustomContext("compiler", "clang " __clang_version__);
#else
    benchmark::AddCustomContext("compiler", "g++ " __VERSION__);
#endif
    benchmark::Initialize(&argc, argv);
    if (benchmark::ReportUnrecognizedArguments(argc, argv)) { return 1; }
    const std::size_t run = benchmark::RunSpecifiedBenchmarks();
    benchmark::Shutdown();
    return run == 0 || bench::failed ? 1 : 0;
}
