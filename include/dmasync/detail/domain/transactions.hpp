// SPDX-License-Identifier: MIT
#pragma once
/// \file transactions.hpp  Acquisitions that grow while they hold, and give all back when they must.
///
/// All that a transaction holds is in one claim, its *hold*, which is incomplete: it can be wounded. What it locks next goes
/// there at once when nothing has to be waited for. Otherwise it is asked for by a claim of its own, a *part*, which waits,
/// passes fences, and is cancelled as that of a declared set; granted, it is joined to the hold.

#include <dmasync/access_mode.hpp>
#include <dmasync/call_site.hpp>
#include <dmasync/deadlock_policy.hpp>
#include <dmasync/detail/base/assertion.hpp>
#include <dmasync/detail/base/failure.hpp>
#include <dmasync/detail/domain/claim.hpp>
#include <dmasync/detail/domain/clock.hpp>
#include <dmasync/detail/domain/core.hpp>
#include <dmasync/detail/domain/critical_section.hpp>
#include <dmasync/detail/domain/holds.hpp>
#include <dmasync/detail/domain/leases.hpp>
#include <dmasync/detail/domain/sleeper.hpp>
#include <dmasync/detail/domain/state.hpp>
#include <dmasync/detail/domain/waiting_loops.hpp>
#include <dmasync/detail/policy/admission.hpp>
#include <dmasync/error.hpp>
#include <dmasync/lock_options.hpp>
#include <dmasync/version.hpp>

#include <algorithm>
#include <atomic>
#include <cstddef>
#include <cstdint>
#include <span>
#include <utility>

namespace dmasync::inline DMASYNC_ABI::detail {

/// A transaction, as its domain knows it. Lives in the object that stands for it.
struct transaction_state : transaction_node {
    /// `shown` is where the object has its hold.
    explicit transaction_state(claim*& shown) noexcept : shown_hold{shown} {}

    claim* contended = nullptr; // owned: what it waited for when it was wounded; names buffers and keeps them alive
    claim*& shown_hold;         // invariant: `held`

    [[nodiscard]] claim* hold() const noexcept { return static_cast<claim*>(held); }

    void set_hold(claim* c) noexcept { held = shown_hold = c; }
};

/// Threads: a transaction is used by one at a time; others wound it and end its lease, under the lock.
class transactions {
public:
    // ---- to grow -----------------------------------------------------------------------------------------------------

    /// Grants one more buffer to a transaction where that takes nothing out of the ordinary, as `acquire::fast`.
    /// Returns: whether it was granted; nothing has changed otherwise.
    template <access_mode Mode>
    [[nodiscard, gnu::noinline]] static bool extend_fast(domain_state& domain, transaction_state& t, buffer_node* b,
                                                         options_id options, call_site place) noexcept {
        if (!domain.lock.lock_biased()) [[unlikely]] { return false; }
        const locked d{domain};
        claim* const c = t.hold();
        const bool may_grow = t.phase_now() == transaction_phase::growing && t.waiting == nullptr;
        if (!may_grow || d->trace.is_on()) [[unlikely]] { return core::leave_undone(d); }
        if (c == nullptr) { return begin_fast<Mode>(d, t, b, options, place); }
        const bool has_room = c->state_now() == phase::held && c->size < c->room;
        if (!has_room || !d->policy.try_extend_idle<Mode>(*c, c->size, t, b)) [[unlikely]] {
            return core::leave_undone(d);
        }
        c->place = place;
        ++d->counters.granted_at_once;
        d->lock.unlock_biased();
        return true;
    }

    /// Grants more to a transaction now, or says why not.
    /// `r.mine`: set when there is a dma-buf in the set: a part before its fences, to be joined.
    [[nodiscard]] static errc extend(domain_state& d, transaction_state& t, acquire_request& r) noexcept {
        errc why{};
        do {
            critical_section s{d};
            why = refuse(t);
            if (why == errc{}) { why = extend(s, t, r); }
        } while (why == errc::out_of_memory && core::grow_for(d, r.set.size()) &&
                 core::grow_for(d, size_with(t, r.set.size())));
        return why;
    }

    /// A record for a part that is about to wait, and room for it in the hold; null without memory.
    [[nodiscard]] static claim* prepare_part(domain_state& d, transaction_state& t, std::size_t size) noexcept {
        for (;;) {
            {
                critical_section s{d};
                if (t.held == nullptr || is_over(t) || hold_with_room(s, t, size) != nullptr) { break; }
            }
            if (!core::grow_for(d, size_with(t, size))) { return nullptr; }
        }
        claim* c = core::prepare(d, size);
        if (c != nullptr) { own(*c, t); }
        return c;
    }

