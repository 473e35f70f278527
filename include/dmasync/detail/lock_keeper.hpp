// SPDX-License-Identifier: MIT
#pragma once
/// \file lock_keeper.hpp  Acquisitions of declared sets: granted at once, waited for, or given up.

#include <dmasync/detail/admission.hpp>
#include <dmasync/detail/brief_look.hpp>
#include <dmasync/detail/claim.hpp>
#include <dmasync/detail/failure.hpp>
#include <dmasync/detail/threading.hpp>
#include <dmasync/detail/transaction_keeper.hpp>
#include <dmasync/error.hpp>
#include <dmasync/event_loop.hpp>
#include <dmasync/lock_options.hpp>

#include <algorithm>
#include <array>
#include <chrono>
#include <coroutine>
#include <cstdint>
#include <mutex>
#include <span>
#include <utility>

namespace dmasync::detail {

/// What has become of an acquisition.
enum class verdict : std::uint8_t {
    held,    ///< `mine` is a hold
    gated,   ///< granted, but there is a dma-buf in the set: `mine` is before the gate (`enter`)
    waits,   ///< `mine` waits: its waiter is told once, and may have been by now
    refused, ///< `why` says why; with `would_block`, `wait` may follow
};

/// A set with accesses that the compiler knows, of buffers of one domain by the looks of the first.
template <access_mode... Modes>
struct listed_set {
    std::array<buffer_node*, sizeof...(Modes)> nodes;

    [[nodiscard]] static constexpr std::size_t size() noexcept { return sizeof...(Modes); }
    [[nodiscard, gnu::always_inline]] bool grant_idle(admission& a, claim& c) const noexcept {
        return a.grant_idle<Modes...>(c, nodes);
    }
    [[nodiscard]] static constexpr bool is_in_use() noexcept { return false; }
    [[nodiscard]] static constexpr claim** registration() noexcept { return nullptr; }
};

/// The set of a lock_set, with its mark that it is in use.
struct registered_set {
    std::span<const request> requests;
    claim*& live;

    [[nodiscard]] std::size_t size() const noexcept { return requests.size(); }
    [[nodiscard, gnu::always_inline]] bool grant_idle(admission& a, claim& c) const noexcept {
        return a.grant_idle(c, requests);
    }
    [[nodiscard]] bool is_in_use() const noexcept { return live != nullptr; }
    [[nodiscard]] claim** registration() const noexcept { return &live; }
};

/// What a lock does to a domain, from the question to the answer.
///
/// `acquire_plain` is the way of nearly all: the thread has the bias of the domain's lock, a record with the right options is
/// there, nobody and no device has to do with the set, nobody records. Whatever else there may be is kept out of it: `acquire`
/// begins anew.
///
/// Threads: any.
class lock_keeper : public transaction_keeper {
public:
    using domain_core::prepare;

    /// Grants the set, a `listed_set` or a `registered_set`, where that takes nothing out of the ordinary.
    /// Returns: the hold; null otherwise, with nothing changed.
    template <class Set>
    [[nodiscard, gnu::noinline]] claim* acquire_plain(const Set& set, options_id options, call_site place) noexcept {
        if (!lock_.lock_biased()) [[unlikely]] { return acquire_shared(set, options, place); }
        claim* const c = take_for(set, options, place);
        if (c != nullptr && !dates_later_) [[likely]] { return begin_plain(*c); }
        if (c != nullptr) { book_.enter_undated(*c); }
        lock_.unlock_biased();
        return c;
    }

    /// Has one buffer waited for where that takes nothing out of the ordinary: it is held or waited for, and no device reaches
    /// it.
    /// Returns: whether `waiter` waits, by `mine`; it is then told once, and may have been by now. Nothing has changed otherwise.
    [[nodiscard, gnu::noinline]] bool wait_plain(buffer_node& b, access_mode mode, call_site place,
                                                 std::coroutine_handle<> waiter, claim*& mine) noexcept {
        if (!lock_.lock_biased()) { return false; }
        claim* const c = pool_.first(1);
        const bool usual = c != nullptr && c->adopted == id_of_no_options && !trace_.is_on();
        if (!usual || !admission::must_wait(b, mode)) { return leave_undone(); }
        admission::name(*c, b, mode);
        c->place = place;
        c->waiter = waiter;
        mine = c; // before anybody knows that it waits
        if (!begin_wait(*c)) {
            mine = nullptr;
            return false;
        }
        return true;
    }

