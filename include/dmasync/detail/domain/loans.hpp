// SPDX-License-Identifier: MIT
#pragma once
/// \file loans.hpp  Holds that are lent to a device: they end when it has finished.
///
/// A device may be at work on what it was lent for as long as it takes: when the lease ends it is reported as overdue, and only
/// after a second limit are its buffers given to others.
/// Source: S12, S17.

#include <dmasync/detail/base/assertion.hpp>
#include <dmasync/detail/base/failure.hpp>
#include <dmasync/detail/domain/claim.hpp>
#include <dmasync/detail/domain/core.hpp>
#include <dmasync/detail/domain/critical_section.hpp>
#include <dmasync/detail/domain/leases.hpp>
#include <dmasync/error.hpp>
#include <dmasync/event_loop.hpp>
#include <dmasync/lease.hpp>
#include <dmasync/unique_fd.hpp>
#include <dmasync/version.hpp>

#include <system_error>
#include <utility>

namespace dmasync::inline DMASYNC_ABI::detail {

class loans {
public:
    using time_point = event_loop::time_point;

    /// A device is at work on the buffers of a hold: they are not given away when the lease ends, only reported.
    static errc lend(claim& c) noexcept {
        const critical_section s{*c.domain};
        if (!leases::is_held_or_lent(c)) { return errc::lease_expired; }
        s->trace.lent(c);
        c.flags.set(claim_flags::lent);
        c.waiter = nullptr;
        set_phase(c, phase::lent);
        return errc{};
    }

    /// The buffers of a hold stay locked until a descriptor is readable, on the domain's loop; at once without one.
    static errc lend_until(claim& c, unique_fd until) noexcept {
        if (const errc e = lend(c); e != errc{}) { return e; }
        DMASYNC_ASSERT(!c.posted && !c.fence_end.fence);
        const bool pending = static_cast<bool>(until);
        c.fence_end.fence = std::move(until);
        bool posted = false;
        {
            const lock_section s{*c.domain};
            c.loop = &s->loop;
            posted = pending && s->open; // the buffers of a domain that is gone cannot be had
            if (posted) { c.posted = true; }
        }
        if (posted) {
            c.loop->post(c);
        } else {
            end(c, {});
        }
        return errc{};
    }

    /// Begins to wait for the fence that a claim is lent until.
    static void watch(claim& c) {
        if (const std::error_code ec = c.fence_end.begin(*c.loop); ec) { end(c, ec); }
    }

    /// What a claim was lent for has ended. It is gone afterwards.
    static void end(claim& c, std::error_code ec) {
        DMASYNC_ASSERT(!c.fence_end.active);
        if (ec) { report_failure(c, ec); }
        c.fence_end.fence.reset();
        critical_section s{*c.domain};
        if (c.state_now() == phase::lent) { core::end_hold(s, c); }
        core::disown(s, c);
    }

private:
    static void report_failure(claim& c, std::error_code ec) {
        time_point now{};
        {
            const critical_section s{*c.domain};
            ++s->counters.devices_failed;
            s->trace.device_failed(c, failure::from(ec));
            c.device_error = ec;
            leases::begin_report(c);
            now = s->open ? s->loop.now() : c.since;
        }
        leases::report(c, lease_event::device_failed, now);
    }
};

} // namespace dmasync::inline DMASYNC_ABI::detail
