// SPDX-License-Identifier: MIT
#pragma once
/// \file core.hpp  The changes of a domain's state that more than one operation is made of: how claims begin, wait and end.

#include <dmasync/call_site.hpp>
#include <dmasync/deadlock_policy.hpp>
#include <dmasync/detail/base/assertion.hpp>
#include <dmasync/detail/base/failure.hpp>
#include <dmasync/detail/domain/buffer_state.hpp>
#include <dmasync/detail/domain/claim.hpp>
#include <dmasync/detail/domain/claim_pool.hpp>
#include <dmasync/detail/domain/clock.hpp>
#include <dmasync/detail/domain/critical_section.hpp>
#include <dmasync/detail/domain/sleeper.hpp>
#include <dmasync/detail/domain/state.hpp>
#include <dmasync/detail/domain/waiting_loops.hpp>
#include <dmasync/detail/policy/admission.hpp>
#include <dmasync/detail/sync/threading.hpp>
#include <dmasync/error.hpp>
#include <dmasync/event_loop.hpp>
#include <dmasync/lock_options.hpp>
#include <dmasync/version.hpp>

#include <algorithm>
#include <atomic>
#include <chrono>
#include <coroutine>
#include <cstddef>
#include <cstdint>
#include <mutex>
#include <span>
#include <utility>

namespace dmasync::inline DMASYNC_ABI::detail {

/// What is asked of a domain by one lock, and what has come of it.
struct acquire_request {
    std::span<const request> set;
    const lock_options& options;
    options_id id;
    call_site place{};
    claim** registration = nullptr;   // a lock_set's mark that it is in use
    std::coroutine_handle<> waiter{}; // to be resumed after a wait; null: there is no wait, or not yet
    claim* mine = nullptr;            // owned, until the guard takes it: the record of the acquisition
    failure why{};                    // it was refused
};

class core {
public:
    using time_point = event_loop::time_point;

    // ---- how claims begin --------------------------------------------------------------------------------------------

    [[nodiscard]] static errc try_grant(locked d, claim& c, const acquire_request& r) noexcept {
        if (lease_of(*d, r.options).count() <= 0) { return errc::invalid_lease; }
        if (r.registration != nullptr && *r.registration != nullptr) { return errc::already_locked; }
        const errc why = d->policy.try_grant(c, r.set);
        if (why == errc{}) { adopt(d, c, r); }
        return why;
    }

    [[nodiscard]] static std::chrono::nanoseconds lease_of(const domain_state& d,
                                                           const lock_options& options) noexcept {
        return options.lease.value_or(d.options.lease);
    }

    static void adopt(locked d, claim& c, const acquire_request& r) noexcept {
        if (c.options != r.id) { static_cast<void>(adopt_options(d, c, r.id, r.options)); } // mostly there are none
        register_claim(c, r.registration);
        if (c.has_dma_buf()) { adopt_device_options(c, r.options); }
    }

    static void register_claim(claim& c, claim** registration) noexcept {
        if (registration == nullptr) { return; }
        DMASYNC_ASSERT(*registration == nullptr);
        c.registration = registration;
        *registration = &c;
    }

    static void clear_registration(claim& c) noexcept {
        if (c.registration == nullptr) { return; }
        DMASYNC_ASSERT(*c.registration == &c);
        *std::exchange(c.registration, nullptr) = nullptr;
    }

    /// Gives a record that is not in use the options of a lock. Returns: whether they are possible: `invalid_lease` otherwise.
    [[nodiscard, gnu::noinline]] static bool adopt_options(locked d, claim& c, options_id id,
                                                           const lock_options& options) noexcept {
        const std::chrono::nanoseconds lease = lease_of(*d, options);
        if (lease.count() <= 0) { return false; }
        c.lease = lease;
        c.lease_span = clock::span_of(*d, lease);
        c.label = options.name;
        c.user = options.user;
        c.options = id == unidentified ? ~unidentified : id;
        return true;
    }

    static void adopt_device_options(claim& c, const lock_options& options) noexcept {
        c.wait_for_fences = options.fences.value_or(fences::wait);
        c.brackets = options.cpu_access.value_or(cpu_access::tracked);
        c.fence_timeout = options.fence_timeout.value_or(c.lease);
        c.deadline = options.deadline;
    }

    [[gnu::always_inline]] static void begin_hold(locked d, claim& c, time_point now) noexcept {
        d->trace.granted(c);
        set_phase(c, phase::held);
        clock::begin_lease(d, c, now);
    }

