// SPDX-License-Identifier: MIT
#pragma once
/// \file device_loan.hpp  Holds that have been lent to a device: they end when it has finished.

#include <dmasync/detail/claim.hpp>
#include <dmasync/detail/lease_keeper.hpp>
#include <dmasync/detail/sync_file.hpp>
#include <dmasync/error.hpp>
#include <dmasync/unique_fd.hpp>

#include <mutex>
#include <system_error>
#include <utility>

#include <linux/sync_file.h>
#include <poll.h>

namespace dmasync::detail {

/// How something ended that a descriptor stands for, now that it is readable: a fence says whether it failed, anything else
/// has just ended.
[[nodiscard]] inline std::error_code completion_result(int fd) noexcept {
    sync_file_info info{};
    const std::error_code ec = read_sync_file_info(fd, info);
    const bool no_fence = ec == std::errc::inappropriate_io_control_operation || ec == std::errc::invalid_argument;
    return ec ? (no_fence ? std::error_code{} : ec) : error_of_status(info.status);
}

/// A device may be at work on what it was lent for as long as it takes: when the lease ends it is reported as overdue, and
/// only after a second limit are its buffers given to others.
/// Source: S12, S17.
class device_loan : public lease_keeper {
public:
    /// The buffers of a hold stay locked until a descriptor is readable, on the domain's loop; at once without one.
    errc lend_until(claim& c, unique_fd until) noexcept {
        if (const errc e = lend(c); e != errc{}) { return e; }
        const bool pending = static_cast<bool>(until);
        c.fence_end.fence = std::move(until);
        {
            const std::lock_guard guard{lock_};
            c.loop = &loop_;
            c.posted = pending && owned_; // nobody can have the buffers of a domain that is gone
        }
        if (c.posted) {
            loop_.post(c);
        } else {
            end_loan(c, {});
        }
        return errc{};
    }

    /// A device is at work on the buffers of a hold: they are not given away when the lease ends, only reported.
    errc lend(claim& c) noexcept {
        const step s{*this};
        if (!is_in_use(c)) { return errc::lease_expired; }
        trace_.lent(c);
        c.plain = false;
        c.waiter = nullptr;
        c.state.store(phase::lent, std::memory_order_relaxed);
        return errc{};
    }

    /// What a claim was lent for has ended. It is gone afterwards.
    void end_loan(claim& c, std::error_code ec) {
        if (ec) {
            time_point now{};
            {
                const step s{*this};
                ++counters_.devices_failed;
                trace_.device_failed(c, failure::from(ec));
                c.device_error = ec;
                begin_report(c);
                now = owned_ ? loop_.now() : c.since;
            }
            report(c, lease_event::device_failed, now);
        }
        c.fence_end.fence.reset();
        step s{*this};
        if (c.state.load(std::memory_order_relaxed) == phase::lent) { end_hold(c, s); }
        let_go(c, s);
    }

protected:
    using lease_keeper::lease_keeper;

    [[nodiscard]] static bool is_in_use(const claim& c) noexcept {
        const phase p = c.state.load(std::memory_order_relaxed);
        return p == phase::held || p == phase::lent;
    }

    /// Has the loop's thread told when the fence of a claim is readable.
    [[nodiscard]] std::error_code watch(claim& c) noexcept {
        c.fence_end.fd = c.fence_end.fence.get();
        c.fence_end.events = POLLIN;
        return c.loop->watch(c.fence_end);
    }

    /// Begins to wait for the fence that a claim is lent until.
    void watch_loan(claim& c) {
        if (const std::error_code ec = watch(c); ec) { end_loan(c, ec); }
    }

    static void stop_watching(claim& c) noexcept {
        if (c.fence_end.active) { c.loop->unwatch(c.fence_end); }
        c.fence_end.fence.reset();
    }
};

} // namespace dmasync::detail
