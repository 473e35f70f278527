// SPDX-License-Identifier: MIT
#pragma once
/// \file clock.hpp  A domain's time: when its holds and waits end, and what sleeps until then.

#include <dmasync/detail/base/assertion.hpp>
#include <dmasync/detail/base/deadline_index.hpp>
#include <dmasync/detail/domain/claim.hpp>
#include <dmasync/detail/domain/sleeper.hpp>
#include <dmasync/detail/domain/state.hpp>
#include <dmasync/detail/domain/waiting_loop.hpp>
#include <dmasync/detail/domain/waiting_loops.hpp>
#include <dmasync/event_loop.hpp>
#include <dmasync/version.hpp>

#include <algorithm>
#include <atomic>
#include <chrono>
#include <cstdint>
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
            d->sleepers_are_late = true;
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

    /// Has all wake that sleep for longer than to the horizon, and forgets the loops of a domain that is gone. A loop that runs
    /// the calling thread is set at once.
    /// Returns: what is to be called once the lock is free (`waiting_loops::call`); null for nothing.
    [[nodiscard, gnu::noinline]] static sleeper* schedule(locked d) noexcept {
        d->sleepers_are_late = false;
        sleeper* first = nullptr;
        if (!d->open || !d->home.is_attached || is_late(d, d->home)) { set_or_call(d, d->home, first); }
        for (waiting_loop* w = waiting_loops::first_elsewhere(d); w != nullptr;
             w = waiting_loops::next_elsewhere(d, *w)) {
            if (!d->open || is_late(d, *w)) { set_or_call(d, *w, first); }
        }
        for (sleeper* t = d->blocked.front(); t != nullptr; t = d->blocked.next(*t)) {
            if (t->sleeps_to > d->horizon) { wake(static_cast<blocked_thread&>(*t), first); }
        }
        return first;
    }

    /// Has a loop wake when something can end that a claim on it may wait for, and tell of its own end. On its thread.
    static void set_alarm(locked d, waiting_loop& w) noexcept {
        w.sleeps_to = keeps_time(d, w) ? d->horizon : time_point::max();
        if (w.alarm.armed() && w.alarm.due() == w.sleeps_to && d->open) { return; }
        w.loop.disarm(w.alarm);
        w.is_attached = d->open;
        if (d->open) { w.loop.arm(w.alarm, w.sleeps_to); }
    }

    /// A thread is going to block. Returns: for how long it may sleep.
    [[nodiscard]] static std::chrono::nanoseconds begin_sleep(locked d, blocked_thread& t) noexcept {
        constexpr std::chrono::nanoseconds longest_of_virtual_time =
            std::chrono::milliseconds{250}; // it moves unnoticed
        if (!sleeper_list::is_linked(t)) { d->blocked.push_back(t); }
        t.sleeps_to = d->horizon;
        std::chrono::nanoseconds limit = std::chrono::nanoseconds::max();
        if (d->open && d->horizon != time_point::max()) { limit = d->horizon - d->loop.now(); }
        return d->has_virtual_time ? std::min(limit, longest_of_virtual_time) : limit;
    }

private:
    /// Whether a loop looks after the time: the domain's always does, for leases end also when no claim waits.
    [[nodiscard]] static bool keeps_time(locked d, const waiting_loop& w) noexcept {
        return &w == &d->home || w.waits != 0;
    }

    [[nodiscard]] static bool is_late(locked d, const waiting_loop& w) noexcept {
        return w.sleeps_to > d->horizon && keeps_time(d, w);
    }

    static void set_or_call(locked d, waiting_loop& w, sleeper*& first) noexcept {
        const bool may_set = d->open || &w == &d->home; // another one is dropped, in a turn of its own
        if (may_set && w.loop.in_this_thread()) { return set_alarm(d, w); }
        if (w.called) { return; }
        waiting_loops::begin_call(w);
        chain(w, first);
    }

    static void wake(blocked_thread& t, sleeper*& first) noexcept {
        t.sleeps_to = time_point::min(); // awake
        std::uint32_t expected = blocked_thread::asleep;
        if (t.word.load(std::memory_order_relaxed) != expected) { return; } // it has been woken already
        t.is_being_called.store(true, std::memory_order_relaxed);           // before it can see that it is called
        if (t.word.compare_exchange_strong(expected, blocked_thread::look_again, std::memory_order_release,
                                           std::memory_order_relaxed)) { // with acquire::is_settled
            chain(t, first);
        } else {
            t.is_being_called.store(false, std::memory_order_release); // settled just now
        }
    }

    /// To be called with those that are chained already. It is marked as being called.
    static void chain(sleeper& s, sleeper*& first) noexcept {
        DMASYNC_ASSERT(peek(s.is_being_called));
        s.next_called = std::exchange(first, &s);
    }
};

} // namespace dmasync::inline DMASYNC_ABI::detail
