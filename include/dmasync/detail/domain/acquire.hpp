// SPDX-License-Identifier: MIT
#pragma once
/// \file acquire.hpp  What a lock does to a domain, from the question to the answer.
///
/// `fast` is the way of nearly all locks: the thread has the bias of the domain's lock, a record with the right options is there,
/// no claim and no device stands in the way of the set, nothing is recorded. Whatever else there may be is kept out of it: `ask`
/// begins anew. Threads: any.

#include <dmasync/access_mode.hpp>
#include <dmasync/call_site.hpp>
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
#include <dmasync/detail/domain/transactions.hpp>
#include <dmasync/detail/domain/waiting_loops.hpp>
#include <dmasync/detail/policy/admission.hpp>
#include <dmasync/detail/sync/threading.hpp>
#include <dmasync/error.hpp>
#include <dmasync/event_loop.hpp>
#include <dmasync/lock_options.hpp>
#include <dmasync/version.hpp>

#include <algorithm>
#include <array>
#include <atomic>
#include <chrono>
#include <coroutine>
#include <cstddef>
#include <cstdint>
#include <mutex>
#include <span>
#include <utility>

namespace dmasync::inline DMASYNC_ABI::detail {

/// What has become of an acquisition.
enum class acquire_result : std::uint8_t {
    held,    ///< `mine` is a hold
    fenced,  ///< granted, but there is a dma-buf in the set: `mine` is before its fences (`fence_waits::enter`)
    waits,   ///< `mine` waits: its waiter is notified once, and may have been by now
    refused, ///< `why` says why; with `would_block`, `wait` may follow
    spin,    ///< refused with `would_block`, but the set may well be free in a moment
};

/// A set with accesses that the compiler knows, of buffers of the domain of the first, or of others; locked without options.
template <access_mode... Modes>
struct listed_set {
    std::array<buffer_node*, sizeof...(Modes)> nodes;

    [[nodiscard]] static constexpr const lock_options& options() noexcept { return no_lock_options; }

    [[nodiscard]] static constexpr std::size_t size() noexcept { return sizeof...(Modes); }
    [[nodiscard, gnu::always_inline]] bool grant_idle(admission& a, claim& c) const noexcept {
        return a.grant_idle<Modes...>(c, nodes);
    }
    [[nodiscard]] static constexpr bool is_in_use() noexcept { return false; }
    [[nodiscard]] static constexpr claim** registration() noexcept { return nullptr; }
};

/// The same, with options.
template <access_mode... Modes>
struct listed_set_with_options {
    const listed_set<Modes...>& set;
    const lock_options& given;

    [[nodiscard]] const lock_options& options() const noexcept { return given; }
    [[nodiscard]] static constexpr std::size_t size() noexcept { return sizeof...(Modes); }
    [[nodiscard, gnu::always_inline]] bool grant_idle(admission& a, claim& c) const noexcept {
        return set.grant_idle(a, c);
    }
    [[nodiscard]] static constexpr bool is_in_use() noexcept { return false; }
    [[nodiscard]] static constexpr claim** registration() noexcept { return nullptr; }
};

/// The set of a lock_set, with its mark that it is in use.
struct registered_set {
    std::span<const request> requests;
    claim*& live;
    const lock_options& given;

    [[nodiscard]] const lock_options& options() const noexcept { return given; }

    [[nodiscard]] std::size_t size() const noexcept { return requests.size(); }
    [[nodiscard, gnu::always_inline]] bool grant_idle(admission&, claim& c) const noexcept {
        return admission::grant_idle(c, requests);
    }
    [[nodiscard]] bool is_in_use() const noexcept { return live != nullptr; }
    [[nodiscard]] claim** registration() const noexcept { return &live; }
};

class acquire {
public:
    using time_point = event_loop::time_point;

    // ---- the way of nearly all ---------------------------------------------------------------------------------------

    /// Grants the set, one of those above, where that takes nothing out of the ordinary. `options`: the id of the set's options.
    /// Returns: the hold; null otherwise, with nothing changed that could be seen.
    template <class Set>
    [[nodiscard, gnu::noinline]] static claim* fast(domain_state& domain, const Set& set, options_id options,
                                                    call_site place) noexcept {
        if (!domain.lock.lock_biased()) [[unlikely]] { return fast_shared(domain, set, options, place); }
        const locked d{domain};
        claim* const first = d->pool.first(set.size());
        if (first != nullptr && first->options != options) [[unlikely]] {
            return fast_adopting(domain, set, options, place);
        }
        claim* const c = take_for(d, first, set, place);
        if (c != nullptr && !d->lazy_timestamps) [[likely]] { return begin_fast(d, *c); }
        if (c != nullptr) { d->deadlines.enter_undated(*c); }
        d->lock.unlock_biased();
        return c;
    }