    /// Grants the set now, or has it waited for, or says why not: in one critical section, and mostly without a ticket or a
    /// queue.
    /// Why it is refused: what `admission::try_grant` says, `invalid_lease`, `already_locked` or `out_of_memory`;
    /// `would_block` without a waiter, after looks in vain, and where the time has to be looked at first.
    [[nodiscard]] verdict acquire(inquiry& q) noexcept {
        if (q.set.empty()) { return refuse(q, errc::empty_set); }
        for (;;) {
            const time_point now = lock_now();
            if (claim* c = pool_.take(q.set.size()); c != nullptr) { return acquire_with(*c, q, now); }
            lock_.unlock();
            if (!grow_for(q.set.size())) { return refuse(q, errc::out_of_memory); }
        }
    }

    /// The same for those who are not going to wait: a hold that has had its time does not stand in their way.
    [[nodiscard]] verdict acquire_swept(inquiry& q) noexcept {
        const verdict v = acquire(q);
        return v == verdict::refused && q.why == errc::would_block && sweep() ? acquire(q) : v;
    }

    /// Before a thread blocks: who is in the way may be gone in a moment. Returns: as `acquire`.
    [[nodiscard]] verdict look_again_if_it_pays(inquiry& q) noexcept {
        bool pays = false;
        {
            const std::lock_guard guard{lock_};
            pays = look_pays(q.set);
        }
        return pays ? look_again(q) : verdict::refused;
    }

    /// Grants the set to a prepared claim, or queues it.
    /// Returns: whether it waits; its waiter is then told once, and may have been by now. Otherwise it is held or failed.
    [[nodiscard]] bool wait(claim& c, const inquiry& q) noexcept {
        sweep(); // who has had his time is not waited for
        event_loop* gate = nullptr;
        {
            step s{*this};
            failure why = c.why; // set when it was cancelled before it could wait
            if (!why) { why = c.owner == nullptr ? try_grant(c, q) : try_grant_part(c, q, s); }
            if (why == errc::would_block && q.options.deadline <= loop_.now()) { why = errc::timed_out; }
            if (why == errc::would_block) {
                enqueue(c, q, coarse_now(), s);
                return true;
            }
            if (why) {
                trace_.refused(q.set, q.options.name, why);
                set_failed(c, why);
                return false;
            }
            gate = begin(c);
        }
        if (gate != nullptr) { gate->post(c); }
        return gate != nullptr;
    }

    /// Waits for a claim that `wait` said waits, on this thread. The thread looks after leases itself, so that they end
    /// even when nobody runs the loop; its own deadline is one of them.
    void block(claim& c) noexcept {
        const auto waits = [&c] { return c.told.load(std::memory_order_acquire) == 0; }; // with tell
        while (waits()) {
            futex_wait(c.told, 0, until_next_look());
            if (waits()) { sweep(); }
        }
    }

    /// Whether the calling thread is the one that runs the domain's loop.
    [[nodiscard]] bool is_loop_thread() noexcept {
        const std::lock_guard guard{lock_};
        return owned_ && loop_.in_this_thread();
    }

    /// Gives up a claim that waits, and tells its waiter; one that is prepared fails as soon as it is to wait. A claim
    /// that is settled stays as it is: exactly one outcome (S5). Threads: any.
    void cancel(claim& c, errc why) noexcept {
        step s{*this};
        const phase p = c.state.load(std::memory_order_relaxed);
        if (p == phase::idle || p == phase::entering) { c.why = why; }
        if (p == phase::waiting || p == phase::fenced) { give_up(c, why, s); }
    }

