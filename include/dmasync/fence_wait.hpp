// SPDX-License-Identifier: MIT
#pragma once
/// \file fence_wait.hpp  A coroutine waits for a fence, until a deadline or a stop request: what `fence::wait` gives.

#include <dmasync/detail/stop_relay.hpp>
#include <dmasync/detail/sync_file.hpp>
#include <dmasync/error.hpp>
#include <dmasync/event_loop.hpp>
#include <dmasync/stop_ref.hpp>

#include <coroutine>
#include <stop_token>
#include <system_error>
#include <type_traits>

#include <poll.h>

namespace dmasync {

/// How long to wait for a fence, and what ends the wait before.
///
/// Trivially destructible on purpose: GCC 12 destroys a braced aggregate inside a `co_await` twice.
struct fence_wait_options {
    event_loop::time_point deadline = event_loop::time_point::max(); ///< on the loop's clock
    stop_ref stop{};                                                 ///< gives up when stop is requested
};
static_assert(std::is_trivially_destructible_v<fence_wait_options>);

/// What `fence::wait` gives. Awaitable once; destroying the waiting coroutine, on the loop's thread, takes everything back.
///
/// The fence, its deadline and a stop request come to the loop's thread, and the first to arrive there decides.
class [[nodiscard]] fence_wait_awaitable {
public:
    fence_wait_awaitable(event_loop& loop, int fd, const fence_wait_options& options, std::error_code* ec) noexcept
        : loop_{loop}, options_{options}, ec_{ec}, watch_{*this}, alarm_{*this}, stop_{*this} {
        watch_.fd = fd;
        watch_.events = POLLIN;
    }
    fence_wait_awaitable(const fence_wait_awaitable&) = delete;
    fence_wait_awaitable& operator=(const fence_wait_awaitable&) = delete;
    ~fence_wait_awaitable() { withdraw(); }

    [[nodiscard]] bool await_ready() noexcept {
        const std::stop_token* stop = options_.stop.get();
        if (stop != nullptr && stop->stop_requested()) {
            outcome_ = errc::cancelled;
        } else if (watch_.fd >= 0 && !detail::fence_ended(watch_.fd)) {
            if (loop_.now() < options_.deadline) { return false; }
            outcome_ = errc::timed_out;
        } else if (watch_.fd >= 0) {
            outcome_ = detail::fence_result(watch_.fd);
        }
        return true;
    }

    [[nodiscard]] bool await_suspend(std::coroutine_handle<> h) noexcept {
        waiter_ = h;
        outcome_ = loop_.watch(watch_);
        if (!outcome_ && !stop_.start(loop_, options_.stop.get())) { outcome_ = errc::out_of_memory; }
        if (!outcome_ && options_.deadline != event_loop::time_point::max()) { loop_.arm(alarm_, options_.deadline); }
        if (outcome_) { withdraw(); }
        return !outcome_;
    }

    void await_resume() const { detail::deliver(outcome_, ec_, "dmasync: wait for a fence"); }

private:
    struct watch : fd_watch {
        explicit watch(fence_wait_awaitable& f) noexcept : fd_watch{ready}, owner{f} {}
        static void ready(work& w, disposition d) noexcept {
            fence_wait_awaitable& f = static_cast<watch&>(w).owner;
            if (d == disposition::discard) {
                f.withdraw(); // nobody may post to the loop any more
            } else if ((f.watch_.revents & POLLIN) != 0) {
                f.end(detail::fence_result(f.watch_.fd));
            } else {
                f.end(std::make_error_code(std::errc::io_error)); // the loop cannot watch it any longer
            }
        }
        fence_wait_awaitable& owner;
    };

    struct alarm : timer {
        explicit alarm(fence_wait_awaitable& f) noexcept : timer{ring}, owner{f} {}
        static void ring(work& w, disposition d) noexcept {
            fence_wait_awaitable& f = static_cast<alarm&>(w).owner;
            if (d == disposition::discard) { return; }
            const bool ended = detail::fence_ended(f.watch_.fd); // both in one turn: then it was not late
            f.end(ended ? detail::fence_result(f.watch_.fd) : make_error_code(errc::timed_out));
        }
        fence_wait_awaitable& owner;
    };

    struct stop_request : detail::stop_relay {
        explicit stop_request(fence_wait_awaitable& f) noexcept : stop_relay{requested}, owner{f} {}
        static void requested(stop_relay& r) noexcept { static_cast<stop_request&>(r).owner.end(errc::cancelled); }
        fence_wait_awaitable& owner;
    };

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

    event_loop& loop_;
    fence_wait_options options_;
    std::error_code* ec_;
    std::error_code outcome_;
    std::coroutine_handle<> waiter_;
    watch watch_; // fd: of the fence; negative for an empty one
    alarm alarm_;
    stop_request stop_;
};

} // namespace dmasync