    /// Grants the set to a part that was prepared to wait, or says why not.
    [[nodiscard]] static errc try_grant_part(critical_section& s, claim& c, const acquire_request& r) noexcept {
        auto& t = static_cast<transaction_state&>(*c.transaction);
        if (const errc why = refuse(t); why != errc{}) { return why; }
        const errc why = s->policy.try_extend(c, r.set, s.out);
        if (why == errc{}) {
            core::adopt(s, c, r);
            t.waiting = &c;
        } else if (why == errc::would_block && s->policy.must_die(t, r.set)) {
            return die(s, t, c, r);
        }
        return why;
    }

    /// The wait for a part is over: it is added to the hold, or has failed. The part is gone afterwards.
    static failure join(transaction_state& t, claim& part) noexcept {
        critical_section s{*part.domain};
        t.waiting = nullptr;
        const failure why = outcome(t, part);
        if (!why) {
            take_over(s, t, part);
        } else {
            reject(s, t, part, why);
        }
        return why;
    }

    /// Whether a transaction has all that is asked for, with such an access.
    [[nodiscard]] static bool covers(const transaction_state& t, std::span<const request> set) noexcept {
        return t.held != nullptr && std::all_of(set.begin(), set.end(), [&t](const request& r) {
                   const entry* e = core::find(*t.hold(), static_cast<const buffer_state*>(r.buffer));
                   return e != nullptr && is_dma(e->mode) == is_dma(r.mode) && (is_write(e->mode) || !is_write(r.mode));
               });
    }

    // ---- to end ------------------------------------------------------------------------------------------------------

    /// Makes a transaction complete: its hold can be wounded no more, and nothing is added to it (R4).
    /// Returns: the hold; null with `why`.
    [[nodiscard]] static claim* complete(domain_state& d, transaction_state& t, errc& why) noexcept {
        const lock_section s{d};
        why = standing(t);
        if (why == errc{} && t.held == nullptr) { why = errc::not_locked; }
        if (why != errc{}) { return nullptr; }
        claim* c = t.hold();
        DMASYNC_ASSERT(c->flags.has(claim_flags::incomplete));
        if (!admission::complete(*c)) { c->flags.set(claim_flags::partial); }
        t.set_hold(nullptr);
        t.set_phase(transaction_phase::done); // a wound that it had not heard of does not matter: it waits no more
        return c;
    }

    /// Gives back all that a transaction holds. It may lock again, as old as it is.
    static failure give_back(domain_state& d, transaction_state& t, bool to_begin_again) noexcept {
        failure f = errc::not_locked;
        if (t.held != nullptr) {
            claim& c = *t.hold();
            f = holds::unlock(c);
            t.set_hold(nullptr);
        }
        const lock_section s{d};
        const transaction_phase p = t.phase_now();
        s->counters.retries += to_begin_again && p == transaction_phase::restarting ? 1U : 0U;
        if (p != transaction_phase::done) { t.set_phase(transaction_phase::growing); }
        return f;
    }

    // ---- to begin again ----------------------------------------------------------------------------------------------

    static void forget_contended(transaction_state& t) noexcept {
        claim& c = *std::exchange(t.contended, nullptr);
        critical_section s{*c.domain};
        core::disown(s, c);
    }

    /// Makes a claim that named what a transaction was waiting for ready to wait for it again.
    static void prepare_again(claim& c) noexcept {
        const lock_section s{*c.domain};
        DMASYNC_ASSERT(c.state_now() == phase::failed && c.flags.has(claim_flags::pinned));
        c.why = failure{};
        c.wake_word.store(blocked_thread::asleep, std::memory_order_relaxed);
        set_phase(c, phase::idle);
    }

    /// A transaction that holds nothing waits for what it was waiting for when it was wounded: having that in vain is better
    /// than trying again and again. Fences are not waited for: it is going to be given back at once.
    /// Returns: whether it waits; its waiter is then notified once, and may have been by now. Otherwise it has failed.
    [[nodiscard]] static bool wait_again(transaction_state& t, claim& c, const acquire_request& r) noexcept {
        DMASYNC_ASSERT(t.held == nullptr && t.waiting == nullptr);
        leases::sweep(*c.domain);
        event_loop* const loop = c.is_blocking() ? nullptr : waiting_loops::prepare(*c.domain, r.options.on);
        critical_section s{*c.domain};
        if (!c.why && !c.is_blocking()) { c.why = waiting_loops::join(s, c, loop); }
        if (!c.why && is_closed(c)) { c.why = errc::closed; }
        if (!c.why && r.options.deadline <= s->loop.now()) { c.why = errc::timed_out; }
        if (c.why) {
            core::set_failed(s, c, c.why);
            return false;
        }
        c.set_reaches_device(false);
        core::adopt(s, c, r);
        t.waiting = &c;
        set_phase(c, phase::waiting);
        clock::enter(s, c, clock::coarse_now(s), r.options.deadline);
        core::begin_patience(s, c);
        s->trace.waits(c);
        s->policy.enqueue_or_grant(c, s.out);
        return true;
    }

