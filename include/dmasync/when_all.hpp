// SPDX-License-Identifier: MIT
#pragma once
/// \file when_all.hpp  Several tasks at once, awaited as one.

#include <dmasync/task.hpp>

#include <array>
#include <atomic>
#include <concepts>
#include <coroutine>
#include <cstddef>
#include <utility>

namespace dmasync {

namespace detail {

/// Counts the tasks that have not ended, and the awaiter itself until it has started them all.
class join_counter {
public:
    explicit join_counter(std::size_t tasks) noexcept : left_{tasks + 1} {}

    void await_on(std::coroutine_handle<> h) noexcept { waiter_ = h; }

    /// Returns: whether that was the last one. Results of the others are visible then.
    [[nodiscard]] bool arrive() noexcept { return left_.fetch_sub(1, std::memory_order_acq_rel) == 1; } // with itself

    void resume_waiter() const { waiter_.resume(); }

private:
    std::atomic<std::size_t> left_;
    std::coroutine_handle<> waiter_;
};

/// Awaits a task and leaves its result, or its exception, where it is.
struct completion : task<>::awaiter {
    explicit completion(const task<>& t) noexcept : awaiter{t.operator co_await()} {}
    void await_resume() const noexcept {}
};

inline detached run_and_arrive(const task<>& t, join_counter& counter) {
    co_await completion{t};
    if (counter.arrive()) { counter.resume_waiter(); }
}

template <class... Tasks>
class start_all {
public:
    explicit start_all(const Tasks&... tasks) noexcept : counter_{sizeof...(Tasks)}, tasks_{&tasks...} {}

    [[nodiscard]] bool await_ready() const noexcept { return false; }
    [[nodiscard]] bool await_suspend(std::coroutine_handle<> h) {
        counter_.await_on(h);
        for (const task<>* t : tasks_) { run_and_arrive(*t, counter_); }
        return !counter_.arrive();
    }
    void await_resume() const noexcept {}

private:
    join_counter counter_;
    std::array<const task<>*, sizeof...(Tasks)> tasks_;
};

} // namespace detail

/// Runs tasks beside each other: starts them in the order given, each until it first waits, and ends when all have.
/// Errors:  the exception of the first task in that order that threw one, after all have ended; nobody is cancelled.
/// Threads: starts all where it is awaited; goes on wherever the last one ended.
template <std::same_as<task<>>... Tasks>
    requires(sizeof...(Tasks) > 0)
task<> when_all(Tasks... tasks) {
    co_await detail::start_all<Tasks...>{tasks...};
    (tasks.operator co_await().await_resume(), ...);
}

} // namespace dmasync