    /// The awaiter of this claim is gone, whatever has become of it. Threads: where it would have resumed.
    void abandon(claim& c) noexcept {
        if (c.has_dma_buf) [[unlikely]] {
            stop_watching(c);
            static_cast<void>(close_own_brackets(c));
        }
        step s{*this};
        const phase p = c.state.load(std::memory_order_relaxed);
        if (c.owner != nullptr) { c.owner->waiting = nullptr; }
        if (p == phase::waiting) { trace_.gave_up(c, errc::cancelled); } // destroyed with its coroutine
        if (p == phase::waiting) { leave_queues(c, s); }
        if (p == phase::held || p == phase::fenced || p == phase::entering) { end_hold(c, s); }
        let_go(c, s);
    }

protected:
    using transaction_keeper::transaction_keeper;

private:
    /// The last of `wait_plain`: reads the clock, and leaves.
    /// Returns: whether the claim, the first of the pool, waits.
    [[nodiscard, gnu::noinline]] bool begin_wait(claim& c) noexcept {
        const time_point now = reads_kernel_clock_ ? event_loop::coarse_clock() : coarse_now();
        if (horizon_ <= now + coarse_lag_) { return leave_undone(); } // who has had his time is not waited for
        pool_.take_first(c, 1);
        c.state.store(phase::waiting, std::memory_order_relaxed);
        c.plain = true; // once it is held
        book_.enter(c, now, time_point::max());
        begin_patience(c);
        ++counters_.contended;
        admission_.enqueue_one(c);
        leave();
        return true;
    }

    /// `acquire_plain` without the bias.
    template <class Set>
    [[nodiscard, gnu::noinline]] claim* acquire_shared(const Set& set, options_id options, call_site place) noexcept {
        const time_point now = lock_now();
        claim* const c = take_for(set, options, place);
        if (c != nullptr) { enter_book(*c, now); }
        leave();
        return c;
    }

    /// A record that has been granted a set that is idle; null where anything is out of the ordinary.
    template <class Set>
    [[nodiscard, gnu::always_inline]] claim* take_for(const Set& set, options_id options, call_site place) noexcept {
        claim* const c = pool_.first(set.size());
        if (c == nullptr || c->adopted != options || trace_.is_on() || set.is_in_use()) [[unlikely]] { return nullptr; }
        if (!set.grant_idle(admission_, *c)) [[unlikely]] { return nullptr; }
        register_claim(*c, set.registration());
        pool_.take_first(*c, set.size());
        c->place = place;
        c->state.store(phase::held, std::memory_order_relaxed);
        c->plain = true;
        ++counters_.granted_at_once;
        return c;
    }

    /// Reads the clock, and leaves.
    [[nodiscard, gnu::noinline]] claim* begin_plain(claim& c) noexcept {
        begin_lease(c);
        if (timer_is_late_) [[unlikely]] {
            leave_with_step();
        } else {
            lock_.unlock_biased();
        }
        return &c;
    }

    // The rest of `acquire`, where something is out of the ordinary. Each ends the critical section.

    /// Grants the set to a claim from the pool.
    [[nodiscard]] verdict acquire_with(claim& c, inquiry& q, time_point now) noexcept {
        if (!has_options_of(c, q)) {
            if (lease_of(q.options).count() <= 0) { return refuse(c, q, errc::invalid_lease); }
            adopt_options(c, q);
        }
        if (q.registration != nullptr) {
            if (*q.registration != nullptr) { return refuse(c, q, errc::already_locked); }
            register_claim(c, q.registration);
        }
        std::uint32_t seen = 0;
        if (const request* refused = admission_.mark_whole(c, q.set, seen); refused != nullptr) {
            return wait_or_refuse(c, q, *refused, now);
        }
        c.place = q.place;
        q.mine = &c;
        if ((seen & buffer_node::dma_buf) != 0) { return stop_at_gate(c, q); }
        c.plain = true;
        ++counters_.granted_at_once;
        begin_hold(c, now);
        leave();
        return verdict::held;
    }

    [[nodiscard]] static verdict refuse(inquiry& q, errc why) noexcept {
        q.why = why;
        return verdict::refused;
    }

    /// A claim that has not been granted anything is of no use.
    verdict refuse(claim& c, inquiry& q, errc why) noexcept {
        pool_.give(c);
        lock_.unlock();
        return refuse(q, why);
    }

    [[nodiscard]] verdict stop_at_gate(claim& c, const inquiry& q) noexcept {
        adopt_device_options(c, q.options);
        c.has_dma_buf = true;
        c.plain = c.blocking = false;
        c.state.store(phase::entering, std::memory_order_relaxed);
        lock_.unlock();
        return verdict::gated;
    }

