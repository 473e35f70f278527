// SPDX-License-Identifier: MIT
#pragma once
/// \file lease_keeper.hpp  Ends the leases and the waits whose time has come, and says so.

#include <dmasync/detail/domain_core.hpp>
#include <dmasync/event_loop.hpp>
#include <dmasync/lease.hpp>

#include <algorithm>
#include <chrono>
#include <cstddef>
#include <mutex>
#include <stop_token>
#include <utility>

namespace dmasync::detail {

/// A claim's end in time. Of unlock, renewal and expiry, whichever takes the domain's lock first counts; the others find
/// the claim as that has left it.
class lease_keeper : public domain_core {
public:
    /// Makes a lease end `lease` from now; earlier when somebody is waiting: he is not made to wait for longer than one
    /// original lease of this hold. Never shortens it. Leases end no more when the domain is gone: nothing changes then.
    errc renew(claim& c, std::chrono::nanoseconds lease, time_point& until) noexcept {
        const step s{*this};
        const phase p = c.state.load(std::memory_order_relaxed);
        if (p != phase::held && p != phase::lent) { return errc::lease_expired; }
        if (lease.count() <= 0) { return errc::invalid_lease; }
        if (!owned_) {
            until = c.until;
            return errc{};
        }
        const time_point now = loop_.coarse_now();
        time_point end = lease_end(now, lease);
        for (const entry& e : c.set()) {
            const claim_node* w = e.buffer == nullptr ? nullptr : admission::oldest_waiter(*e.buffer);
            if (w != nullptr) { end = std::min(end, lease_end(static_cast<const claim&>(*w).since, c.lease)); }
        }
        until = std::max(c.until, end);
        c.overdue = false;
        trace_.renewed(c, until - now);
        book_.move(c, now, until);
        note_deadline(until);
        return errc{};
    }

    [[nodiscard]] time_point expires_at(const claim& c) noexcept {
        const step s{*this};
        return c.until;
    }

    /// A token that is stopped when the hold's lease runs out.
    [[nodiscard]] std::stop_token stop_token(claim& c) {
        std::stop_source fresh;
        bool expired = false;
        {
            const std::lock_guard guard{lock_};
            if (!c.stop.stop_possible()) { c.stop.swap(fresh); }
            c.plain = false;
            expired = c.state.load(std::memory_order_relaxed) == phase::expired;
        }
        if (expired) { c.stop.request_stop(); }
        return c.stop.get_token();
    }

    /// Ends every lease and every wait whose time has come. Threads: any.
    /// Returns: whether it looked; false when nothing can have ended.
    bool sweep() noexcept {
        claim_list overdue;
        told_list reminded; // of devices that are still at work; their place in the book is in use
        time_point now{};
        bool stuck = false;
        {
            step s{*this};
            if (!owned_) { return false; }
            now = loop_.now();
            if (now < horizon_) { return false; }
            claim_list late;
            horizon_ = time_point::max();
            note_deadline(book_.collect(now, [&](claim& c) {
                const phase p = c.state.load(std::memory_order_relaxed);
                (p == phase::waiting || p == phase::fenced ? late : overdue).push_back(c);
            }));
            stuck = note_stuck(now);
            while (claim* c = late.pop_front()) {
                const bool waits = c->state.load(std::memory_order_relaxed) == phase::waiting;
                const bool just_granted = waits && told_list::is_linked(*c); // because another one gave up
                if (!just_granted) { give_up(*c, is_fence_late(*c, now) ? errc::fence_timed_out : errc::timed_out, s); }
            }
            for (claim* c = overdue.front(); c != nullptr;) {
                claim* next = overdue.next(*c);
                if (c->state.load(std::memory_order_relaxed) == phase::lent && !c->overdue) {
                    claim_list::erase(*c);
                    remind(*c, now);
                    reminded.push_back(*c);
                } else {
                    expire(*c, s);
                }
                c = next;
            }
        }
        while (claim_node* c = reminded.pop_front()) {
            report(static_cast<claim&>(*c), lease_event::device_overdue, now);
        }
        while (claim* c = overdue.pop_front()) { report(*c, lease_event::expired, now); }
        if (stuck && options_.stuck.tell) [[unlikely]] { options_.stuck.tell(*this); }
        return true;
    }

protected:
    lease_keeper(domain_state& self, event_loop& loop, domain_options options, std::uint64_t first_ticket)
        : domain_core{self, loop, std::move(options), on_timer, first_ticket} {}

