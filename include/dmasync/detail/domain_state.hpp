// SPDX-License-Identifier: MIT
#pragma once
/// \file domain_state.hpp  What can be done to a domain: every operation is one step of its state.

#include <dmasync/detail/brief_look.hpp>
#include <dmasync/detail/buffer_state.hpp>
#include <dmasync/detail/claim.hpp>
#include <dmasync/detail/threading.hpp>
#include <dmasync/detail/transaction_keeper.hpp>
#include <dmasync/domain_options.hpp>
#include <dmasync/event_loop.hpp>
#include <dmasync/lock_options.hpp>

#include <algorithm>
#include <chrono>
#include <coroutine>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <mutex>
#include <span>
#include <utility>

namespace dmasync::detail {

/// What handles, guards and awaiters call.
class domain_state final : public transaction_keeper {
public:
    /// `first_ticket` is for tests, which start it near its wrap.
    domain_state(event_loop& loop, domain_options options, std::uint64_t first_ticket = 0)
        : transaction_keeper{*this, loop, std::move(options), first_ticket} {}

    using domain_core::prepare;

    // ---- acquiring ---------------------------------------------------------------------------------------------------

    /// Grants the set now, or says why not. The common case: one critical section, no ticket, no queue.
    /// Returns: nothing, and in `mine` a claim that is held or, if there is a dma-buf in the set, before the gate (`enter`);
    /// else what `admission::try_grant` says, `invalid_lease`, `already_locked` or `out_of_memory`.
    [[nodiscard]] errc try_acquire(const demand& d, claim*& mine) noexcept {
        return acquire_or(d, mine, [this](claim& c, errc why, time_point) { return take_back(c, why); });
    }

    /// The same for those who are not going to wait: a hold that has had its time does not stand in their way.
    [[nodiscard]] errc try_acquire_swept(const demand& d, claim*& mine) noexcept {
        const errc why = try_acquire(d, mine);
        return why == errc::would_block && sweep() ? try_acquire(d, mine) : why;
    }

    /// Grants the set to a coroutine, or queues it, in one critical section.
    /// Returns: as `try_acquire`. With `would_block`, `mine` is a claim that waits: its waiter is told once, and may have been
    /// by now.
    [[nodiscard]] errc acquire(const demand& d, std::coroutine_handle<> waiter, claim*& mine,
                               bool may_look = looks_before_queue != 0) noexcept {
        return acquire_or(d, mine, [&](claim& c, errc why, time_point now) {
            return wait_or_refuse(c, d, why, now, waiter, mine, may_look);
        });
    }

    /// Before a thread blocks: who is in the way may be gone in a moment. Returns: as `try_acquire`.
    [[nodiscard]] errc look_again_if_it_pays(const demand& d, claim*& mine) noexcept {
        bool pays = false;
        {
            const std::lock_guard guard{lock_};
            pays = looks_before_queue != 0 && look_pays(d.set);
        }
        return pays ? look_again(d, mine) : errc::would_block;
    }

