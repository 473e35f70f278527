// SPDX-License-Identifier: MIT
#pragma once
/// \file contest.hpp  Two threads, each on a processor of its own, that lock for a while at the same time.
///
/// Measured is wall time per lock: of a window of some milliseconds, in which both threads do as much as they can, divided by
/// the locks of both. No thread has a number of locks to do: where one of them gets more turns than the other, neither
/// goes on alone after the other has finished, which would be uncontended and look faster.

#include <benchmark/benchmark.h>

#include <algorithm>
#include <array>
#include <atomic>
#include <barrier>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <thread>
#include <utility>
#include <vector>

#include <pthread.h>
#include <sched.h>

namespace bench {

class contest;

/// One thread's part in a window. On cache lines of its own: it is the locks that the threads are to get in each other's way by.
class alignas(128) contestant {
public:
    using clock = std::chrono::steady_clock;

    contestant(contest& c, std::size_t i) noexcept : index{i}, contest_{c} {}

    /// Before each lock: whether there is to be one. The first call waits for the other thread.
    [[nodiscard]] bool goes_on() noexcept;

    const std::size_t index; ///< 0 or 1
    std::uint64_t locks = 0; ///< how many there were; counted by the thread that locks

private:
    friend class contest;

    contest& contest_;
    clock::time_point begin_{};
    clock::time_point end_{};
};

class contest {
public:
    static constexpr std::size_t threads = 2;

    /// What a thread does: `body(contestant&)`, once in every window.
    /// Returns: how many locks there were in all windows.
    template <class Body>
    std::uint64_t run(benchmark::State& state, Body body) {
        const std::array<int, threads> processors = two_processors();
        if (processors[0] == processors[1]) { state.SetLabel("on one processor"); }
        std::vector<std::jthread> pool;
        for (std::size_t i = 0; i < threads; ++i) {
            pool.emplace_back([this, &body, i, on = processors[i]] {
                pin(on);
                for (gate_.arrive_and_wait(); !finished_; gate_.arrive_and_wait()) {
                    body(contestants_[i]);
                    gate_.arrive_and_wait();
                }
            });
        }
        for (auto _ : state) { state.SetIterationTime(window()); }
        finished_ = true;
        gate_.arrive_and_wait();
        const std::uint64_t all = contestants_[0].locks + contestants_[1].locks;
        state.SetItemsProcessed(static_cast<std::int64_t>(all));
        state.counters["share"] = static_cast<double>(contestants_[0].locks) / static_cast<double>(all);
        return all;
    }

private:
    friend class contestant;

    static constexpr std::chrono::milliseconds window_length{10};

    /// Returns: its wall time in seconds, from the first thread's begin to the last one's end.
    double window() {
        ready_ = 0;
        over_ = false;
        for (contestant& each : contestants_) { each.begin_ = {}; }
        gate_.arrive_and_wait();
        std::this_thread::sleep_for(window_length);
        over_.store(true, std::memory_order_relaxed); // orders nothing: the threads look at it before each lock
        gate_.arrive_and_wait();
        const auto [a, b] = std::pair{contestants_[0], contestants_[1]};
        return std::chrono::duration<double>(std::max(a.end_, b.end_) - std::min(a.begin_, b.begin_)).count();
    }

    /// The first two that this process may use; the same one twice when there is no other.
    [[nodiscard]] static std::array<int, threads> two_processors() noexcept {
        cpu_set_t usable;
        CPU_ZERO(&usable);
        ::sched_getaffinity(0, sizeof usable, &usable);
        std::array<int, threads> found{};
        std::size_t count = 0;
        for (int i = 0; i < CPU_SETSIZE && count < threads; ++i) {
            if (CPU_ISSET(i, &usable)) { found[count++] = i; }
        }
        if (count == 1) { found[1] = found[0]; }
        return found;
    }

    static void pin(int processor) noexcept {
        cpu_set_t one;
        CPU_ZERO(&one);
        CPU_SET(processor, &one);
        ::pthread_setaffinity_np(::pthread_self(), sizeof one, &one);
    }

    std::barrier<> gate_{threads + 1};
    std::atomic<std::size_t> ready_{0};
    alignas(128) std::atomic<bool> over_{false};
    bool finished_ = false; // read and written on different sides of the gate
    std::array<contestant, threads> contestants_{contestant{*this, 0}, contestant{*this, 1}};
};

inline bool contestant::goes_on() noexcept {
    if (begin_ == clock::time_point{}) [[unlikely]] {
        contest_.ready_.fetch_add(1);
        while (contest_.ready_.load() != contest::threads) {}
        begin_ = clock::now();
    }
    if (!contest_.over_.load(std::memory_order_relaxed)) [[likely]] { return true; }
    end_ = clock::now();
    return false;
}

} // namespace bench