    /// Waits for one buffer where that takes nothing out of the ordinary: it is held or waited for, and no device reaches it.
    /// Returns: whether `waiter` waits, by `mine`; it is then notified once, and may have been by now. Nothing has changed
    ///          otherwise.
    [[nodiscard, gnu::noinline]] static bool wait_fast(domain_state& domain, buffer_node& b, access_mode mode,
                                                       call_site place, std::coroutine_handle<> waiter,
                                                       claim*& mine) noexcept {
        if (!domain.lock.lock_biased()) { return false; }
        const locked d{domain};
        claim* const c = d->pool.first(1);
        const bool usual = c != nullptr && c->options == id_of_no_options && !d->trace.is_on();
        if (!usual || !admission::must_wait(b, mode)) { return core::leave_undone(d); }
        admission::name(*c, b, mode);
        c->place = place;
        c->waiter = waiter;
        mine = c; // before it can be granted
        if (begin_wait(d, *c)) [[likely]] { return true; }
        mine = nullptr;
        return false;
    }

    // ---- the general way ---------------------------------------------------------------------------------------------

    /// Grants the set now, or has `r.waiter` wait for it, or says why not: in one critical section, and mostly without a ticket
    /// or a queue. With a waiter, it first looks for a moment whether the set becomes free, where that pays.
    /// Errors: what `admission::try_grant` says, `invalid_lease`, `already_locked` or `out_of_memory`; `would_block` without a
    ///         waiter, after spinning in vain, and where the clock has to be looked at first.
    [[nodiscard]] static acquire_result ask(domain_state& d, acquire_request& r) noexcept {
        const acquire_result result = ask_once(d, r, r.waiter);
        return result == acquire_result::spin ? spin(d, r) : result;
    }

    /// The same for a caller that is not going to wait: a hold whose lease has run out is not in its way.
    [[nodiscard]] static acquire_result ask_swept(domain_state& d, acquire_request& r) noexcept {
        const acquire_result result = ask(d, r);
        const bool held_up = result == acquire_result::refused && r.why == errc::would_block;
        return held_up && leases::sweep(d) ? ask(d, r) : result;
    }

    /// Before a thread blocks: looks for a moment whether the set becomes free, where that pays. Returns: as `ask`.
    [[nodiscard]] static acquire_result spin_if_it_pays(domain_state& d, acquire_request& r) noexcept {
        bool pays = false;
        {
            const lock_section s{d};
            pays = spin_pays(s, r.set);
        }
        return pays ? spin(d, r) : acquire_result::refused;
    }

    /// Grants the set to a prepared claim, or queues it.
    /// Returns: whether it waits; its waiter is then notified once, and may have been by now. Otherwise it is held or failed.
    [[nodiscard]] static bool wait(claim& c, const acquire_request& r) noexcept {
        leases::sweep(*c.domain); // expires overdue holds first: they are not waited for
        event_loop* const loop = c.is_blocking() ? nullptr : waiting_loops::prepare(*c.domain, r.options.on);
        {
            critical_section s{*c.domain};
            failure why = c.why; // set when it was cancelled before it could wait
            if (!why && !c.is_blocking()) { why = waiting_loops::join(s, c, loop); }
            if (!why) {
                why = c.transaction == nullptr ? core::try_grant(s, c, r) : transactions::try_grant_part(s, c, r);
            }
            if (why == errc::would_block && r.options.deadline <= s->loop.now()) { why = errc::timed_out; }
            if (why == errc::would_block) {
                enqueue(s, c, r, clock::coarse_now(s));
                return true;
            }
            if (why) {
                s->trace.refused(r.set, r.options.name, why);
                core::set_failed(s, c, why);
                return false;
            }
            if (!begin(s, c)) { return false; }
        }
        c.loop->post(c);
        return true;
    }

    /// Waits for a claim that `wait` said waits, on this thread, which looks after leases and deadlines meanwhile: its own is one
    /// of them.
    static void block(claim& c) noexcept {
        DMASYNC_ASSERT(c.is_blocking());
        domain_state& d = *c.domain;
        blocked_thread me{c.wake_word};
        while (!is_settled(me)) {
            futex_wait(me.word, blocked_thread::asleep, begin_sleep(d, me));
            if (!is_settled(me)) { leases::sweep(d); }
        }
        end_sleep(d, me);
    }

