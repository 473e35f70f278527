// SPDX-License-Identifier: MIT
// Which deadlock policy suits long transactions? Batches of 800 buffers out of 100,000, each locked one by one in an order of
// its own: the workload by which the kernel's wound-wait was measured against its wait-die. Several transactions at a
// time, on one loop, in turns after every lock (the most that they can get in each other's way), and on threads.
#include "support/check.hpp"

#include <dmasync/dmasync.hpp>

#include <benchmark/benchmark.h>

#include <algorithm>
#include <array>
#include <coroutine>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <numeric>
#include <random>
#include <span>
#include <system_error>
#include <thread>
#include <utility>
#include <vector>

using namespace dmasync;

namespace {

constexpr std::size_t buffer_count = 100'000;
constexpr std::size_t batch_size = 800;

/// The buffers, and batches of them that are drawn anew for each round.
class world {
public:
    explicit world(event_loop& loop, deadlock_policy policy)
        : media{loop, {.lease = no_lease, .policy = policy}}, counts(buffer_count) {
        buffers.reserve(buffer_count);
        for (std::uint64_t& each : counts) {
            buffers.push_back(media.adopt(std::as_writable_bytes(std::span{&each, 1})));
        }
    }

    [[nodiscard]] std::vector<std::uint32_t> draw_batch() {
        std::vector<std::uint32_t> batch;
        while (batch.size() < batch_size) {
            batch.push_back(static_cast<std::uint32_t>(random_() % buffer_count));
            std::sort(batch.begin(), batch.end());
            batch.erase(std::unique(batch.begin(), batch.end()), batch.end());
        }
        std::shuffle(batch.begin(), batch.end(), random_);
        return batch;
    }

    [[nodiscard]] std::vector<std::vector<std::uint32_t>> draw_batches(std::size_t count) {
        std::vector<std::vector<std::uint32_t>> all(count);
        for (auto& each : all) { each = draw_batch(); }
        return all;
    }

    domain media;
    std::vector<std::uint64_t> counts; // the buffers' memory: a batch counts in its first one when it has them all
    std::vector<buffer> buffers;

private:
    std::mt19937 random_{1};
};

/// Goes to the end of the loop's queue.
class yield : work {
public:
    explicit yield(event_loop& loop) noexcept : work{go_on}, loop_{loop} {}
    [[nodiscard]] bool await_ready() const noexcept { return false; }
    void await_suspend(std::coroutine_handle<> h) noexcept {
        waiter_ = h;
        loop_.post(*this);
    }
    void await_resume() const noexcept {}

private:
    static void go_on(work& w, disposition d) noexcept {
        if (d == disposition::run) { static_cast<yield&>(w).waiter_.resume(); }
    }

