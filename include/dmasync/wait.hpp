// SPDX-License-Identifier: MIT
#pragma once
/// \file wait.hpp  Coroutines wait for a time, for a descriptor, or for their turn on a loop.
///
/// All of them take `wait_options` and, as their last argument, a std::error_code. Without it an error is thrown as
/// std::system_error.
/// Errors: `errc::cancelled` when stop was requested first, `errc::timed_out` when the deadline passed first,
///         `errc::out_of_memory` for a wait that can be stopped, `event_loop::error()` when the loop has failed.

#include <dmasync/detail/loop/loop_wait.hpp>
#include <dmasync/error.hpp>
#include <dmasync/event_loop.hpp>
#include <dmasync/version.hpp>
#include <dmasync/wait_options.hpp>

#include <algorithm>
#include <chrono>
#include <coroutine>
#include <system_error>

#include <poll.h>

namespace dmasync::inline DMASYNC_ABI {

/// What `sleep_until` gives. Destroying the waiting coroutine, on the loop's thread, takes its timer back.
class [[nodiscard]] sleep_awaitable : detail::loop_wait {
public:
    sleep_awaitable(event_loop& loop, event_loop::time_point until, const wait_options& options,
                    std::error_code* ec) noexcept
        : loop_wait{loop, options, ec, judge}, until_{until} {}

    [[nodiscard]] bool await_ready() noexcept { return is_refused(); }
    [[nodiscard]] bool await_suspend(std::coroutine_handle<> h) noexcept {
        return begin(h, std::min(until_, options_.deadline));
    }
    void await_resume() const { detail::deliver(outcome_, ec_, "dmasync: sleep"); }

private:
    static std::error_code judge(loop_wait& w, event) noexcept {
        const auto& self = static_cast<sleep_awaitable&>(w);
        return self.until_ <= self.options_.deadline ? std::error_code{} : make_error_code(errc::timed_out);
    }

    event_loop::time_point until_;
};

/// Resumes once the loop's time has reached `until`, never early. Where it has already, that is a `yield`.
/// Threads: the loop's; resumes there.
[[nodiscard]] inline sleep_awaitable sleep_until(event_loop& loop, event_loop::time_point until,
                                                 const wait_options& options = {}) noexcept {
    return {loop, until, options, nullptr};
}
[[nodiscard]] inline sleep_awaitable sleep_until(event_loop& loop, event_loop::time_point until,
                                                 const wait_options& options, std::error_code& ec) noexcept {
    return {loop, until, options, &ec};
}
[[nodiscard]] inline sleep_awaitable sleep_until(event_loop& loop, event_loop::time_point until,
                                                 std::error_code& ec) noexcept {
    return {loop, until, {}, &ec};
}

/// The same, `duration` from now; never where that is beyond the end of time.
[[nodiscard]] inline sleep_awaitable sleep_for(event_loop& loop, event_loop::clock::duration duration,
                                               const wait_options& options = {}) noexcept {
    return {loop, event_loop::later(loop.now(), duration), options, nullptr};
}
[[nodiscard]] inline sleep_awaitable sleep_for(event_loop& loop, event_loop::clock::duration duration,
                                               const wait_options& options, std::error_code& ec) noexcept {
    return {loop, event_loop::later(loop.now(), duration), options, &ec};
}
[[nodiscard]] inline sleep_awaitable sleep_for(event_loop& loop, event_loop::clock::duration duration,
                                               std::error_code& ec) noexcept {
    return {loop, event_loop::later(loop.now(), duration), {}, &ec};
}

/// Resumes once all else has had its turn: what was posted to the loop, timers that are due, descriptors that are ready.
///
/// For a coroutine that could go on for long without waiting for anything: locks that are free do not suspend.
/// Threads: the loop's; resumes there.
[[nodiscard]] inline sleep_awaitable yield(event_loop& loop) noexcept { return sleep_for(loop, {}); }
[[nodiscard]] inline sleep_awaitable yield(event_loop& loop, std::error_code& ec) noexcept {
    return sleep_for(loop, {}, ec);
}

/// What `readable` and `writable` give. Destroying the waiting coroutine, on the loop's thread, takes its watch back.
class [[nodiscard]] ready_awaitable : detail::loop_wait {
public:
    ready_awaitable(event_loop& loop, int fd, short events, const wait_options& options, std::error_code* ec) noexcept
        : loop_wait{loop, options, ec, judge}, asked_{fd, events, 0} {}

    [[nodiscard]] bool await_ready() noexcept {
        if (is_refused()) { return true; }
        if (options_.deadline == event_loop::time_point::max() || loop_.now() < options_.deadline) { return false; }
        outcome_ = judge(*this, event::alarm);
        return true;
    }
    [[nodiscard]] bool await_suspend(std::coroutine_handle<> h) noexcept { return begin(h, asked_.fd, asked_.events); }

