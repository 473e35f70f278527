// SPDX-License-Identifier: MIT
#pragma once
/// \file task.hpp  A small coroutine type. Optional: every awaitable of the library works in any other as well.

#include <dmasync/detail/loop/detached.hpp>
#include <dmasync/detail/sync/back_off.hpp>
#include <dmasync/detail/sync/threading.hpp>
#include <dmasync/error.hpp>
#include <dmasync/event_loop.hpp>
#include <dmasync/version.hpp>

#include <atomic>
#include <coroutine>
#include <cstdlib>
#include <exception>
#include <optional>
#include <type_traits>
#include <utility>

namespace dmasync::inline DMASYNC_ABI {

template <class T>
class task;

namespace detail {

/// What promises of all results share: what goes on when the task is done.
///
/// A task starts inside its awaiter's `await_ready`, so that one that never suspends costs no stack, whatever the
/// compiler makes of symmetric transfer. That leaves a race when it ends on another thread before the awaiter has
/// suspended: it then waits there for the few instructions until the awaiter has, asleep when they take long, for a thread
/// of higher priority may have taken the awaiter's processor.
class task_promise_base {
public:
    [[nodiscard]] std::suspend_always initial_suspend() const noexcept { return {}; }

    struct final_awaiter {
        final_awaiter() noexcept {} // NOLINT(modernize-use-equals-default): GCC 12 miscompiles aggregates in co_await
        [[nodiscard]] bool await_ready() const noexcept { return false; }
        template <class Promise>
        [[nodiscard]] std::coroutine_handle<> await_suspend(std::coroutine_handle<Promise> h) const noexcept {
            return h.promise().successor();
        }
        void await_resume() const noexcept {}
    };
    [[nodiscard]] final_awaiter final_suspend() const noexcept { return {}; }

    /// Runs the task until it first suspends. Returns: whether it has ended on this thread by then.
    /// Errors: aborts when it has been started before: it would be resumed at its end, or where it waits.
    [[nodiscard]] bool start(std::coroutine_handle<> self) noexcept {
        if (starter_ != detail::thread_id{}) [[unlikely]] { misuse("a task is run or awaited twice"); }
        starter_ = detail::this_thread_id();
        self.resume();
        return ended_in_start_;
    }

    /// Names what goes on; the awaiter has been suspended.
    void continue_with(std::coroutine_handle<> h) noexcept {
        continuation_.store(h.address(), std::memory_order_release); // with successor
    }

private:
    [[nodiscard]] std::coroutine_handle<> successor() noexcept {
        void* next = continuation_.load(std::memory_order_acquire); // with continue_with
        if (next == nullptr && starter_ == detail::this_thread_id()) {
            ended_in_start_ = true;
            return std::noop_coroutine();
        }
        for (back_off wait; next == nullptr; next = continuation_.load(std::memory_order_acquire)) { wait.pause(); }
        return std::coroutine_handle<>::from_address(next);
    }

    detail::atomic<void*> continuation_{nullptr};
    detail::thread_id starter_{}; // none before it starts
    bool ended_in_start_ = false; // written and read by the starter only
};

/// A promise's result: a value, nothing, or an exception.
template <class T>
class task_promise : public task_promise_base {
public:
    [[nodiscard]] task<T> get_return_object() noexcept;

    template <class U>
    void return_value(U&& value) noexcept(std::is_nothrow_constructible_v<T, U>) {
        value_.emplace(std::forward<U>(value));
    }

    void unhandled_exception() noexcept {
#if defined(__cpp_exceptions)
        failure_ = std::current_exception();
#else
        std::abort();
#endif
    }

    [[nodiscard]] T take() {
#if defined(__cpp_exceptions)
        if (failure_) { std::rethrow_exception(std::exchange(failure_, nullptr)); }
#endif
        return std::move(*value_);
    }

private:
    std::optional<T> value_;
    std::exception_ptr failure_;
};

template <>
class task_promise<void> : public task_promise_base {
public:
    [[nodiscard]] task<void> get_return_object() noexcept;

    void return_void() const noexcept {}

    void unhandled_exception() noexcept {
#if defined(__cpp_exceptions)
        failure_ = std::current_exception();
#else
        std::abort();
#endif
    }

