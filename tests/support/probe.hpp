// SPDX-License-Identifier: MIT
#pragma once
/// \file probe.hpp  The smallest coroutine type a test can do with: starts at once, tells whether it is done, can be
/// destroyed half-way. Foreign to the library: it shares nothing with `dmasync::task`.

#include <coroutine>
#include <cstdlib>
#include <utility>

class probe {
public:
    struct promise_type {
        probe get_return_object() noexcept { return probe{std::coroutine_handle<promise_type>::from_promise(*this)}; }
        std::suspend_never initial_suspend() const noexcept { return {}; }
        std::suspend_always final_suspend() const noexcept { return {}; }
        void return_void() const noexcept {}
        [[noreturn]] void unhandled_exception() const noexcept { std::abort(); }
    };

    probe() noexcept = default;
    probe(probe&& other) noexcept : coroutine_{std::exchange(other.coroutine_, nullptr)} {}
    probe& operator=(probe&& other) noexcept {
        std::swap(coroutine_, other.coroutine_);
        return *this;
    }
    ~probe() { destroy(); }

    bool done() const noexcept { return coroutine_ && coroutine_.done(); }

    /// Ends the coroutine where it is.
    void destroy() noexcept {
        if (coroutine_) { std::exchange(coroutine_, nullptr).destroy(); }
    }

private:
    explicit probe(std::coroutine_handle<promise_type> c) noexcept : coroutine_{c} {}

    std::coroutine_handle<promise_type> coroutine_;
};
