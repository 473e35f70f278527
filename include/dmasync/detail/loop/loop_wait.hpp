// SPDX-License-Identifier: MIT
#pragma once
/// \file loop_wait.hpp  One wait of a coroutine on a loop, and its one outcome.

#include <dmasync/detail/loop/stop_relay.hpp>
#include <dmasync/error.hpp>
#include <dmasync/event_loop.hpp>
#include <dmasync/version.hpp>
#include <dmasync/wait_options.hpp>

#include <coroutine>
#include <system_error>

namespace dmasync::inline DMASYNC_ABI::detail {

/// Waits until a descriptor is ready, a time has come, stop is requested, or the loop fails. All of them come to the loop's
/// thread, and the first to arrive there decides. Destroying it, on that thread, takes everything back.
class loop_wait {
public:
    loop_wait(const loop_wait&) = delete;
    loop_wait& operator=(const loop_wait&) = delete;

protected:
    enum class event { ready, alarm };
    using function = std::error_code(loop_wait&, event) noexcept;

    /// `judge` says what an event of this wait means.
    loop_wait(event_loop& loop, const wait_options& options, std::error_code* ec, function& judge) noexcept
        : loop_{loop}, options_{options}, ec_{ec}, watch_{*this}, judge_{&judge}, alarm_{*this}, stop_{*this} {}
    ~loop_wait() { withdraw(); }

    /// Whether there is no need to begin: stop was requested, or the loop has failed.
    [[nodiscard]] bool is_refused() noexcept {
        outcome_ = loop_.error();
        if (!outcome_ && options_.stop.requested()) { outcome_ = errc::cancelled; }
        return static_cast<bool>(outcome_);
    }

    /// Waits for a descriptor until the deadline. Returns: whether the coroutine has to wait.
    [[nodiscard]] bool begin(std::coroutine_handle<> waiter, int fd, short events) noexcept {
        watch_.fd = fd;
        watch_.events = events;
        outcome_ = loop_.watch(watch_);
        return begin(waiter, options_.deadline);
    }

    /// Waits until a time. Returns: whether the coroutine has to wait.
    [[nodiscard]] bool begin(std::coroutine_handle<> waiter, event_loop::time_point until) noexcept {
        waiter_ = waiter;
        if (!outcome_ && !stop_.start(loop_, options_.stop.get())) { outcome_ = errc::out_of_memory; }
        if (outcome_) {
            withdraw();
        } else if (until != event_loop::time_point::max() || !watch_.active) { // hears of the loop's end by one of them
            loop_.arm(alarm_, until);
        }
        return !outcome_;
    }

    struct watch : fd_watch {
        explicit watch(loop_wait& o) noexcept : fd_watch{ready}, owner{o} {}
        static void ready(work& w, disposition d) noexcept { static_cast<watch&>(w).owner.take(event::ready, d); }
        loop_wait& owner;
    };

    event_loop& loop_;
    wait_options options_;
    std::error_code* ec_;
    std::error_code outcome_;
    watch watch_; // active while a descriptor is waited for

private:
    struct alarm : timer {
        explicit alarm(loop_wait& o) noexcept : timer{ring}, owner{o} {}
        static void ring(work& w, disposition d) noexcept { static_cast<alarm&>(w).owner.take(event::alarm, d); }
        loop_wait& owner;
    };

    struct stop_request : stop_relay {
        explicit stop_request(loop_wait& o) noexcept : stop_relay{requested}, owner{o} {}
        static void requested(stop_relay& r) noexcept { static_cast<stop_request&>(r).owner.end(errc::cancelled); }
        loop_wait& owner;
    };

    void take(event e, disposition d) noexcept {
        switch (d) {
        case disposition::run: end(judge_(*this, e)); break;
        case disposition::fail: end(loop_.error()); break;
        case disposition::discard: withdraw(); break; // a stop request has no loop any more to be posted to
        }
    }

    void end(std::error_code outcome) noexcept {
        withdraw();
        outcome_ = outcome;
        waiter_.resume();
    }

    void withdraw() noexcept {
        stop_.cancel();
        if (alarm_.armed()) { loop_.disarm(alarm_); }
        if (watch_.active) { loop_.unwatch(watch_); }
    }

    function* judge_;
    std::coroutine_handle<> waiter_;
    alarm alarm_; // armed while it waits until a time
    stop_request stop_;
};

} // namespace dmasync::inline DMASYNC_ABI::detail
