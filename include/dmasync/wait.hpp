// SPDX-License-Identifier: MIT
#pragma once
/// \file wait.hpp  Coroutines wait for a time, for a descriptor, or for their turn on a loop.

#include <dmasync/error.hpp>
#include <dmasync/event_loop.hpp>

#include <chrono>
#include <coroutine>
#include <system_error>
#include <utility>

#include <poll.h>

namespace dmasync {

/// What `sleep_until` gives. Destroying the waiting coroutine, on the loop's thread, takes its timer back.
class [[nodiscard]] sleep_awaitable {
public:
    sleep_awaitable(event_loop& loop, event_loop::time_point until) noexcept
        : loop_{loop}, until_{until}, alarm_{*this} {}
    sleep_awaitable(const sleep_awaitable&) = delete;
    sleep_awaitable& operator=(const sleep_awaitable&) = delete;
    ~sleep_awaitable() {
        if (alarm_.armed()) { loop_.disarm(alarm_); }
    }

    [[nodiscard]] bool await_ready() const noexcept { return until_ <= loop_.now(); }
    void await_suspend(std::coroutine_handle<> h) noexcept {
        waiter_ = h;
        loop_.arm(alarm_, until_);
    }
    void await_resume() const noexcept {}

private:
    struct alarm : timer {
        explicit alarm(sleep_awaitable& s) noexcept : timer{ring}, owner{s} {}
        static void ring(work& w, disposition d) noexcept {
            if (d == disposition::run) { static_cast<alarm&>(w).owner.waiter_.resume(); }
        }
        sleep_awaitable& owner;
    };

    event_loop& loop_;
    event_loop::time_point until_;
    std::coroutine_handle<> waiter_;
    alarm alarm_;
};

/// Resumes once the loop's time has reached `until`, never early; does not suspend when it has already.
/// Threads: the loop's; resumes there.
[[nodiscard]] inline sleep_awaitable sleep_until(event_loop& loop, event_loop::time_point until) noexcept {
    return {loop, until};
}

/// The same, `duration` from now; never where that is beyond the end of time.
[[nodiscard]] inline sleep_awaitable sleep_for(event_loop& loop, event_loop::clock::duration duration) noexcept {
    return {loop, event_loop::later(loop.now(), duration)};
}

/// What `readable` and `writable` give. Destroying the waiting coroutine, on the loop's thread, takes its watch back.
class [[nodiscard]] ready_awaitable {
public:
    ready_awaitable(event_loop& loop, int fd, short events, std::error_code* ec) noexcept
        : loop_{loop}, ec_{ec}, watch_{*this} {
        watch_.fd = fd;
        watch_.events = events;
    }
    ready_awaitable(const ready_awaitable&) = delete;
    ready_awaitable& operator=(const ready_awaitable&) = delete;
    ~ready_awaitable() {
        if (watch_.active) { loop_.unwatch(watch_); }
    }

    [[nodiscard]] bool await_ready() const noexcept { return false; }
    [[nodiscard]] bool await_suspend(std::coroutine_handle<> h) noexcept {
        waiter_ = h;
        failure_ = loop_.watch(watch_);
        return !failure_;
    }

    /// Returns: the poll(2) bits that were found.
    short await_resume() const {
        detail::deliver(failure_, ec_, "dmasync: wait for a descriptor");
        return watch_.revents;
    }

private:
    struct watch : fd_watch {
        explicit watch(ready_awaitable& r) noexcept : fd_watch{ready}, owner{r} {}
        static void ready(work& w, disposition d) noexcept {
            if (d == disposition::run) { static_cast<watch&>(w).owner.waiter_.resume(); }
        }
        ready_awaitable& owner;
    };

    event_loop& loop_;
    std::error_code* ec_;
    std::error_code failure_;
    std::coroutine_handle<> waiter_;
    watch watch_;
};

/// Resumes once a descriptor is readable, has an error or was hung up. It stays open meanwhile; no dma-buf (see
/// `event_loop::watch`).
/// Errors:  what the kernel says of the descriptor; thrown as std::system_error, or set in a trailing std::error_code.
/// Threads: the loop's; resumes there.
[[nodiscard]] inline ready_awaitable readable(event_loop& loop, int fd) noexcept { return {loop, fd, POLLIN, nullptr}; }
[[nodiscard]] inline ready_awaitable readable(event_loop& loop, int fd, std::error_code& ec) noexcept {
    return {loop, fd, POLLIN, &ec};
}

/// The same for writing.
[[nodiscard]] inline ready_awaitable writable(event_loop& loop, int fd) noexcept {
    return {loop, fd, POLLOUT, nullptr};
}
[[nodiscard]] inline ready_awaitable writable(event_loop& loop, int fd, std::error_code& ec) noexcept {
    return {loop, fd, POLLOUT, &ec};
}

/// What `resume_on` gives. The coroutine must not be destroyed while it waits for its turn: it cannot be taken back.
class [[nodiscard]] turn_awaitable {
public:
    explicit turn_awaitable(event_loop& loop) noexcept : loop_{loop}, turn_{*this} {}
    turn_awaitable(const turn_awaitable&) = delete;
    turn_awaitable& operator=(const turn_awaitable&) = delete;

    [[nodiscard]] bool await_ready() const noexcept { return loop_.in_this_thread(); }
    void await_suspend(std::coroutine_handle<> h) noexcept {
        waiter_ = h;
        loop_.post(turn_); // may run on another thread at once: nothing of `this` is touched after it
    }
    void await_resume() const noexcept {}

private:
    struct turn : work {
        explicit turn(turn_awaitable& t) noexcept : work{take}, owner{t} {}
        static void take(work& w, disposition d) noexcept {
            if (d == disposition::run) { static_cast<turn&>(w).owner.waiter_.resume(); }
        }
        turn_awaitable& owner;
    };

    event_loop& loop_;
    std::coroutine_handle<> waiter_;
    turn turn_;
};

/// Goes on on the loop's thread; at once when it is there already. A loop that is destroyed first never resumes it.
/// Threads: any.
[[nodiscard]] inline turn_awaitable resume_on(event_loop& loop) noexcept { return turn_awaitable{loop}; }

} // namespace dmasync