    /// That wait is over. What was granted is given back: the transaction asks for it again in its turn.
    static failure end_wait_again(transaction_state& t, claim& c) noexcept {
        critical_section s{*c.domain};
        const phase p = c.state_now();
        const failure why =
            p == phase::failed && c.why != errc::closed ? c.why : failure{}; // the next lock says `closed`
        if (p == phase::held) { core::end_hold(s, c); }
        t.waiting = nullptr;
        t.set_phase(transaction_phase::growing); // a wound of just now does not matter: it holds nothing
        core::disown(s, c);
        return why;
    }

private:
    // ---- how it stands -----------------------------------------------------------------------------------------------

    /// Why a transaction cannot be extended; no error when it can. It hears of its wounds here.
    [[nodiscard]] static errc refuse(transaction_state& t) noexcept {
        if (t.phase_now() == transaction_phase::wounded && t.waiting == nullptr) {
            t.set_phase(transaction_phase::restarting);
        }
        return standing(t);
    }

    /// Why a transaction cannot go on as it is, as far as it has heard; no error when it can.
    [[nodiscard]] static errc standing(const transaction_state& t) noexcept {
        if (t.phase_now() == transaction_phase::done) { return errc::transaction_done; }
        if (t.waiting != nullptr) { return errc::already_locked; }
        if (t.phase_now() == transaction_phase::restarting) { return errc::wounded; }
        return is_over(t) ? errc::lease_expired : errc{};
    }

    [[nodiscard]] static bool is_over(const transaction_state& t) noexcept {
        return t.held != nullptr && t.hold()->state_now() == phase::expired;
    }

    [[nodiscard]] static bool is_closed(const claim& c) noexcept {
        const auto closed = [](const entry& e) { return (e.buffer->state & buffer_node::closed) != 0; };
        return std::any_of(c.set().begin(), c.set().end(), closed);
    }

    [[nodiscard]] static std::size_t size_with(const transaction_state& t, std::size_t more) noexcept {
        return (t.held == nullptr ? 0 : t.held->size) + more;
    }

    // ---- how it grows ------------------------------------------------------------------------------------------------

    /// A record from the pool becomes one of a transaction's.
    static void own(claim& c, transaction_state& t) noexcept {
        DMASYNC_ASSERT(c.transaction == nullptr && c.flags.none());
        c.transaction = &t;
        c.flags.set(claim_flags::incomplete);
        c.size = 0;
    }

    /// The rest of `extend_fast` for the first lock of a transaction.
    template <access_mode Mode>
    [[nodiscard, gnu::noinline]] static bool begin_fast(locked d, transaction_state& t, buffer_node* b,
                                                        options_id options, call_site place) noexcept {
        claim* const c = d->pool.first(1);
        const bool usual = c != nullptr && c->options == options;
        if (!usual || !d->policy.try_extend_idle<Mode>(*c, 0, t, b)) { return core::leave_undone(d); }
        d->pool.take_first(*c, 1);
        c->transaction = &t;
        c->flags.set(claim_flags::incomplete);
        c->place = place;
        set_phase(*c, phase::held);
        t.set_hold(c);
        ++d->counters.granted_at_once;
        clock::begin_lease(d, *c);
        core::leave(d);
        return true;
    }

    [[nodiscard]] static errc extend(critical_section& s, transaction_state& t, acquire_request& r) noexcept {
        if (core::lease_of(s.domain(), r.options).count() <= 0) { return errc::invalid_lease; }
        if (has_dma_buf(r.set)) { return grant_part(s, t, r); }
        const errc why = t.held == nullptr ? grant_first(s, t, r) : grant_more(s, t, r);
        if (why == errc{}) { ++s->counters.granted_at_once; }
        return why;
    }

    [[nodiscard]] static bool has_dma_buf(std::span<const request> set) noexcept {
        std::uint32_t seen = 0;
        for (const request& r : set) { seen |= r.buffer == nullptr ? 0 : r.buffer->state; }
        return (seen & buffer_node::dma_buf) != 0;
    }

    /// The first lock of a transaction: the record becomes its hold.
    [[nodiscard]] static errc grant_first(critical_section& s, transaction_state& t,
                                          const acquire_request& r) noexcept {
        errc why{};
        claim* const c = grant_fresh(s, t, r, why);
        if (c == nullptr) { return why; }
        core::begin_hold(s, *c, clock::coarse_now(s));
        t.set_hold(c);
        return errc{};
    }

