// SPDX-License-Identifier: MIT
#pragma once
/// \file clock.hpp  A domain's time: when its holds and waits end, and one timer of the loop for all of them.

#include <dmasync/detail/base/assertion.hpp>
#include <dmasync/detail/base/deadline_index.hpp>
#include <dmasync/detail/domain/claim.hpp>
#include <dmasync/detail/domain/state.hpp>
#include <dmasync/detail/domain/waiting_loop.hpp>
#include <dmasync/detail/domain/waiting_loops.hpp>
#include <dmasync/event_loop.hpp>
#include <dmasync/version.hpp>

#include <chrono>
#include <utility>

namespace dmasync::inline DMASYNC_ABI::detail {

class clock {
public:
    using time_point = event_loop::time_point;

    /// The loop's time, read the cheap way. Time stands still when the domain is gone, for its loop may be.
    [[nodiscard]] static time_point coarse_now(locked d) noexcept {
        return d->open ? d->loop.coarse_now() : time_point{};
    }

    /// Locks.
    /// Returns: the time of that. The clock is read before, so that no thread waits for it.
    [[nodiscard, gnu::always_inline]] static time_point lock(domain_state& d) noexcept {
        if (d.has_virtual_time) [[unlikely]] {
            d.lock.lock();
            return coarse_now(locked{d});
        }
        const time_point before = event_loop::coarse_clock();
        return d.lock.lock() ? before : event_loop::coarse_clock();
    }

    /// The coarse clock is behind: a lease is longer by as much as that may be, so that it is never too short.
    [[nodiscard]] static time_point lease_end(const domain_state& d, time_point from,
                                              std::chrono::nanoseconds lease) noexcept {
        return event_loop::later(from + d.coarse_lag, lease);
    }
    [[nodiscard]] static deadline_span span_of(const domain_state& d, std::chrono::nanoseconds lease) noexcept {
        return deadline_span{lease > std::chrono::nanoseconds::max() - d.coarse_lag ? lease : lease + d.coarse_lag};
    }

    /// Has a claim end at `until`.
    static void enter(locked d, claim& c, time_point now, time_point until) noexcept {
        d->deadlines.enter(c, now, until);
        note_deadline(d, until);
    }

    /// Has a hold end after its lease, from now on.
    [[gnu::always_inline]] static void enter(locked d, claim& c, time_point now) noexcept {
        note_deadline(d, d->deadlines.enter(c, now, c.lease_span));
    }

    /// Has a hold that goes on end at `until`: it began when it began.
    static void reenter(locked d, claim& c, time_point now, time_point until) noexcept {
        const time_point began = c.since;
        enter(d, c, now, until);
        c.since = began; // as in deadline_index::move
    }

    /// What has no end is not entered, and a sweep takes claims out before it knows what becomes of them: neither matters.
    static void leave(claim& c) noexcept { deadline_index<claim>::leave(c); }

    static void note_deadline(locked d, time_point until) noexcept {
        if (until < d->horizon) [[unlikely]] {
            d->horizon = until;
            d->timer_needs_rearm = true;
        }
    }

    /// Begins the lease of a hold. In a single-threaded domain the holds of one turn of the loop are dated together at its
    /// end, or as soon as their time is asked for: no lease can end before, so that one look at the clock does for all.
    [[gnu::noinline]] static void begin_lease(locked d, claim& c, time_point now) noexcept {
        if (!d->lock.is_exclusive() || !d->open || !d->loop.in_this_thread()) [[likely]] { return enter(d, c, now); }
        DMASYNC_ASSERT(c.state_now() == phase::held);
        if (!std::exchange(d->home.called, true)) { d->loop.defer(d->home.call); }
        d->lazy_timestamps = true;
        d->deadlines.enter_undated(c);
    }

    /// The same from now on, the shortest way.
    [[gnu::always_inline]] static void begin_lease(locked d, claim& c) noexcept {
        if (d->reads_kernel_clock) [[likely]] {
            enter(d, c, event_loop::coarse_clock());
        } else {
            begin_lease(d, c, coarse_now(d));
        }
    }

    /// Gives a time to the holds that have been entered without one.
    static void date_holds(locked d) noexcept {
        if (!d->lazy_timestamps) [[likely]] { return; }
        DMASYNC_ASSERT(d->lock.is_exclusive());
        note_deadline(d, d->deadlines.date(coarse_now(d), [](const claim& c) { return c.lease_span; }));
    }

    /// Sets the timer of the domain's loop to the horizon, or has the loop's thread do so; a domain that is gone is forgotten.
    /// Returns: what is to be called once the lock is free (`waiting_loops::call`); null for nothing.
    [[nodiscard, gnu::noinline]] static waiting_loop* schedule(locked d) noexcept {
        d->timer_needs_rearm = false;
        waiting_loop* first = nullptr;
        if (d->loop.in_this_thread()) {
            set_alarm(d, d->home);
        } else {
            note_call(d->home, first);
        }
        if (!d->open) {
            for (waiting_loop* w = d->elsewhere.front(); w != nullptr; w = d->elsewhere.next(*w)) {
                note_call(*w, first);
            }
        }
        return first;
    }

    /// Has a loop wake when something of the domain may end, and tell of its own end. On its thread.
    static void set_alarm(locked d, waiting_loop& w) noexcept {
        const time_point when = &w == &d->home ? d->horizon : time_point::max();
        if (w.alarm.armed() && w.alarm.due() == when && d->open) { return; }
        w.loop.disarm(w.alarm);
        w.is_attached = d->open;
        if (d->open) { w.loop.arm(w.alarm, when); }
    }

private:
    static void note_call(waiting_loop& w, waiting_loop*& first) noexcept {
        if (w.called) { return; }
        waiting_loops::begin_call(w);
        w.next_called = std::exchange(first, &w);
    }
};

} // namespace dmasync::inline DMASYNC_ABI::detail
