// SPDX-License-Identifier: MIT
#pragma once
/// \file leases.hpp  Ends the holds and the waits whose time has come, and reports it.
///
/// Of unlock, renewal and expiry, the first to take the domain's lock counts; the others find the claim as that has left it.

#include <dmasync/detail/base/assertion.hpp>
#include <dmasync/detail/domain/claim.hpp>
#include <dmasync/detail/domain/clock.hpp>
#include <dmasync/detail/domain/core.hpp>
#include <dmasync/detail/domain/critical_section.hpp>
#include <dmasync/detail/domain/state.hpp>
#include <dmasync/error.hpp>
#include <dmasync/event_loop.hpp>
#include <dmasync/lease.hpp>
#include <dmasync/version.hpp>

#include <algorithm>
#include <atomic>
#include <chrono>
#include <cstddef>
#include <stop_token>
#include <utility>

namespace dmasync::inline DMASYNC_ABI::detail {

class leases {
public:
    using time_point = event_loop::time_point;

    /// Makes a lease end `lease` from now, and earlier where a claim waits: its wait is not made longer than one original
    /// lease of this hold. Never shortens it. Leases end no more when the domain is gone: nothing changes then.
    static errc renew(claim& c, std::chrono::nanoseconds lease, time_point& until) noexcept {
        const critical_section s{*c.domain};
        if (!is_held_or_lent(c)) { return errc::lease_expired; }
        if (lease.count() <= 0) { return errc::invalid_lease; }
        if (!s->open) {
            until = c.until;
            return errc{};
        }
        const time_point now = s->loop.coarse_now();
        time_point end = clock::lease_end(s.domain(), now, lease);
        for (const entry& e : c.set()) {
            const claim_node* w = e.buffer == nullptr ? nullptr : admission::oldest_waiter(*e.buffer);
            if (w == nullptr) { continue; }
            end = std::min(end, clock::lease_end(s.domain(), static_cast<const claim&>(*w).since, c.lease));
        }
        until = std::max(c.until, end);
        DMASYNC_ASSERT(until >= c.until); // never shortened
        c.flags.clear(claim_flags::overdue);
        s->trace.renewed(c, until - now);
        s->deadlines.move(c, now, until);
        clock::note_deadline(s, until);
        return errc{};
    }

    [[nodiscard]] static time_point expires_at(const claim& c) noexcept {
        const critical_section s{*c.domain};
        return c.until;
    }

    /// A token that is stopped when the hold's lease runs out.
    [[nodiscard]] static std::stop_token stop_token(claim& c) {
        std::stop_source fresh;
        bool expired = false;
        {
            const lock_section s{*c.domain};
            if (!c.stop.stop_possible()) { c.stop.swap(fresh); }
            c.flags.set(claim_flags::stoppable);
            expired = c.state_now() == phase::expired;
        }
        if (expired) { c.stop.request_stop(); }
        return c.stop.get_token();
    }

    /// Ends every lease and every wait whose time has come. Threads: any.
    /// Returns: whether it looked; false when nothing can have ended.
    static bool sweep(domain_state& d) noexcept {
        ended what;
        {
            critical_section s{d};
            if (!s->open) { return false; }
            what.now = s->loop.now();
            if (what.now < s->horizon) { return false; }
            end_due(s, what);
        }
        report(d, what);
        return true;
    }

    [[nodiscard]] static bool is_held_or_lent(const claim& c) noexcept {
        const phase p = c.state_now();
        return p == phase::held || p == phase::lent;
    }

    /// Puts a claim out of reach of the end of its lease, while the caller reports something of it.
    static void begin_report(claim& c) noexcept {
        c.waiters_at_expiry =
            0; // by buffer: what stands in two queues could only be found by walking them, under the lock
        for (const entry& e : c.set()) { c.waiters_at_expiry += e.buffer == nullptr ? 0 : e.buffer->waiters; }
        core::pin(c);
        c.flags.begin_report();
    }

    /// Tells the holder, then the sink. The claim stays until this is done, though its guard may have no more use for it.
    static void report(claim& c, lease_event event, time_point now) {
        domain_state& d = *c.domain;
        std::stop_source stop{std::nostopstate};
        time_point since;
        std::size_t waiters = 0;
        { // another report of the same claim may begin at any time, and the holder may renew
            const lock_section s{d};
            if (event == lease_event::expired) { stop = c.stop; }
            since = c.since;
            waiters = c.waiters_at_expiry;
        }
        stop.request_stop();
        if (d.options.report) { d.options.report(report_of(c, event, now - since, waiters)); }
        critical_section s{d};
        c.flags.end_report();
        if (!c.flags.has(claim_flags::reports) && c.state_now() == phase::lent) { core::unpin(s, c); }
        core::free_if_done(s, c);
    }

private:
    /// What one sweep has found.
    struct ended {
        time_point now{};
        claim_list holds;     // that have expired
        ready_list reminders; // of devices that are still at work; their place in the index of deadlines is in use
        bool any_stuck = false;
    };