    event_loop& loop_;
    std::coroutine_handle<> waiter_;
};

task<> lock_batch(transaction& tx, world& w, const std::vector<std::uint32_t>& batch, std::uint64_t& locks) {
    std::error_code ec;
    for (const std::uint32_t i : batch) {
        ++locks;
        co_await tx.lock(write(w.buffers[i]), ec);
        if (ec) { co_return; }
        co_await yield{w.media.loop()};
    }
    ++w.counts[batch[0]];
}

task<> through(world& w, const std::vector<std::uint32_t>& batch, std::uint64_t& locks) {
    co_await run_transaction(w.media, lock_batch, std::ref(w), std::cref(batch), std::ref(locks));
}

template <std::size_t... I>
task<> all_through(world& w, const std::vector<std::vector<std::uint32_t>>& batches, std::uint64_t& locks,
                   std::index_sequence<I...>) {
    co_await when_all(through(w, batches[I], locks)...);
}

void report(benchmark::State& state, world& w, std::size_t at_once, std::uint64_t locks) {
    const domain_counters c = w.media.counters();
    const std::uint64_t expected = static_cast<std::uint64_t>(state.iterations()) * at_once;
    bench::expect_count(state, std::accumulate(w.counts.begin(), w.counts.end(), std::uint64_t{0}), expected);
    const auto batches = static_cast<double>(expected);
    state.counters["rollbacks"] = static_cast<double>(c.retries) / batches;
    state.counters["wasted_locks"] = (static_cast<double>(locks) / batches - batch_size) / batch_size;
    state.counters["us_per_batch"] =
        benchmark::Counter{batches / 1e6, benchmark::Counter::kIsRate | benchmark::Counter::kInvert};
}

template <deadlock_policy Policy, std::size_t AtOnce>
void in_turns(benchmark::State& state) {
    const auto made = make_event_loop();
    world w{*made.loop, Policy};
    std::uint64_t locks = 0;
    for (auto _ : state) {
        state.PauseTiming();
        const auto batches = w.draw_batches(AtOnce);
        state.ResumeTiming();
        made.loop->run(all_through(w, batches, locks, std::make_index_sequence<AtOnce>{}));
    }
    report(state, w, AtOnce, locks);
}

void block_through(world& w, const std::vector<std::uint32_t>& batch, std::uint64_t& locks) {
    std::error_code ec;
    transaction tx{w.media};
    for (std::size_t i = 0; i < batch.size();) {
        ++locks;
        tx.blocking_lock(write(w.buffers[batch[i]]), ec);
        ++i;
        if (ec) {
            tx.blocking_restart(ec);
            i = 0;
        }
    }
    ++w.counts[batch[0]];
}

template <deadlock_policy Policy, std::size_t AtOnce>
void on_threads(benchmark::State& state) {
    constexpr std::size_t batches_each = 20;
    const auto made = make_event_loop(); // it is not run
    world w{*made.loop, Policy};
    std::array<std::uint64_t, AtOnce> locks{};
    for (auto _ : state) {
        state.PauseTiming();
        std::array<std::vector<std::vector<std::uint32_t>>, AtOnce> batches;
        for (auto& each : batches) { each = w.draw_batches(batches_each); }
        state.ResumeTiming();
        std::vector<std::jthread> threads;
        for (std::size_t t = 0; t < AtOnce; ++t) {
            threads.emplace_back([&w, &batches, &locks, t] {
                for (const auto& batch : batches[t]) { block_through(w, batch, locks[t]); }
            });
        }
    }
    std::uint64_t all = 0;
    for (const std::uint64_t each : locks) { all += each; }
    report(state, w, AtOnce * batches_each, all);
}

constexpr auto wound_wait = deadlock_policy::wound_wait;
constexpr auto wait_die = deadlock_policy::wait_die;

BENCHMARK(in_turns<wound_wait, 2>)->Unit(benchmark::kMillisecond);
BENCHMARK(in_turns<wound_wait, 4>)->Unit(benchmark::kMillisecond);
BENCHMARK(in_turns<wound_wait, 16>)->Unit(benchmark::kMillisecond);
BENCHMARK(in_turns<wait_die, 2>)->Unit(benchmark::kMillisecond);
BENCHMARK(in_turns<wait_die, 4>)->Unit(benchmark::kMillisecond);
BENCHMARK(in_turns<wait_die, 16>)->Unit(benchmark::kMillisecond);
BENCHMARK(on_threads<wound_wait, 2>)->Unit(benchmark::kMillisecond)->UseRealTime();
BENCHMARK(on_threads<wound_wait, 4>)->Unit(benchmark::kMillisecond)->UseRealTime();
BENCHMARK(on_threads<wound_wait, 16>)->Unit(benchmark::kMillisecond)->UseRealTime();
BENCHMARK(on_threads<wait_die, 2>)->Unit(benchmark::kMillisecond)->UseRealTime();
BENCHMARK(on_threads<wait_die, 4>)->Unit(benchmark::kMillisecond)->UseRealTime();
BENCHMARK(on_threads<wait_die, 16>)->Unit(benchmark::kMillisecond)->UseRealTime();

} // namespace