    /// The set is granted, but a dma-buf in it may have to be waited for: on its loop, or by the thread that blocks.
    static void begin_fence_wait(locked d, claim& c, time_point now) noexcept {
        DMASYNC_ASSERT(c.has_dma_buf());
        d->trace.fenced(c);
        set_phase(c, c.is_blocking() ? phase::entering : phase::fenced);
        if (c.is_blocking()) { return; }
        clock::enter(d, c, now, std::min(c.deadline, clock::lease_end(*d, now, c.fence_timeout)));
    }

    // ---- how claims wait ---------------------------------------------------------------------------------------------

    /// A claim that is in the index of deadlines begins to wait for others.
    static void begin_patience(locked d, claim& c) noexcept {
        DMASYNC_ASSERT(c.state_now() == phase::waiting);
        if (d->options.stuck.after == no_lease) [[likely]] { return; }
        d->patient.push_back(c);
        clock::note_deadline(d, event_loop::later(c.since, d->options.stuck.after));
    }

    /// A claim waits for others no longer, whatever has become of it.
    static void end_wait(claim& c) noexcept {
        clock::leave(c);
        if (patience_list::is_linked(c)) { patience_list::erase(c); }
        c.flags.clear(claim_flags::stuck | claim_flags::stuck_unreported);
    }

    /// Whether a claim that was waiting has been granted in this critical section: it will be a hold when that ends.
    [[nodiscard]] static bool is_just_granted(const claim& c) noexcept {
        return c.state_now() == phase::waiting && ready_list::is_linked(c);
    }

    // ---- how claims end ----------------------------------------------------------------------------------------------

    /// A claim that waits, in the queues or for a fence, will not be handed over.
    static void give_up(critical_section& s, claim& c, failure why) noexcept {
        DMASYNC_ASSERT(!is_just_granted(c));
        if (c.state_now() == phase::waiting) {
            leave_queues(s, c);
        } else {
            end_hold(s, c);
        }
        set_failed(s, c, why);
        if (!c.posted) { s.out.ready.push_back(c); } // otherwise its turn is to come anyway
    }

    /// The same for a part of a transaction, if it still waits. It goes on naming its buffers: to wait for them again.
    static void give_up_part(critical_section& s, claim& c, failure why) noexcept {
        const phase p = c.state_now();
        if (p != phase::waiting && p != phase::fenced) { return; }
        pin(c);
        if (is_just_granted(c)) {
            take_back(s, c, why);
        } else {
            give_up(s, c, why);
        }
    }

    /// A claim has been granted in this critical section, but is not to be a hold.
    static void take_back(critical_section& s, claim& c, failure why) noexcept {
        DMASYNC_ASSERT(is_just_granted(c));
        end_wait(c);
        end_hold(s, c);
        set_failed(s, c, why);
    }

    /// Ends, with `why`, each wait of a coroutine on a loop: for others to release, or for fences. Its waiter is notified, which
    /// is a turn of that loop. Looks at every claim in use.
    static void end_waits_on(critical_section& s, const event_loop& l, failure why) noexcept {
        s->pool.for_each_begun([&](claim& c) {
            if (c.loop != &l || c.is_blocking()) { return; }
            if (is_just_granted(c)) { return take_back(s, c, why); } // because another one has ended
            const phase p = c.state_now();
            if (p == phase::waiting || p == phase::fenced) { give_up(s, c, why); }
        });
    }

    static void leave_queues(critical_section& s, claim& c) noexcept {
        DMASYNC_ASSERT(c.state_now() == phase::waiting && !ready_list::is_linked(c));
        end_wait(c);
        s->policy.withdraw(c, s.out);
        bury_orphans(s, c);
    }

    static void set_failed(locked d, claim& c, failure why) noexcept {
        DMASYNC_ASSERT(why);
        d->counters.timed_out += why == errc::timed_out || why == errc::fence_timed_out ? 1U : 0U;
        d->counters.cancelled += why == errc::cancelled ? 1U : 0U;
        c.why = why;
        d->trace.gave_up(c, why);
        set_phase(c, phase::failed);
        waiting_loops::part(c);
        clear_registration(c);
    }

    static void end_hold(critical_section& s, claim& c) noexcept {
        DMASYNC_ASSERT(c.state_now() != phase::idle && c.state_now() != phase::expired &&
                       c.state_now() != phase::failed);
        s->trace.released(c);
        clock::leave(c);
        if (admission::release(c)) {
            s->policy.pass_on(c, s.out);
            bury_orphans(s, c);
        }
    }