    static void end_due(critical_section& s, ended& what) noexcept {
        claim_list waits;
        claim_list holds;
        s->horizon = time_point::max();
        clock::note_deadline(s, s->deadlines.collect(what.now, [&](claim& c) {
            const phase p = c.state_now();
            (p == phase::waiting || p == phase::fenced ? waits : holds).push_back(c);
        }));
        what.any_stuck = note_stuck(s, what.now);
        while (claim* c = waits.pop_front()) { end_wait(s, *c, what.now); }
        while (claim* c = holds.pop_front()) { end_hold(s, *c, what); }
    }

    static void end_wait(critical_section& s, claim& c, time_point now) noexcept {
        if (core::is_just_granted(c)) { return; } // because another one has given up
        const bool fence_is_late = c.state_now() == phase::fenced && now < c.deadline;
        core::give_up(s, c, fence_is_late ? errc::fence_timed_out : errc::timed_out);
    }

    static void end_hold(critical_section& s, claim& c, ended& what) noexcept {
        if (c.state_now() == phase::lent && !c.flags.has(claim_flags::overdue)) {
            remind(s, c, what.now);
            what.reminders.push_back(c);
        } else {
            expire(s, c);
            what.holds.push_back(c);
        }
    }

    /// Finds the claims that have waited for too long by `now`, each once; none while reports pause.
    /// Returns: whether there are any.
    [[nodiscard]] static bool note_stuck(locked d, time_point now) noexcept {
        bool any = false;
        while (claim* c = d->patient.front()) {
            const time_point due = std::max(event_loop::later(c->since, d->options.stuck.after), d->next_stuck_report);
            if (due > now) {
                clock::note_deadline(d, due);
                break;
            }
            patience_list::erase(*c);
            c->flags.set(claim_flags::stuck | claim_flags::stuck_unreported);
            any = true;
            ++d->counters.stuck;
        }
        return any;
    }

    /// The lease of a hold has run out while a device is at work: it is given more time.
    static void remind(critical_section& s, claim& c, time_point now) noexcept {
        DMASYNC_ASSERT(!claim_list::is_linked(c)); // taken out by the sweep
        begin_report(c);
        s->trace.overdue(c);
        c.flags.set(claim_flags::overdue);
        ++s->counters.devices_overdue;
        clock::reenter(s, c, now, clock::lease_end(s.domain(), now, s->options.overdue_limit));
    }

    static void expire(critical_section& s, claim& c) noexcept {
        DMASYNC_ASSERT(is_held_or_lent(c));
        begin_report(c);
        inherit_brackets(c);
        s->trace.expired(c);
        s->policy.revoke(c, s.out);
        core::clear_registration(c);
        set_phase(c, phase::expired, std::memory_order_release);             // with guard::expired
        if (c.transaction != nullptr && c.transaction->waiting != nullptr) { // it has nothing to extend
            core::give_up_part(s, static_cast<claim&>(*c.transaction->waiting), errc::lease_expired);
        }
        ++s->counters.leases_expired;
    }

    /// What the hold has opened for itself is closed by the next device.
    static void inherit_brackets(claim& c) noexcept {
        for (entry& e : c.set()) {
            if (std::exchange(e.own_bracket, false)) { core::state_of(e).bracket.inherit(e.mode); }
        }
    }

    static void report(domain_state& d, ended& what) {
        while (claim_node* c = what.reminders.pop_front()) {
            report(static_cast<claim&>(*c), lease_event::device_overdue, what.now);
        }
        while (claim* c = what.holds.pop_front()) { report(*c, lease_event::expired, what.now); }
        if (what.any_stuck && d.options.stuck.tell) [[unlikely]] { d.options.stuck.tell(d); }
    }

    [[nodiscard]] static lease_report report_of(const claim& c, lease_event event, std::chrono::nanoseconds age,
                                                std::size_t waiters) {
        lease_report r;
        r.event = event;
        if (event == lease_event::device_failed) { r.error = c.device_error; }
        r.domain = c.domain->options.name.view();
        r.set = c.label.view();
        r.user = c.user;
        for (const entry& e : c.set()) {
            if (e.buffer != nullptr) { r.buffers.push_back({core::state_of(e).label.view(), e.mode}); }
        }
        r.age = age;
        r.lease = c.lease;
        r.waiters = waiters;
        return r;
    }
};

} // namespace dmasync::inline DMASYNC_ABI::detail