    static void on_timer(work& w, disposition d) noexcept {
        if (d == disposition::run) { static_cast<lease_keeper&>(static_cast<loop_work<timer>&>(w).home).sweep(); }
    }

    [[nodiscard]] static bool is_fence_late(const claim& c, time_point now) noexcept {
        return c.state.load(std::memory_order_relaxed) == phase::fenced && now < c.deadline;
    }

    static void begin_report(claim& c) noexcept {
        c.waiters_at_expiry = 0; // by buffer: to tell who is in two queues they would have to be walked, under the lock
        for (const entry& e : c.set()) { c.waiters_at_expiry += e.buffer == nullptr ? 0 : e.buffer->waiters; }
        pin(c);
        ++c.reports;
    }

    /// The lease of a hold has run out while a device is at work: it is given more time.
    void remind(claim& c, time_point now) noexcept {
        begin_report(c);
        trace_.overdue(c);
        c.overdue = true;
        ++counters_.devices_overdue;
        reenter_book(c, now, lease_end(now, options_.overdue_limit));
    }

    void expire(claim& c, step& s) noexcept {
        begin_report(c);
        inherit_brackets(c);
        trace_.expired(c);
        admission_.revoke(c, s.out);
        clear_registration(c);
        c.plain = false;
        c.state.store(phase::expired, std::memory_order_release); // with guard::expired
        if (c.owner != nullptr && c.owner->waiting != nullptr) {
            give_up_wait(static_cast<claim&>(*c.owner->waiting), errc::lease_expired, s); // it has nothing to extend
        }
        ++counters_.leases_expired;
    }

    /// What the hold has opened for itself is closed by the next device.
    static void inherit_brackets(claim& c) noexcept {
        for (entry& e : c.set()) {
            if (std::exchange(e.own_bracket, false)) { state_of(e).bracket.inherit(e.mode); }
        }
    }

    /// Tells the holder, then the sink. The claim stays until this is done, though its guard may let go of it.
    void report(claim& c, lease_event event, time_point now) {
        std::stop_source stop{std::nostopstate};
        time_point since;
        std::size_t waiters = 0;
        { // another report of the same claim may begin at any time, and the holder may renew
            const std::lock_guard guard{lock_};
            if (event == lease_event::expired) { stop = c.stop; }
            since = c.since;
            waiters = c.waiters_at_expiry;
        }
        stop.request_stop();
        if (options_.report) { options_.report(report_of(c, event, now - since, waiters)); }
        step s{*this};
        if (--c.reports == 0 && c.state.load(std::memory_order_relaxed) == phase::lent) { unpin(c, s); }
        free_if_done(c, s);
    }

    [[nodiscard]] lease_report report_of(const claim& c, lease_event event, std::chrono::nanoseconds age,
                                         std::size_t waiters) const {
        lease_report r;
        r.event = event;
        if (event == lease_event::device_failed) { r.error = c.device_error; }
        r.domain = options_.name.view();
        r.set = c.label.view();
        r.user = c.user;
        for (const entry& e : c.set()) {
            if (e.buffer != nullptr) { r.buffers.push_back({state_of(e).label.view(), e.mode}); }
        }
        r.age = age;
        r.lease = c.lease;
        r.waiters = waiters;
        return r;
    }
};

} // namespace dmasync::detail