    /// Whether the calling thread is in a turn of a loop, be it the domain's or another one: it must not block then.
    [[nodiscard]] static bool is_loop_thread(domain_state& d) noexcept {
        const lock_section s{d};
        return waiting_loops::of_this_thread(s) != nullptr || (s->open && s->loop.in_this_thread());
    }

    // ---- to give up --------------------------------------------------------------------------------------------------

    /// Gives up a claim that waits, and notifies its waiter; one that is prepared fails as soon as it is to wait. A claim that
    /// is settled stays as it is: exactly one outcome (S5). Threads: any.
    static void cancel(claim& c, errc why) noexcept {
        critical_section s{*c.domain};
        const phase p = c.state_now();
        if (p == phase::idle || p == phase::entering) { c.why = why; }
        if (p == phase::waiting || p == phase::fenced) { core::give_up(s, c, why); }
    }

    /// The awaiter of this claim is gone, whatever has become of it. Threads: where it would have resumed.
    static void abandon(claim& c) noexcept {
        if (c.has_dma_buf()) [[unlikely]] { c.fence_end.end(c.loop); }
        critical_section s{*c.domain};
        if (c.transaction != nullptr) { c.transaction->waiting = nullptr; }
        const phase p = c.state_now();
        if (p == phase::waiting) {
            s->trace.gave_up(c, errc::cancelled); // destroyed with its coroutine
            core::leave_queues(s, c);
        }
        if (p == phase::held) { holds::end(s, c); }
        if (p == phase::fenced || p == phase::entering) { core::end_hold(s, c); }
        core::disown(s, c);
    }

private:
    // ---- the rest of `fast` and `wait_fast` --------------------------------------------------------------------------

    /// The last of `wait_fast`: looks at the clock and at the loop's record, and leaves.
    /// Returns: whether the claim, the first of the pool, waits; nothing has changed otherwise.
    [[nodiscard, gnu::noinline]] static bool begin_wait(locked d, claim& c) noexcept {
        const time_point now = d->reads_kernel_clock ? event_loop::coarse_clock() : clock::coarse_now(d);
        const bool is_new_to_loop = !d->home.is_attached; // or has outlived it: `join` looks
        if (may_be_overdue(d, now) || is_new_to_loop || &waiting_loops::choose(d, nullptr) != &d->loop) {
            c.waiter = nullptr;
            return core::leave_undone(d);
        }
        d->pool.take_first(c, 1);
        c.loop = &d->loop;
        set_phase(c, phase::waiting);
        clock::enter(d, c, now, time_point::max());
        core::begin_patience(d, c);
        ++d->counters.contended;
        d->policy.enqueue_one(c);
        core::leave(d);
        return true;
    }

    /// `fast` without the bias.
    template <class Set>
    [[nodiscard, gnu::noinline]] static claim* fast_shared(domain_state& domain, const Set& set, options_id options,
                                                           call_site place) noexcept {
        const time_point now = clock::lock(domain);
        const locked d{domain};
        claim* const first = d->pool.first(set.size());
        const bool adopts = first != nullptr && first->options != options;
        claim* const c = adopts && !core::adopt_options(d, *first, options, set.options())
                             ? nullptr
                             : take_for(d, first, set, place);
        if (c != nullptr) { clock::enter(d, *c, now); }
        core::leave(d);
        return c;
    }

    /// `fast` where the first record has other options.
    template <class Set>
    [[nodiscard, gnu::noinline]] static claim* fast_adopting(domain_state& domain, const Set& set, options_id options,
                                                             call_site place) noexcept {
        const locked d{domain};
        claim& first = *d->pool.first(set.size());
        const bool adopted = core::adopt_options(d, first, options, set.options());
        claim* const c = adopted ? take_for(d, &first, set, place) : nullptr;
        if (c != nullptr && !d->lazy_timestamps) [[likely]] { return begin_fast(d, *c); }
        if (c != nullptr) { d->deadlines.enter_undated(*c); }
        d->lock.unlock_biased();
        return c;
    }

