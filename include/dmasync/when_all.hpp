// SPDX-License-Identifier: MIT
#pragma once
/// \file when_all.hpp  Several tasks at once, awaited as one.

#include <dmasync/detail/sync/threading.hpp>
#include <dmasync/task.hpp>
#include <dmasync/version.hpp>

#include <array>
#include <atomic>
#include <concepts>
#include <coroutine>
#include <cstddef>
#include <cstdlib>
#include <utility>

namespace dmasync::inline DMASYNC_ABI {

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
    detail::atomic<std::size_t> left_;
    std::coroutine_handle<> waiter_;
};

/// Awaits a task and leaves its result, or its exception, where it is.
struct completion : task<>::awaiter {
    explicit completion(const task<>& t) noexcept : awaiter{t.operator co_await()} {}
    void await_resume() const noexcept {}
};

/// A coroutine that runs a task and counts it. Owned: it rests at its end until it is destroyed.
class [[nodiscard]] arrival {
public:
    class promise_type {
    public:
        promise_type(const task<>&, join_counter& counter) noexcept : counter_{counter} {}

        [[nodiscard]] arrival get_return_object() noexcept {
            return arrival{std::coroutine_handle<promise_type>::from_promise(*this)};
        }
        [[nodiscard]] std::suspend_always initial_suspend() const noexcept { return {}; }

        struct final_awaiter {
            explicit final_awaiter(join_counter& c) noexcept : counter{c} {}
            [[nodiscard]] bool await_ready() const noexcept { return false; }
            /// The last one resumes the waiter, which destroys the others: nothing of them is touched afterwards.
            void await_suspend(std::coroutine_handle<>) const noexcept {
                join_counter& c = counter;
                if (c.arrive()) { c.resume_waiter(); }
            }
            void await_resume() const noexcept {}
            join_counter& counter;
        };
        [[nodiscard]] final_awaiter final_suspend() const noexcept { return final_awaiter{counter_}; }

        void return_void() const noexcept {}
        [[noreturn]] void unhandled_exception() const noexcept { std::abort(); }

    private:
        join_counter& counter_;
    };

    arrival(const arrival&) = delete;
    arrival& operator=(const arrival&) = delete;
    ~arrival() { coroutine_.destroy(); }

    void start() const { coroutine_.resume(); }

private:
    explicit arrival(std::coroutine_handle<promise_type> c) noexcept : coroutine_{c} {}

    std::coroutine_handle<promise_type> coroutine_;
};

inline arrival run_and_arrive(const task<>& t, join_counter& /*read by the promise*/) { co_await completion{t}; }

/// Makes all the coroutines that it needs before it starts one, so that it fails before anything has happened.
template <class... Tasks>
class start_all {
public:
    explicit start_all(const Tasks&... tasks)
        : counter_{sizeof...(Tasks)}, arrivals_{{run_and_arrive(tasks, counter_)...}} {}

    [[nodiscard]] bool await_ready() const noexcept { return false; }
    [[nodiscard]] bool await_suspend(std::coroutine_handle<> h) {
        counter_.await_on(h);
        for (const arrival& a : arrivals_) { a.start(); }
        return !counter_.arrive();
    }
    void await_resume() const noexcept {}

private:
    join_counter counter_; // before those that count
    std::array<arrival, sizeof...(Tasks)> arrivals_;
};

} // namespace detail

/// Runs tasks beside each other: starts them in the order given, each until it first waits, and ends when all have.
/// Errors:  the exception of the first task in that order that threw one, after all have ended; none is cancelled.
///          std::bad_alloc before any is started. Destroying it while it waits destroys those that have not ended.
/// Threads: starts all where it is awaited; goes on wherever the last one ended.
template <std::same_as<task<>>... Tasks>
    requires(sizeof...(Tasks) > 0)
task<> when_all(Tasks... tasks) {
    co_await detail::start_all<Tasks...>{tasks...};
    (tasks.operator co_await().await_resume(), ...);
}

} // namespace dmasync::inline DMASYNC_ABI