    /// A further one: added to the hold.
    [[nodiscard]] static errc grant_more(critical_section& s, transaction_state& t, const acquire_request& r) noexcept {
        claim* const hold = hold_with_room(s, t, r.set.size());
        if (hold == nullptr) { return errc::out_of_memory; }
        const std::uint32_t before = hold->size;
        if (const errc why = s->policy.try_extend(*hold, r.set, s.out); why != errc{}) { return why; }
        hold->place = r.place;
        s->trace.granted(*hold, before);
        return errc{};
    }

    /// One with a dma-buf: a part that has to pass fences before it is joined.
    [[nodiscard]] static errc grant_part(critical_section& s, transaction_state& t, acquire_request& r) noexcept {
        if (t.held != nullptr && hold_with_room(s, t, r.set.size()) == nullptr) { return errc::out_of_memory; }
        errc why{};
        claim* const part = grant_fresh(s, t, r, why);
        if (part == nullptr) { return why; }
        set_phase(*part, phase::entering);
        t.waiting = r.mine = part;
        return errc{};
    }

    /// Grants the set to a record from the pool. Returns: null with `why`.
    [[nodiscard]] static claim* grant_fresh(critical_section& s, transaction_state& t, const acquire_request& r,
                                            errc& why) noexcept {
        claim* const c = s->pool.take(r.set.size());
        why = errc::out_of_memory;
        if (c == nullptr) { return nullptr; }
        own(*c, t);
        why = s->policy.try_extend(*c, r.set, s.out);
        if (why != errc{}) {
            core::disown(s, *c);
            return nullptr;
        }
        core::adopt(s, *c, r);
        c->place = r.place;
        return c;
    }

    /// The hold of a transaction, moved to a larger record when it has no room. Null when the pool has none.
    [[nodiscard]] static claim* hold_with_room(critical_section& s, transaction_state& t, std::size_t more) noexcept {
        claim* c = t.hold();
        return c->room >= c->size + more ? c : enlarge(s, t, more);
    }

    [[nodiscard, gnu::noinline]] static claim* enlarge(critical_section& s, transaction_state& t,
                                                       std::size_t more) noexcept {
        claim* old = t.hold();
        claim* larger = s->pool.take(old->size + more);
        if (larger == nullptr) { return nullptr; }
        own(*larger, t);
        admission::move_holds(*old, *larger);
        holds::hold_like(s, *old, *larger);
        s->trace.moved(*old, *larger, 0);
        larger->stop.swap(old->stop);
        larger->flags.copy(old->flags, claim_flags::stoppable);
        old->flags.clear(claim_flags::stoppable);
        clock::leave(*old);
        core::disown(s, *old);
        t.set_hold(larger);
        return larger;
    }

    // ---- how its waits end -------------------------------------------------------------------------------------------

    /// Wait-die: instead of waiting, the transaction is wounded. The claim goes on naming what it wanted.
    [[nodiscard]] static errc die(critical_section& s, transaction_state& t, claim& c,
                                  const acquire_request& r) noexcept {
        admission::name(c, r.set);
        core::pin(c);
        s->trace.gives_way(t, deadlock_policy::wait_die);
        ++s->counters.deaths;
        t.set_phase(transaction_phase::wounded);
        return errc::wounded;
    }

    [[nodiscard]] static failure outcome(const transaction_state& t, const claim& part) noexcept {
        switch (part.state_now()) {
        case phase::held: return is_over(t) ? failure{errc::lease_expired} : failure{};
        case phase::expired: return errc::lease_expired; // it was not resumed in time
        default: return part.why;
        }
    }

    /// What a part was granted is the transaction's.
    static void take_over(critical_section& s, transaction_state& t, claim& part) noexcept {
        if (t.held == nullptr) {
            t.set_hold(&part);
            return;
        }
        claim& hold = *t.hold();
        DMASYNC_ASSERT(hold.room - hold.size >= part.size); // prepare_part has seen to it
        const std::uint32_t before = hold.size;
        if (part.has_dma_buf()) {
            hold.brackets = part.brackets;
            hold.wait_for_fences = part.wait_for_fences;
        }
        hold.place = part.place;
        admission::move_holds(part, hold);
        s->trace.moved(part, hold, before);
        clock::leave(part);
        core::disown(s, part);
    }

    /// A part has failed, or came too late. One of a wounded transaction is kept, as far as it names what it waited for. One that
    /// has expired may stand in the list of a sweep that is about to report it: it is left there.
    static void reject(critical_section& s, transaction_state& t, claim& part, failure why) noexcept {
        if (part.state_now() == phase::held) { holds::end(s, part); }
        const bool wounded = why == errc::wounded;
        if (wounded) { t.set_phase(transaction_phase::restarting); }
        if (wounded && part.flags.has(claim_flags::pinned)) {
            t.contended = &part;
        } else {
            core::disown(s, part);
        }
    }
};

} // namespace dmasync::inline DMASYNC_ABI::detail