    /// Grants a set that is idle to the pool's first record, which has its options. Returns: the record; null where anything is
    /// out of the ordinary.
    template <class Set>
    [[nodiscard, gnu::always_inline]] static claim* take_for(locked d, claim* c, const Set& set,
                                                             call_site place) noexcept {
        if (c == nullptr || d->trace.is_on() || set.is_in_use()) [[unlikely]] { return nullptr; }
        if (!set.grant_idle(d->policy, *c)) [[unlikely]] { return nullptr; }
        DMASYNC_ASSERT(c->flags.none());
        core::register_claim(*c, set.registration());
        d->pool.take_first(*c, set.size());
        c->place = place;
        set_phase(*c, phase::held);
        ++d->counters.granted_at_once;
        return c;
    }

    /// Reads the clock, and leaves.
    [[nodiscard, gnu::noinline]] static claim* begin_fast(locked d, claim& c) noexcept {
        clock::begin_lease(d, c);
        if (d->sleepers_are_late) [[unlikely]] {
            core::leave_carefully(d);
        } else {
            d->lock.unlock_biased();
        }
        return &c;
    }

    // ---- the rest of `ask` -------------------------------------------------------------------------------------------

    /// `ask` without spinning: `spin` says that it would pay.
    [[nodiscard]] static acquire_result ask_once(domain_state& d, acquire_request& r,
                                                 std::coroutine_handle<> waiter) noexcept {
        if (r.set.empty()) { return refuse(r, errc::empty_set); }
        for (;;) {
            const time_point now = clock::lock(d);
            if (claim* c = d.pool.take(r.set.size()); c != nullptr) { return ask_with(locked{d}, *c, r, waiter, now); }
            d.lock.unlock();
            if (!core::grow_for(d, r.set.size())) { return refuse(r, errc::out_of_memory); }
        }
    }

    // Each of these ends the critical section.

    /// Grants the set to a claim from the pool.
    [[nodiscard]] static acquire_result ask_with(locked d, claim& c, acquire_request& r, std::coroutine_handle<> waiter,
                                                 time_point now) noexcept {
        if (c.options != r.id) {
            if (!core::adopt_options(d, c, r.id, r.options)) { return refuse(d, c, r, errc::invalid_lease); }
        }
        if (r.registration != nullptr && *r.registration != nullptr) { return refuse(d, c, r, errc::already_locked); }
        std::uint32_t seen = 0;
        if (const request* held_up = d->policy.mark_whole(c, r.set, seen); held_up != nullptr) {
            return wait_or_refuse(d, c, r, d->policy.unmark_again(r.set, *held_up), waiter, now);
        }
        core::register_claim(c, r.registration);
        c.place = r.place;
        r.mine = &c;
        if ((seen & buffer_node::dma_buf) != 0) { return stop_at_fences(d, c, r); }
        ++d->counters.granted_at_once;
        core::begin_hold(d, c, now);
        core::leave(d);
        return acquire_result::held;
    }

    [[nodiscard]] static acquire_result refuse(acquire_request& r, errc why) noexcept {
        r.why = why;
        return acquire_result::refused;
    }

    /// Returns an ungranted claim to the pool.
    static acquire_result refuse(locked d, claim& c, acquire_request& r, errc why) noexcept {
        d->pool.give(c);
        d->lock.unlock();
        return refuse(r, why);
    }

    [[nodiscard]] static acquire_result stop_at_fences(locked d, claim& c, const acquire_request& r) noexcept {
        core::adopt_device_options(c, r.options);
        c.set_reaches_device(true);
        set_phase(c, phase::entering);
        d->lock.unlock();
        return acquire_result::fenced;
    }

    /// A set has not been granted. It is waited for, where there is a waiter and it is not refused for good.
    [[nodiscard]] static acquire_result wait_or_refuse(locked d, claim& c, acquire_request& r, errc why,
                                                       std::coroutine_handle<> waiter, time_point now) noexcept {
        if (why != errc::would_block || !waiter) { return refuse(d, c, r, why); }
        if (spin_pays(d, r.set)) {
            refuse(d, c, r, why);
            return acquire_result::spin;
        }
        // A lease or this deadline may have passed: `wait` looks at the clock.
        const bool time_counts = r.options.deadline != time_point::max() || may_be_overdue(d, now);
        event_loop& loop = waiting_loops::choose(d, r.options.on);
        const bool is_known = waiting_loops::find(d, loop) != nullptr; // else `wait` makes it known
        if (time_counts || !is_known || waiting_loops::join(d, c, loop)) { return refuse(d, c, r, why); }
        c.place = r.place;
        c.waiter = waiter;
        r.mine = &c;
        critical_section s{d, std::adopt_lock};
        enqueue(s, c, r, now);
        return acquire_result::waits;
    }

