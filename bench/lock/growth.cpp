// SPDX-License-Identifier: MIT
// What does a lock cost when there is much of something: waiters for one buffer, buffers in a domain, buffers in a set, holds
// with a lease?
#include "../support/check.hpp"
#include "studio.hpp"

#include <dmasync/dmasync.hpp>

#include <benchmark/benchmark.h>

#include <algorithm>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <map>
#include <memory>
#include <numeric>
#include <random>
#include <vector>

#include <malloc.h>
#include <time.h>

using namespace dmasync;
using namespace std::chrono_literals;

namespace {

// ---- waiters for one buffer ------------------------------------------------------------------------------------------

/// Bytes that malloc has given out. Takes long: it goes through everything that has been given back.
[[nodiscard]] std::size_t allocated() noexcept {
    const struct mallinfo2 all = ::mallinfo2();
    return all.uordblks + all.hblkhd;
}

/// What the thread has worked so far: of a machine that is busy otherwise one learns nothing by the clock on the wall.
[[nodiscard]] std::chrono::nanoseconds worked() noexcept {
    timespec t{};
    ::clock_gettime(CLOCK_THREAD_CPUTIME_ID, &t);
    return std::chrono::seconds{t.tv_sec} + std::chrono::nanoseconds{t.tv_nsec};
}

/// A coroutine that tells how large its frame is.
struct waiter {
    struct promise_type : bench::fire_and_forget::promise_type {
        waiter get_return_object() const noexcept { return {}; }
        static void* operator new(std::size_t size) {
            frame_size = size;
            return ::operator new(size);
        }
        static void operator delete(void* frame) noexcept { ::operator delete(frame); }
    };
    static inline std::size_t frame_size = 0;
};

struct crowd {
    explicit crowd(std::int64_t n) : size{static_cast<std::uint64_t>(n)} {}

    bench::studio s;
    const std::uint64_t size;
    std::chrono::duration<double> draining{};
    double bytes_each = 0; // of the first round, in which nothing could be used again
};

waiter wait_in(crowd& c) {
    auto held = co_await lock(write(c.s.buffers[0]));
    ++c.s.counts[0];
}

/// All queue behind one that holds the buffer; measured is from its unlock on, until the last of them has had it.
task<> one_round(crowd& c) {
    auto held = co_await lock(write(c.s.buffers[0]), lock_options{.lease = 1h});
    const bool first = c.bytes_each == 0;
    const std::size_t before = first ? allocated() : 0;
    for (std::uint64_t i = 0; i < c.size; ++i) { wait_in(c); }
    if (first) { c.bytes_each = static_cast<double>(allocated() - before) / static_cast<double>(c.size); }
    const std::chrono::nanoseconds begin = worked();
    held.unlock();
    auto last = co_await lock(write(c.s.buffers[0]));
    c.draining = worked() - begin;
}

void growth_waiters(benchmark::State& state) {
    crowd c{state.range(0)};
    for (auto _ : state) {
        c.s.made.loop->run(one_round(c));
        state.SetIterationTime(c.draining.count());
    }
    const std::uint64_t grants = static_cast<std::uint64_t>(state.iterations()) * c.size;
    bench::expect_count(state, c.s.counts[0], grants);
    state.SetItemsProcessed(static_cast<std::int64_t>(grants));
    state.counters["bytes_per_waiter"] = c.bytes_each;
    state.counters["frame_bytes"] = static_cast<double>(waiter::frame_size);
}
BENCHMARK(growth_waiters)->RangeMultiplier(10)->Range(100, 1'000'000)->UseManualTime();

// ---- a large domain --------------------------------------------------------------------------------------------------

/// A domain of some buffers, and one to spare.
struct world {
    explicit world(std::size_t size) : memory(size + 1), order(size) {
        buffers.reserve(size + 1);
        for (std::uint64_t& each : memory) { buffers.push_back(bench::counting_buffer(media, each)); }
        std::iota(order.begin(), order.end(), 0U);
        std::shuffle(order.begin(), order.end(), std::minstd_rand{1});
    }

    [[nodiscard]] const buffer& spare() const noexcept { return buffers.back(); }