    /// Returns: the poll(2) bits that were found; none with an error.
    short await_resume() const {
        detail::deliver(outcome_, ec_, "dmasync: wait for a descriptor");
        return asked_.revents;
    }

private:
    static std::error_code judge(loop_wait& w, event e) noexcept {
        auto& self = static_cast<ready_awaitable&>(w);
        if (e == event::ready) {
            self.asked_.revents = self.watch_.revents;
        } else if (::poll(&self.asked_, 1, 0) <= 0) { // both in one turn: then it was not late
            return errc::timed_out;
        } else if ((self.asked_.revents & POLLNVAL) != 0) {
            self.asked_.revents = 0;
            return std::make_error_code(std::errc::bad_file_descriptor);
        }
        return {};
    }

    pollfd asked_; // revents: the answer
};

/// Resumes once a descriptor is readable, has an error or was hung up. It stays open meanwhile; no dma-buf (see
/// `event_loop::watch`).
/// Errors:  also what the kernel says of the descriptor.
/// Threads: the loop's; resumes there.
[[nodiscard]] inline ready_awaitable readable(event_loop& loop, int fd, const wait_options& options = {}) noexcept {
    return {loop, fd, POLLIN, options, nullptr};
}
[[nodiscard]] inline ready_awaitable readable(event_loop& loop, int fd, const wait_options& options,
                                              std::error_code& ec) noexcept {
    return {loop, fd, POLLIN, options, &ec};
}
[[nodiscard]] inline ready_awaitable readable(event_loop& loop, int fd, std::error_code& ec) noexcept {
    return {loop, fd, POLLIN, {}, &ec};
}

/// The same for writing.
[[nodiscard]] inline ready_awaitable writable(event_loop& loop, int fd, const wait_options& options = {}) noexcept {
    return {loop, fd, POLLOUT, options, nullptr};
}
[[nodiscard]] inline ready_awaitable writable(event_loop& loop, int fd, const wait_options& options,
                                              std::error_code& ec) noexcept {
    return {loop, fd, POLLOUT, options, &ec};
}
[[nodiscard]] inline ready_awaitable writable(event_loop& loop, int fd, std::error_code& ec) noexcept {
    return {loop, fd, POLLOUT, {}, &ec};
}

/// What `resume_on` gives. The coroutine must not be destroyed while it waits for its turn: it cannot be taken back.
class [[nodiscard]] turn_awaitable {
public:
    turn_awaitable(event_loop& loop, const wait_options& options, std::error_code* ec) noexcept
        : loop_{loop}, options_{options}, ec_{ec}, turn_{*this} {}
    turn_awaitable(const turn_awaitable&) = delete;
    turn_awaitable& operator=(const turn_awaitable&) = delete;

    [[nodiscard]] bool await_ready() noexcept {
        outcome_ = loop_.error();
        if (!outcome_ && !loop_.in_this_thread()) { return false; }
        judge();
        return true;
    }
    void await_suspend(std::coroutine_handle<> h) noexcept {
        waiter_ = h;
        loop_.post(turn_); // may run on another thread at once: nothing of `this` is touched after it
    }
    void await_resume() const { detail::deliver(outcome_, ec_, "dmasync: resume on a loop"); }

private:
    struct turn : work {
        explicit turn(turn_awaitable& t) noexcept : work{take}, owner{t} {}
        static void take(work& w, disposition d) noexcept {
            if (d == disposition::discard) { return; }
            turn_awaitable& self = static_cast<turn&>(w).owner;
            self.judge();
            self.waiter_.resume();
        }
        turn_awaitable& owner;
    };

    void judge() noexcept {
        if (outcome_) { return; }
        if (options_.stop.requested()) {
            outcome_ = errc::cancelled;
        } else if (options_.deadline != event_loop::time_point::max() && loop_.now() >= options_.deadline) {
            outcome_ = errc::timed_out;
        }
    }

    event_loop& loop_;
    wait_options options_;
    std::error_code* ec_;
    std::error_code outcome_;
    std::coroutine_handle<> waiter_;
    turn turn_;
};

/// Goes on on the loop's thread; in place when it is there already (`yield` lets others have a turn). A loop that is destroyed
/// first never resumes it.
///
/// It goes on there with an error, too: a coroutine is never on a thread that it did not ask for. Whether stop was requested or
/// the deadline has passed is judged on arrival. Only where the loop has failed already it stays where it is.
/// Threads: any.
[[nodiscard]] inline turn_awaitable resume_on(event_loop& loop, const wait_options& options = {}) noexcept {
    return {loop, options, nullptr};
}
[[nodiscard]] inline turn_awaitable resume_on(event_loop& loop, const wait_options& options,
                                              std::error_code& ec) noexcept {
    return {loop, options, &ec};
}
[[nodiscard]] inline turn_awaitable resume_on(event_loop& loop, std::error_code& ec) noexcept {
    return {loop, {}, &ec};
}

} // namespace dmasync::inline DMASYNC_ABI