    // ---- spinning ----------------------------------------------------------------------------------------------------

    /// Whether a set that is held may well be free in a moment: another thread uses the domain, no claim waits for the set, and
    /// spinning has helped lately.
    [[nodiscard]] static bool spin_pays(locked d, std::span<const request> set) noexcept {
        return looks_before_queue != 0 && d->lock.is_shared_lately() && !is_waited_for(set) &&
               d->spin_before_queueing.pays();
    }

    [[nodiscard]] static bool is_waited_for(std::span<const request> set) noexcept {
        std::uint32_t seen = 0;
        for (const request& r : set) { seen |= r.buffer->state; }
        return (seen & buffer_node::waited) != 0;
    }

    /// Asks a few times, in all for as long as it takes to wake a thread that sleeps. Between threads that hold for less than
    /// that, to queue would cost both of them more. A spinning caller has no ticket, so it overtakes nothing that is queued.
    /// Returns: as `ask` without a waiter.
    [[nodiscard]] static acquire_result spin(domain_state& d, acquire_request& r) noexcept {
        constexpr unsigned first_pause = 4;
        for (unsigned tries = 0;; ++tries) {
            for (unsigned pause = first_pause << tries; pause > 0; --pause) { spin_hint(); }
            const acquire_result result = ask_once(d, r, nullptr);
            const lock_section s{d};
            if (result != acquire_result::refused) {
                s->spin_before_queueing.helped();
                return result;
            }
            const bool again = tries + 1 < looks_before_queue && r.why == errc::would_block && !is_waited_for(r.set);
            if (!again) {
                s->spin_before_queueing.was_in_vain();
                return result;
            }
        }
    }

    // ---- waiting -----------------------------------------------------------------------------------------------------

    /// Hands over what has just been granted to a claim that was prepared to wait.
    /// Returns: whether it is to be posted to its loop instead, to wait for fences there.
    [[nodiscard]] static bool begin(locked d, claim& c) noexcept {
        const time_point now = clock::coarse_now(d);
        if (!c.has_dma_buf()) {
            c.waiter = nullptr; // goes on in place
            waiting_loops::part(c);
            core::begin_hold(d, c, now);
            ++d->counters.granted_at_once;
            return false;
        }
        core::begin_fence_wait(d, c, now);
        if (c.is_blocking()) { return false; }
        c.posted = true;
        return true;
    }

    static void enqueue(critical_section& s, claim& c, const acquire_request& r, time_point now) noexcept {
        DMASYNC_ASSERT(c.state_now() == phase::idle && c.room >= r.set.size());
        admission::name(c, r.set);
        core::adopt(s, c, r);
        if (c.transaction != nullptr) { c.transaction->waiting = &c; }
        set_phase(c, phase::waiting);
        clock::enter(s, c, now, r.options.deadline);
        core::begin_patience(s, c);
        ++s->counters.contended;
        s->trace.waits(c);
        s->policy.enqueue(c, s.out);
    }

    [[nodiscard]] static bool may_be_overdue(locked d, time_point now) noexcept {
        return d->horizon <= now + d->coarse_lag;
    }

    /// Whether the claim is settled that a thread waits for; if not, the thread may sleep again.
    [[nodiscard]] static bool is_settled(blocked_thread& t) noexcept {
        const std::uint32_t word = t.word.load(std::memory_order_acquire); // with core::notify
        if (word != blocked_thread::look_again) { return word == blocked_thread::settled; }
        t.wait_for_caller();           // before the next may come: it is in one chain of calls at a time
        std::uint32_t expected = word; // it may be settled by now: then the thread does not sleep
        t.word.compare_exchange_strong(expected, blocked_thread::asleep, std::memory_order_relaxed,
                                       std::memory_order_relaxed);
        return false;
    }

    [[nodiscard]] static std::chrono::nanoseconds begin_sleep(domain_state& d, blocked_thread& t) noexcept {
        const lock_section s{d};
        return clock::begin_sleep(s, t);
    }

    static void end_sleep(domain_state& d, blocked_thread& t) noexcept {
        {
            const lock_section s{d};
            if (sleeper_list::is_linked(t)) { sleeper_list::erase(t); }
        }
        t.wait_for_caller();
    }
};

} // namespace dmasync::inline DMASYNC_ABI::detail
