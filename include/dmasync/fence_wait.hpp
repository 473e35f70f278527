// SPDX-License-Identifier: MIT
#pragma once
/// \file fence_wait.hpp  A coroutine waits for a fence, until a deadline or a stop request: what `fence::wait` gives.

#include <dmasync/detail/kernel/sync_file.hpp>
#include <dmasync/detail/loop/loop_wait.hpp>
#include <dmasync/error.hpp>
#include <dmasync/event_loop.hpp>
#include <dmasync/version.hpp>
#include <dmasync/wait_options.hpp>

#include <coroutine>
#include <system_error>

#include <poll.h>

namespace dmasync::inline DMASYNC_ABI {

/// What `fence::wait` gives. Awaitable once; destroying the waiting coroutine, on the loop's thread, takes everything back.
class [[nodiscard]] fence_wait_awaitable : detail::loop_wait {
public:
    /// `fd`: of the fence; negative for an empty one.
    fence_wait_awaitable(event_loop& loop, int fd, const wait_options& options, std::error_code* ec) noexcept
        : loop_wait{loop, options, ec, judge}, fd_{fd} {}

    [[nodiscard]] bool await_ready() noexcept {
        if (is_refused() || fd_ < 0) { return true; }
        if (!detail::fence_ended(fd_) && loop_.now() < options_.deadline) { return false; }
        outcome_ = judge(*this, event::alarm);
        return true;
    }
    [[nodiscard]] bool await_suspend(std::coroutine_handle<> h) noexcept { return begin(h, fd_, POLLIN); }
    void await_resume() const { detail::deliver(outcome_, ec_, "dmasync: wait for a fence"); }

private:
    static std::error_code judge(loop_wait& w, event e) noexcept {
        const auto& self = static_cast<fence_wait_awaitable&>(w);
        if (e == event::ready && (self.watch_.revents & POLLIN) == 0) { // the loop cannot watch it any longer
            return std::make_error_code(std::errc::io_error);
        }
        const bool ended = e == event::ready || detail::fence_ended(self.fd_); // both in one turn: then it was not late
        return ended ? detail::fence_result(self.fd_) : make_error_code(errc::timed_out);
    }

    int fd_;
};

} // namespace dmasync::inline DMASYNC_ABI