    made_event_loop made = make_event_loop();
    domain media{*made.loop};
    std::vector<std::uint64_t> memory;
    std::vector<buffer> buffers;
    std::vector<std::uint32_t> order; // of all buffers but the spare one, at random
    std::uint64_t count = 0;          // changed by the holder of any of them: there is one coroutine only
};

/// Made once for each size: a million buffers take a second.
world& world_of(std::size_t size) {
    static std::map<std::size_t, std::unique_ptr<world>> all;
    std::unique_ptr<world>& w = all[size];
    if (!w) { w = std::make_unique<world>(size); }
    w->count = 0;
    return *w;
}

task<> lock_in_order(benchmark::State& state, world& w, const std::vector<std::uint32_t>& order) {
    std::size_t at = 0;
    for (auto _ : state) {
        auto held = co_await lock(write(w.buffers[order[at]]));
        at = at + 1 == order.size() ? 0 : at + 1;
        ++w.count;
        benchmark::ClobberMemory();
    }
}

void run(benchmark::State& state, world& w, const std::vector<std::uint32_t>& order) {
    w.made.loop->run(lock_in_order(state, w, order));
    bench::expect_count(state, w.count, static_cast<std::uint64_t>(state.iterations()));
}

/// A few of the buffers, wherever they are: what is used is in the cache.
void growth_buffers_cached(benchmark::State& state) {
    world& w = world_of(static_cast<std::size_t>(state.range(0)));
    run(state, w, {w.order.begin(), w.order.begin() + 8});
}
BENCHMARK(growth_buffers_cached)->RangeMultiplier(10)->Range(10, 1'000'000);

void growth_buffers_in_turn(benchmark::State& state) {
    world& w = world_of(static_cast<std::size_t>(state.range(0)));
    std::vector<std::uint32_t> order(w.order.size());
    std::iota(order.begin(), order.end(), 0U);
    run(state, w, order);
}
BENCHMARK(growth_buffers_in_turn)->RangeMultiplier(10)->Range(10, 1'000'000);

void growth_buffers_at_random(benchmark::State& state) {
    world& w = world_of(static_cast<std::size_t>(state.range(0)));
    run(state, w, w.order);
}
BENCHMARK(growth_buffers_at_random)->RangeMultiplier(10)->Range(10, 1'000'000);

// ---- a large set -----------------------------------------------------------------------------------------------------

task<> lock_set_over_and_over(benchmark::State& state, world& w, lock_set& set) {
    for (auto _ : state) {
        auto held = co_await set.lock();
        ++w.count;
        benchmark::ClobberMemory();
    }
}

void growth_set_size(benchmark::State& state) {
    const auto size = static_cast<std::size_t>(state.range(0));
    world w{size};
    lock_set set{w.media};
    for (std::size_t i = 0; i < size; ++i) { set.add(w.buffers[i], access_mode::write); }
    w.made.loop->run(lock_set_over_and_over(state, w, set));
    bench::expect_count(state, w.count, static_cast<std::uint64_t>(state.iterations()));
}
BENCHMARK(growth_set_size)->RangeMultiplier(2)->Range(1, 256);

// ---- many holds with a lease -----------------------------------------------------------------------------------------

/// Leases of all lengths, and none that ends while this is measured.
[[nodiscard]] lock_options long_lease(std::size_t i) noexcept { return {.lease = std::chrono::hours{1U << (i % 10)}}; }

task<> lock_the_spare(benchmark::State& state, world& w) {
    for (auto _ : state) {
        auto held = co_await lock(write(w.spare()));
        ++w.count;
        benchmark::ClobberMemory();
    }
}

void growth_leases(benchmark::State& state) {
    const auto size = static_cast<std::size_t>(state.range(0));
    world& w = world_of(size);
    std::vector<guard> live;
    live.reserve(size);
    for (const std::uint32_t i : w.order) { live.push_back(try_lock(write(w.buffers[i]), long_lease(i))); }
    w.made.loop->run(lock_the_spare(state, w));
    bench::expect_count(state, w.count, static_cast<std::uint64_t>(state.iterations()));
    const auto holds = [](const guard& g) { return g && !g.expired(); };
    bench::expect_count(state, static_cast<std::uint64_t>(std::count_if(live.begin(), live.end(), holds)), size);
}
BENCHMARK(growth_leases)->RangeMultiplier(10)->Range(1, 1'000'000);

} // namespace
