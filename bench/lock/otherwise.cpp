// SPDX-License-Identifier: MIT
// What one would otherwise use. `ref` is the least that any lock can cost: one compare-and-swap, one increment, one release;
// other figures are to be read as multiples of it.
#include "../support/check.hpp"
#include "../support/reference.hpp"

#include <benchmark/benchmark.h>
#include <liburing.h>

#include <array>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <mutex>
#include <shared_mutex>
#include <utility>
#include <vector>

namespace {

using bench::ref;
BENCHMARK(ref);

template <class Mutex>
struct alignas(64) counting {
    Mutex mutex;
    std::uint64_t count = 0;
};

template <class Mutex, std::size_t... I>
void lock_all(benchmark::State& state, std::index_sequence<I...>) {
    auto locks = std::make_unique<std::array<counting<Mutex>, sizeof...(I)>>();
    for (auto _ : state) {
        const std::scoped_lock held{(*locks)[I].mutex...};
        ++(*locks)[0].count;
        benchmark::ClobberMemory();
    }
    bench::expect_count(state, (*locks)[0].count, static_cast<std::uint64_t>(state.iterations()));
}

template <std::size_t N>
void scoped_lock(benchmark::State& state) {
    lock_all<std::mutex>(state, std::make_index_sequence<N>{});
}
BENCHMARK(scoped_lock<1>);
BENCHMARK(scoped_lock<4>);
BENCHMARK(scoped_lock<16>);

/// In order of address, as a program does it that avoids deadlocks by hand.
template <class Mutex>
void lock_in_order(benchmark::State& state, std::size_t size) {
    std::vector<counting<Mutex>> locks(size);
    for (auto _ : state) {
        for (auto& each : locks) { each.mutex.lock(); }
        ++locks[0].count;
        benchmark::ClobberMemory();
        for (auto& each : locks) { each.mutex.unlock(); }
    }
    bench::expect_count(state, locks[0].count, static_cast<std::uint64_t>(state.iterations()));
}

template <std::size_t N>
void shared_mutex(benchmark::State& state) {
    lock_in_order<std::shared_mutex>(state, N);
}
BENCHMARK(shared_mutex<1>);
BENCHMARK(shared_mutex<4>);
BENCHMARK(shared_mutex<16>);

void growth_set_size_mutexes(benchmark::State& state) {
    lock_in_order<std::mutex>(state, static_cast<std::size_t>(state.range(0)));
}
BENCHMARK(growth_set_size_mutexes)->RangeMultiplier(2)->Range(1, 256);

void shared_mutex_read(benchmark::State& state) {
    std::shared_mutex mutex;
    std::uint64_t count = 0;
    for (auto _ : state) {
        const std::shared_lock held{mutex};
        ++count;
        benchmark::ClobberMemory();
    }
    bench::expect_count(state, count, static_cast<std::uint64_t>(state.iterations()));
}
BENCHMARK(shared_mutex_read);

/// A lock with a time limit, made by hand: a mutex, and a timeout on a ring that is armed and removed for every lock.
void mutex_and_uring_timeout(benchmark::State& state) {
    io_uring ring{};
    if (const int error = io_uring_queue_init(8, &ring, 0); error < 0) {
        bench::skip(state, "io_uring is refused here");
        return;
    }
    counting<std::mutex> lock;
    std::uint64_t completions = 0;
    __kernel_timespec lease{.tv_sec = 5, .tv_nsec = 0};
    for (auto _ : state) {
        const std::lock_guard held{lock.mutex};
        io_uring_sqe* sqe = io_uring_get_sqe(&ring);
        io_uring_prep_timeout(sqe, &lease, 0, 0);
        io_uring_sqe_set_data64(sqe, 1);
        io_uring_submit(&ring);
        ++lock.count;
        benchmark::ClobberMemory();
        sqe = io_uring_get_sqe(&ring);
        io_uring_prep_timeout_remove(sqe, 1, 0);
        io_uring_submit(&ring);
        const unsigned ready = io_uring_cq_ready(&ring);
        completions += ready;
        io_uring_cq_advance(&ring, ready);
    }
    io_uring_queue_exit(&ring);
    bench::expect_count(state, lock.count, static_cast<std::uint64_t>(state.iterations()));
    bench::expect_count(state, completions, 2 * lock.count); // of the timeout and of its removal
}
BENCHMARK(mutex_and_uring_timeout);

} // namespace