    /// Hands over what has just been granted to a claim that was prepared to wait.
    /// Returns: the loop to post it to, when it has to pass the gate there.
    [[nodiscard]] event_loop* begin(claim& c) noexcept {
        const time_point now = coarse_now();
        if (!c.has_dma_buf) {
            begin_hold(c, now);
            ++counters_.granted_at_once;
            return nullptr;
        }
        begin_fence_wait(c, now);
        c.posted = !c.blocking;
        return c.posted ? c.loop : nullptr;
    }

    /// A set has not been granted. It is waited for, unless nobody would, or it is refused for good.
    [[nodiscard]] verdict wait_or_refuse(claim& c, inquiry& q, const request& refused, time_point now) noexcept {
        const errc why = admission_.unmark_again(q.set, refused);
        clear_registration(c); // until it waits
        if (why != errc::would_block || q.waiter == nullptr) { return refuse(c, q, why); }
        if (look_pays(q.set)) {
            refuse(c, q, why);
            return look_again(q);
        }
        // Somebody may have had his time, or this one: that takes a look at the clock.
        const bool time_counts = q.options.deadline != time_point::max() || horizon_ <= now + coarse_lag_;
        if (time_counts) { return refuse(c, q, why); }
        c.place = q.place;
        c.waiter = q.waiter;
        q.mine = &c;
        step s{*this, std::adopt_lock};
        enqueue(c, q, now, s);
        c.plain = !c.has_dma_buf; // once it is held
        return verdict::waits;
    }

    /// Whether a set that is held may well be free in a moment: another thread uses the domain, nobody waits for the set, and
    /// such looks pay.
    [[nodiscard]] bool look_pays(std::span<const request> set) noexcept {
        return looks_before_queue != 0 && lock_.is_shared_lately() && !is_waited_for(set) && look_for_end_.pays();
    }

    [[nodiscard]] static bool is_waited_for(std::span<const request> set) noexcept {
        std::uint32_t seen = 0;
        for (const request& r : set) { seen |= r.buffer->state; }
        return (seen & buffer_node::waited) != 0;
    }

    /// Looks a few times, in all for as long as it takes to wake a thread that sleeps. Between threads that hold for less
    /// than that, to queue would cost both of them more. Whoever looks has not asked yet: he overtakes nobody who waits.
    /// Returns: as `acquire` for those who do not wait.
    [[nodiscard]] verdict look_again(inquiry& q) noexcept {
        constexpr unsigned first_pause = 4;
        const std::coroutine_handle<> waiter = std::exchange(q.waiter, nullptr);
        verdict v{};
        bool goes_on = true;
        for (unsigned looks = 0; goes_on; ++looks) {
            for (unsigned pause = first_pause << looks; pause > 0; --pause) { spin_hint(); }
            v = acquire(q);
            const std::lock_guard guard{lock_};
            if (v != verdict::refused) {
                look_for_end_.helped();
                break;
            }
            goes_on = looks + 1 < looks_before_queue && q.why == errc::would_block && !is_waited_for(q.set);
            if (!goes_on) { look_for_end_.was_in_vain(); }
        }
        q.waiter = waiter;
        return v;
    }

    void enqueue(claim& c, const inquiry& q, time_point now, step& s) noexcept {
        admission::name(c, q.set);
        adopt(c, q);
        if (c.owner != nullptr) { c.owner->waiting = &c; }
        c.state.store(phase::waiting, std::memory_order_relaxed);
        enter_book(c, now, q.options.deadline);
        begin_patience(c);
        ++counters_.contended;
        trace_.waits(c);
        admission_.enqueue(c, s.out);
    }

    /// For how long a blocked thread may sleep: until something ends, but the loop's clock need not be the kernel's.
    [[nodiscard]] std::chrono::nanoseconds until_next_look() noexcept {
        constexpr std::chrono::nanoseconds longest = std::chrono::milliseconds{250};
        const std::lock_guard guard{lock_};
        if (!owned_ || horizon_ == time_point::max()) { return longest; }
        return std::min(longest, horizon_ - loop_.now());
    }

    brief_look look_for_end_; // of others' holds, before queueing; under the lock
};

} // namespace dmasync::detail