    void take() {
#if defined(__cpp_exceptions)
        if (failure_) { std::rethrow_exception(std::exchange(failure_, nullptr)); }
#endif
    }

private:
    std::exception_ptr failure_;
};

} // namespace detail

/// A coroutine that starts when it is awaited and gives one `T`. Move-only; destroying it destroys its coroutine.
///
/// Run by `loop.run(task)` or by awaiting it, once: twice, or after it has been moved from, prints a line and aborts. An exception that leaves it is thrown where it is awaited. A loop that
/// awaits tasks that never suspend does not grow the stack.
/// Threads: goes on wherever the last thing it awaited resumed it, and so does what awaits it.
/// Traps:   pass state as parameters; a lambda's captures die with the lambda, not with the coroutine.
template <class T = void>
class [[nodiscard]] [[gnu::warn_unused]] task {
public:
    using promise_type = detail::task_promise<T>;

    task(task&& other) noexcept : coroutine_{std::exchange(other.coroutine_, nullptr)} {}
    task& operator=(task&& other) noexcept {
        std::swap(coroutine_, other.coroutine_);
        return *this;
    }
    ~task() {
        if (coroutine_) { coroutine_.destroy(); }
    }

    class awaiter {
    public:
        explicit awaiter(std::coroutine_handle<promise_type> c) noexcept : coroutine_{c} {}
        [[nodiscard]] bool await_ready() const noexcept {
            if (!coroutine_) [[unlikely]] { detail::misuse("a task is run or awaited that has been moved from"); }
            return coroutine_.promise().start(coroutine_);
        }
        void await_suspend(std::coroutine_handle<> h) const noexcept { coroutine_.promise().continue_with(h); }
        T await_resume() const { return coroutine_.promise().take(); }

    private:
        std::coroutine_handle<promise_type> coroutine_;
    };

    /// Runs the task. The task outlives the `co_await` expression, as it does when it is a temporary of it.
    [[nodiscard]] awaiter operator co_await() const noexcept { return awaiter{coroutine_}; }

    /// Runs a loop, and the task on it, until the task is done: `loop.run(task)` calls this.
    /// Returns or throws what the task does. Aborts when the loop is stopped before. Afterwards the loop may be destroyed,
    /// on whatever thread the task has ended.
    T run_on(event_loop& loop) && {
        run_state state{*this, loop};
        loop.post(state);
        loop.run_until_stopped();
        if (!state.done) { detail::misuse("event_loop stopped while it ran a task"); }
        state.wait_until_left();
        return coroutine_.promise().take();
    }

private:
    friend promise_type;

    struct run_state : work {
        run_state(task& t, event_loop& l) noexcept : work{start}, subject{t}, loop{l} {}

        static void start(work& w, disposition d) noexcept {
            if (d == disposition::run) { drive(static_cast<run_state&>(w)); }
        }

        static detail::detached drive(run_state& s) {
            co_await awaiter_without_result{s.subject.coroutine_};
            s.done = true;
            s.loop.stop();
            s.left.store(true, std::memory_order_release); // with wait_until_left
        }

        /// The task may have ended on another thread, which is still inside the loop then.
        void wait_until_left() const noexcept {
            detail::back_off wait;
            while (!left.load(std::memory_order_acquire)) { wait.pause(); } // with drive
        }

        task& subject;
        event_loop& loop;
        bool done = false;                // the task has ended
        detail::atomic<bool> left{false}; // and nothing uses the loop, or this object, on its account
    };

    struct awaiter_without_result : awaiter {
        explicit awaiter_without_result(std::coroutine_handle<promise_type> c) noexcept : awaiter{c} {}
        void await_resume() const noexcept {}
    };

    explicit task(std::coroutine_handle<promise_type> c) noexcept : coroutine_{c} {}

    std::coroutine_handle<promise_type> coroutine_;
};

namespace detail {

template <class T>
task<T> task_promise<T>::get_return_object() noexcept {
    return task<T>{std::coroutine_handle<task_promise<T>>::from_promise(*this)};
}

inline task<void> task_promise<void>::get_return_object() noexcept {
    return task<void>{std::coroutine_handle<task_promise<void>>::from_promise(*this)};
}

} // namespace detail

} // namespace dmasync::inline DMASYNC_ABI