    /// Grants the set to a prepared claim, or queues it.
    /// Returns: whether it waits; its waiter is then told once, and may have been by now. Otherwise it is held or failed.
    [[nodiscard]] bool wait(claim& c, const demand& d) noexcept {
        sweep(); // who has had his time is not waited for
        event_loop* gate = nullptr;
        {
            step s{*this};
            failure why = c.why; // set when it was cancelled before it could wait
            if (!why) { why = c.owner == nullptr ? try_grant(c, d) : try_grant_part(c, d.set, d.options, s); }
            if (why == errc::would_block && d.options.deadline <= loop_.now()) { why = errc::timed_out; }
            if (why == errc::would_block) {
                enqueue(c, d, coarse_now(), s);
                return true;
            }
            if (why) {
                trace_.refused(d.set, d.options.name, why);
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

    // ---- sets --------------------------------------------------------------------------------------------------------

    /// Whether a lock_set's mark says that it is locked or being locked.
    [[nodiscard]] bool in_use(claim* const& registration) noexcept {
        const std::lock_guard guard{lock_};
        return registration != nullptr;
    }

    /// A lock_set is made, and keeps the state alive until it is unregistered.
    void register_set() noexcept {
        const std::lock_guard guard{lock_};
        ++sets_;
    }

    /// The lock_set with this mark goes away; what it locked goes on without it.
    void unregister_set(claim*& registration) noexcept {
        const step s{*this};
        --sets_;
        if (registration != nullptr) { registration->registration = nullptr; }
    }

    // ---- buffers -----------------------------------------------------------------------------------------------------

    /// A buffer for this memory: the one there is, or a new one. The caller owns one handle of it.
    [[nodiscard]] buffer_state* add_buffer(memory_object memory, dmasync::name name) {
        const memory_identity identity = memory.identity;
        auto fresh = std::make_unique<buffer_state>(*this, admission_, std::move(memory), name);
        buffer_registry one;
        one.emplace(identity, fresh.get());
        fresh->node = one.extract(one.begin());

        const std::lock_guard guard{lock_};
        if (const auto found = registry_.find(identity); found != registry_.end()) {
            buffer_state& b = *found->second;
            b.handles.fetch_add(1, std::memory_order_relaxed);
            b.state &= ~buffer_node::orphan;
            return &b;
        }
        trace_.buffer(*fresh);
        registry_.insert(std::move(fresh->node));
        all_.push_back(*fresh);
        ++buffers_;
        return fresh.release();
    }

    static void add_handle(buffer_state& b) noexcept { b.handles.fetch_add(1, std::memory_order_relaxed); }

    /// Only the step from one handle to none takes the lock: an import may be finding the buffer just now.
    void drop_handle(buffer_state& b) noexcept {
        std::uint32_t n = b.handles.load(std::memory_order_relaxed);
        while (n > 1) {
            // release: what was done through this handle happens before the buffer is freed; with the one below
            if (b.handles.compare_exchange_weak(n, n - 1, std::memory_order_release, std::memory_order_relaxed)) {
                return;
            }
        }
        step s{*this};
        // acquire, with the release above; whoever comes here after this one has the lock after it
        if (b.handles.fetch_sub(1, std::memory_order_acquire) == 1) {
            b.state |= buffer_node::orphan;
            bury_if_dead(b, s);
        }
    }

    /// Nobody is granted the buffer any more; who waits for it fails with `closed`, who holds it goes on.
    void close(buffer_state& b) noexcept {
        step s{*this};
        domain_core::close(b, s);
    }

    /// The domain is going away: as if every buffer were closed, all at once, so that nobody is granted one because the
    /// failure of another lets him; leases end no more.
    void close() noexcept {
        event_loop& loop = loop_;
        {
            step s{*this};
            for (const auto& [identity, b] : registry_) { b->state |= buffer_node::closed; }
            while (!registry_.empty()) { domain_core::close(*registry_.begin()->second, s); }
            trace_.attach(nullptr);
            owned_ = false;
            timer_is_late_ = true; // to be disarmed
        }
        loop.remove_user(); // the state may be gone by now
    }

    // ---- sight -------------------------------------------------------------------------------------------------------

    /// From now on `r` is told of everything; null for nobody.
    void trace_to(trace_recorder* r) noexcept {
        const std::lock_guard guard{lock_};
        trace_.attach(r);
        for (const auto& [identity, b] : registry_) { trace_.buffer(*b); }
    }

    /// What a recorder knows the domain by.
    [[nodiscard]] std::uint64_t trace_id() const noexcept { return trace_.domain_id(); }

    /// A set was asked for in vain, and nobody waits for it.
    void trace_refused(std::span<const request> set, const name& label, failure why) noexcept {
        if (!trace_.is_on()) { return; }
        const std::lock_guard guard{lock_};
        trace_.refused(set, label, why); // if it is still on
    }

    // ---- turns of the loop -------------------------------------------------------------------------------------------

    /// A turn of the loop for a claim that nobody waits for: it is lent until a fence ends, or was abandoned.
    void turn_without_waiter(claim& c, disposition d) {
        bool abandoned = false;
        {
            step s{*this};
            c.posted = false;
            abandoned = c.let_go;
            free_if_done(c, s);
        }
        if (abandoned) { return; }
        if (d == disposition::run) {
            watch_loan(c);
        } else {
            end_loan(c, {});
        }
    }

    /// A fence has ended, or its loop goes away.
    void turn_of_fence(claim& c, disposition d) {
        std::error_code result;
        if (d == disposition::run) { result = completion_result(c.fence_end.fence.get()); }
        c.fence_end.fence.reset();
        if (c.waiter == nullptr) {
            end_loan(c, result);
        } else if (d == disposition::run && go_on_after_fence(c, result)) {
            std::exchange(c.waiter, nullptr).resume();
        }
    }

private:
    struct nothing {
        void operator()() const noexcept {}
    };

    /// Grants the set to a claim from the pool, and ends the critical section; else has `refused(claim, why, now)` do that.
    /// `granted()` is called in it.
    template <class Refused, class Granted = nothing>
    [[nodiscard, gnu::always_inline]] errc acquire_or(const demand& d, claim*& mine, Refused refused,
                                                      Granted granted = {}) noexcept {
        do {
            const time_point now = lock_now();
            if (claim* c = pool_.take(d.set.size()); c != nullptr) [[likely]] {
                c->place = d.place;
                const errc why = try_grant(*c, d);
                if (why != errc{}) [[unlikely]] { return refused(*c, why, now); }
                mine = c;
                granted();
                begin_at_once(*c, now);
                return why;
            }
            lock_.unlock();
        } while (grow_for(d.set.size()));
        return errc::out_of_memory;
    }

    /// A claim that has not been granted anything is of no use; ends the critical section. Returns: `why`.
    errc take_back(claim& c, errc why) noexcept {
        pool_.give(c);
        lock_.unlock();
        return why;
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

    /// The same for a claim that is fresh from the pool. Ends the critical section.
    [[gnu::always_inline]] void begin_at_once(claim& c, time_point now) noexcept {
        if (c.has_dma_buf) [[unlikely]] {
            c.plain = c.blocking = false;
            c.state.store(phase::entering, std::memory_order_relaxed);
            lock_.unlock();
            return;
        }
        begin_hold(c, now);
        c.plain = true;
        ++counters_.granted_at_once;
        if (timer_is_late_) [[unlikely]] {
            static_cast<void>(step{*this, std::adopt_lock});
        } else {
            lock_.unlock();
        }
    }

    /// A set has not been granted to a coroutine, whose claim waits now, unless it is refused for good. Ends the critical
    /// section.
    [[nodiscard, gnu::noinline]] errc wait_or_refuse(claim& c, const demand& d, errc why, time_point now,
                                                     std::coroutine_handle<> waiter, claim*& mine,
                                                     bool may_look) noexcept {
        if (why != errc::would_block) { return take_back(c, why); }
        if (may_look && look_pays(d.set)) {
            take_back(c, why);
            why = look_again(d, mine);
            return why == errc::would_block ? acquire(d, waiter, mine, false) : why;
        }
        c.plain = false;
        c.waiter = waiter;
        mine = &c;
        if (d.options.deadline != time_point::max() || horizon_ <= now + coarse_lag_) {
            lock_.unlock(); // somebody may have had his time, or this one: that takes a look at the clock
            if (wait(c, d)) { return errc::would_block; }
            return errc{};
        }
        step s{*this, std::adopt_lock};
        enqueue(c, d, now, s);
        c.plain = !c.has_dma_buf; // once it is held
        return errc::would_block;
    }

    /// Whether a set that is held may well be free in a moment: another thread uses the domain, nobody waits for the set, and
    /// such looks pay.
    [[nodiscard]] bool look_pays(std::span<const request> set) noexcept {
        return lock_.is_shared_lately() && !is_waited_for(set) && look_for_end_.pays();
    }

    [[nodiscard]] static bool is_waited_for(std::span<const request> set) noexcept {
        std::uint32_t seen = 0;
        for (const request& r : set) { seen |= r.buffer->state; }
        return (seen & buffer_node::waited) != 0;
    }

    /// Looks a few times, in all for as long as it takes to wake a thread that sleeps. Between threads that hold for less
    /// than that, to queue would cost both of them more. Whoever looks has not asked yet: he overtakes nobody who waits.
    /// Returns: as `try_acquire`.
    [[nodiscard, gnu::noinline]] errc look_again(const demand& d, claim*& mine) noexcept {
        constexpr unsigned first_pause = 4;
        unsigned looks = 0;
        bool goes_on = true;
        const auto refused = [&](claim& c, errc why, time_point) {
            goes_on = ++looks < looks_before_queue && why == errc::would_block && !is_waited_for(d.set);
            if (!goes_on) { look_for_end_.was_in_vain(); }
            return take_back(c, why);
        };
        const auto granted = [&] {
            goes_on = false;
            look_for_end_.helped();
        };
        errc why{};
        do {
            for (unsigned pause = first_pause << looks; pause > 0; --pause) { spin_hint(); }
            why = acquire_or(d, mine, refused, granted);
        } while (goes_on && why != errc::out_of_memory);
        return why;
    }

    void enqueue(claim& c, const demand& d, time_point now, step& s) noexcept {
        admission::name(c, d.set);
        adopt(c, d.options, d.registration);
        if (c.owner != nullptr) { c.owner->waiting = &c; }
        c.state.store(phase::waiting, std::memory_order_relaxed);
        enter_book(c, now, d.options.deadline);
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

inline void domain_core::resume(work& w, disposition d) noexcept {
    claim& c = static_cast<claim&>(w);
    if (c.waiter == nullptr) {
        c.home->turn_without_waiter(c, d);
        return;
    }
    if (c.has_dma_buf) [[unlikely]] {
        if (d == disposition::discard || !c.home->pass_fences(c)) { return; }
    } else {
        c.posted = false;
    }
    if (d == disposition::run) { std::exchange(c.waiter, nullptr).resume(); }
}

inline void domain_core::fence_ended(work& w, disposition d) noexcept {
    claim& c = static_cast<claim::fence_watch&>(w).owner;
    c.home->turn_of_fence(c, d);
}

} // namespace dmasync::detail
