// SPDX-License-Identifier: MIT
// Which lock around the state of a domain? Without contention, and with several threads that mark and unmark sets of two words
// out of eight, one short critical section each: what a lock and an unlock of two buffers come to. Beside `ref`, as in
// bench_lock. Eight threads are more than most test machines have processors: then it is seen which lock lets a waiter spin out the holder.
#include "lock_schemes.hpp"
#include "support/check.hpp"
#include "support/reference.hpp"

#include <benchmark/benchmark.h>

#include <array>
#include <atomic>
#include <cstddef>
#include <cstdint>
#include <mutex>
#include <random>
#include <utility>

namespace {

using bench::ref;
BENCHMARK(ref);

/// What stands under the lock: as long as only one is in there at a time, both sums agree.
template <class Lock>
struct alignas(64) state_under_lock {
    static constexpr std::size_t words = 8;

    [[nodiscard]] bool mark(std::size_t a, std::size_t b) {
        const std::lock_guard guard{lock};
        if (marked[a] != 0 || marked[b] != 0) { return false; }
        marked[a] = marked[b] = 1;
        ++sets;
        return true;
    }
    void unmark(std::size_t a, std::size_t b) {
        const std::lock_guard guard{lock};
        marked[a] = marked[b] = 0;
    }

    Lock lock;
    std::array<std::uint32_t, words> marked{};
    std::uint64_t sets = 0;
    alignas(64) std::atomic<std::uint64_t> sets_of_threads{0};
};

template <class Lock>
void one_thread(benchmark::State& state) {
    state_under_lock<Lock> s;
    for (auto _ : state) {
        const std::lock_guard guard{s.lock};
        ++s.sets;
        benchmark::ClobberMemory();
    }
    bench::expect_count(state, s.sets, static_cast<std::uint64_t>(state.iterations()));
}

template <class Lock>
void several_threads(benchmark::State& state) {
    static state_under_lock<Lock> shared;
    std::minstd_rand random{static_cast<unsigned>(state.thread_index() + 1)};
    std::array<std::pair<std::size_t, std::size_t>, 1024> pairs;
    for (auto& [a, b] : pairs) {
        a = random() % shared.words;
        b = (a + 1 + random() % (shared.words - 1)) % shared.words;
    }
    std::uint64_t mine = 0;
    for (auto _ : state) {
        const auto [a, b] = pairs[mine++ % pairs.size()];
        while (!shared.mark(a, b)) {}
        benchmark::ClobberMemory();
        shared.unmark(a, b);
    }
    shared.sets_of_threads += mine;
    if (state.thread_index() == 0) { // all have left the loop
        while (true) {
            const std::lock_guard guard{shared.lock};
            if (shared.sets > shared.sets_of_threads) { continue; } // not all have added theirs
            bench::expect_count(state, shared.sets, shared.sets_of_threads);
            break;
        }
    }
}

#define DMASYNC_WEIGH(lock)                                                                                            \
    BENCHMARK(one_thread<schemes::lock>);                                                                              \
    BENCHMARK(several_threads<schemes::lock>)->Threads(2)->Threads(8)->UseRealTime()

DMASYNC_WEIGH(biased);
DMASYNC_WEIGH(plain_store_back_off);
DMASYNC_WEIGH(plain_store_spin);
DMASYNC_WEIGH(exchange_futex);
DMASYNC_WEIGH(pi_mutex);
DMASYNC_WEIGH(std_mutex);

} // namespace