    /// The claim's awaiter or guard has no more use for it. It is freed now, or by the loop or the report that still has it.
    static void disown(critical_section& s, claim& c) noexcept {
        DMASYNC_ASSERT(!c.flags.has(claim_flags::disowned));
        clear_registration(c);
        waiting_loops::part(c);
        c.transaction = nullptr;
        c.waiter = nullptr;
        c.flags.clear(claim_flags::incomplete);
        c.flags.set(claim_flags::disowned);
        free_if_done(s, c);
    }

    static void free_if_done(critical_section& s, claim& c) noexcept {
        if (!c.flags.has(claim_flags::disowned) || c.flags.has(claim_flags::reports)) { return; }
        unpin(s, c);
        if (!c.posted) { free(s, c); }
    }

    /// Returns a claim that has nothing special to it to the pool.
    [[gnu::always_inline]] static void free_unspecial(locked d, claim& c) noexcept {
        DMASYNC_ASSERT(c.flags.none());
        clear_registration(c);
        set_phase(c, phase::idle);
        d->pool.give(c);
    }

    // ---- buffers -----------------------------------------------------------------------------------------------------

    [[nodiscard]] static buffer_state& state_of(const entry& e) noexcept {
        return static_cast<buffer_state&>(*e.buffer);
    }

    /// What an index of a claim's entries looks at.
    [[nodiscard]] static auto buffer_of(const claim& c) noexcept {
        return [&c](std::size_t i) -> const void* { return c.entries[i].buffer; };
    }

    /// Has `find` take no longer in a large hold than in a small one. Not under the lock. Without memory, nothing changes.
    static void index(claim& c) noexcept {
        if (c.size > position_index::short_array && c.indexed_entries != c.size) [[unlikely]] { index_large(c); }
    }

    /// The entry of a buffer in a claim; null when it is not there or was released. Threads: the claim's owner.
    [[nodiscard]] static entry* find(const claim& c, const buffer_state* b) noexcept {
        if (c.size > position_index::short_array && c.indexed_entries == c.size) [[unlikely]] {
            return find_in_large(c, b);
        }
        for (entry& e : c.set()) {
            if (e.buffer == b && b != nullptr) { return &e; }
        }
        return nullptr;
    }

    [[nodiscard, gnu::noinline]] static entry* find_in_large(const claim& c, const buffer_node* b) noexcept {
        const std::size_t position = b == nullptr ? c.size : c.index.find(b, c.size, buffer_of(c));
        return position == c.size ? nullptr : &c.entries[position];
    }

    [[gnu::noinline]] static void index_large(claim& c) noexcept {
        {
            const lock_section s{*c.domain};
            c.flags.set(claim_flags::indexed);
        }
        const errc e = try_allocating([&c] { c.index.append(c.indexed_entries, c.size, buffer_of(c)); });
        if (e == errc{}) { c.indexed_entries = c.size; }
    }

    static void unregister(locked d, buffer_state& b) noexcept {
        if (b.node.empty()) { b.node = d->registry.extract(b.memory.identity); }
    }

    static void bury_orphans(critical_section& s, claim& c) noexcept {
        for (entry& e : c.set()) {
            if (e.buffer != nullptr) { bury_if_dead(s, state_of(e)); }
        }
    }

    static void bury_if_dead(critical_section& s, buffer_state& b) noexcept {
        if (!b.is_dead()) { return; }
        DMASYNC_ASSERT(b.waiting_readers.empty() && b.waiting_writers.empty() && b.unfinished.empty());
        DMASYNC_ASSERT(s->buffer_count != 0);
        unregister(s, b);
        b.next_dead = std::exchange(s.dead, &b);
        buffer_list::erase(b);
        --s->buffer_count;
    }

    /// The claim may lose its buffers, which stay mapped for it all the same.
    static void pin(claim& c) noexcept {
        if (c.flags.has(claim_flags::pinned)) { return; }
        c.flags.set(claim_flags::pinned);
        for (entry& e : c.set()) {
            if (e.buffer != nullptr) { ++state_of(e).pins; }
        }
    }

    static void unpin(critical_section& s, claim& c) noexcept {
        if (!c.flags.take(claim_flags::pinned)) { return; }
        for (entry& e : c.set()) {
            if (e.buffer == nullptr) { continue; }
            DMASYNC_ASSERT(state_of(e).pins != 0);
            --state_of(e).pins;
            bury_if_dead(s, state_of(e));
        }
    }

    // ---- records -----------------------------------------------------------------------------------------------------

    /// More claims for sets of this size. Returns: whether there are any.
    static bool grow(domain_state& d, std::size_t size, std::size_t count) noexcept {
        claim_pool::chunk* fresh = d.pool.allocate(size, count);
        if (fresh == nullptr) { return false; }
        const lock_section s{d};
        s->pool.add(*fresh);
        return true;
    }

    /// Small claims come by the dozen, large ones one at a time.
    static bool grow_for(domain_state& d, std::size_t size) noexcept {
        return grow(d, size, 64 / std::clamp<std::size_t>(size, 1, 64));
    }

    /// A record for an acquisition that is about to wait; null without memory.
    [[nodiscard]] static claim* prepare(domain_state& d, std::size_t size) noexcept {
        do {
            const lock_section s{d};
            if (claim* c = s->pool.take(size); c != nullptr) {
                c->size = 0; // as for its last owner
                return c;
            }
        } while (grow_for(d, size));
        return nullptr;
    }

    // ---- ends of critical sections -----------------------------------------------------------------------------------

    /// Ends a critical section without decisions.
    static void leave(locked d) noexcept {
        if (d->sleepers_are_late || !d->open) [[unlikely]] {
            leave_carefully(d);
        } else {
            d->lock.unlock();
        }
    }
    [[gnu::noinline]] static void leave_carefully(locked d) noexcept {
        static_cast<void>(critical_section{d, std::adopt_lock});
    }

    /// Ends one of a thread that has the bias, in which nothing has changed. Returns: false, for what was not done.
    [[nodiscard]] static bool leave_undone(locked d) noexcept {
        d->lock.unlock_biased();
        return false;
    }

    /// Makes a settled claim known to its waiter. It may be gone right after. Not under the lock.
    static void notify(claim& c) noexcept {
        DMASYNC_ASSERT(c.is_blocking() || c.posted);
        if (c.is_blocking()) {
            futex_word& word = c.wake_word;
            word.store(blocked_thread::settled, std::memory_order_release); // with acquire::block
            futex_wake(word);
        } else {
            c.loop->post(c);
        }
    }

    /// Carries out what the policy has decided: transactions that are wounded while they wait stop waiting; granted claims
    /// become holds. What a loop is going to be told of belongs to it until its turn.
    static void carry_out(critical_section& s) noexcept {
        const time_point now = clock::coarse_now(s);
        while (transaction_node* t = s.out.wounded.pop_front()) { end_wait_of(s, *t); }
        ready_list& ready = s.out.ready;
        for (claim_node* n = ready.front(); n != nullptr; n = ready.next(*n)) {
            claim& c = static_cast<claim&>(*n);
            if (c.state_now() == phase::waiting) { begin_after_wait(s, c, now); }
            if (!c.is_blocking()) { c.posted = true; }
        }
    }

private:
    static void begin_after_wait(locked d, claim& c, time_point now) noexcept {
        end_wait(c);
        if (c.has_dma_buf()) { return begin_fence_wait(d, c, now); }
        waiting_loops::part(c);
        begin_hold(d, c, now);
        ++d->counters.granted_after_wait;
    }

    static void end_wait_of(critical_section& s, transaction_node& t) noexcept {
        DMASYNC_ASSERT(t.is_wounded());
        s->trace.gives_way(t, s->options.policy);
        ++(s->options.policy == deadlock_policy::wound_wait ? s->counters.wounds : s->counters.deaths);
        if (t.waiting != nullptr) { give_up_part(s, static_cast<claim&>(*t.waiting), errc::wounded); }
    }

    static void free(critical_section& s, claim& c) noexcept {
        DMASYNC_ASSERT(!c.posted && !c.flags.has(claim_flags::pinned | claim_flags::reports));
        if (c.flags.has(claim_flags::stoppable)) { s.retired.swap(c.stop); }
        if (c.is_blocking()) { c.wake_word.store(blocked_thread::asleep, std::memory_order_relaxed); }
        if (c.flags.has(claim_flags::indexed)) {
            c.index.clear();
            c.indexed_entries = 0;
        }
        c.why = failure{};
        c.flags = {};
        c.reaches_device = c.blocks_thread = false;
        set_phase(c, phase::idle);
        s->pool.give(c);
    }
};

inline void critical_section::finish() noexcept {
    domain_state& d = domain_;
    if (!out.ready.empty() || !out.wounded.empty()) { core::carry_out(*this); }
    sleeper* const to_call = d.sleepers_are_late ? clock::schedule(*this) : nullptr;
    const bool last = !d.open && d.is_unused();
    d.lock.unlock();
    waiting_loops::call(to_call); // what is called keeps the state alive, not the loop
    while (claim_node* c = out.ready.pop_front()) { core::notify(static_cast<claim&>(*c)); }
    while (dead != nullptr) { delete std::exchange(dead, dead->next_dead); }
    if (last) { delete &d; }
}

} // namespace dmasync::inline DMASYNC_ABI::detail
