// SPDX-License-Identifier: MIT
#pragma once
/// \file domain_core.hpp  The one place of state: claims and buffers of a domain, and their deadlines, under one lock.
///
/// Every operation has the same shape, a *step*: change plain data under the lock, collect whom to tell, unlock, tell
/// them. Nothing is allocated, freed, called back or resumed while the lock is held, and no step begins inside another.

#include <dmasync/call_site.hpp>
#include <dmasync/detail/admission.hpp>
#include <dmasync/detail/buffer_state.hpp>
#include <dmasync/detail/claim.hpp>
#include <dmasync/detail/domain_clock.hpp>
#include <dmasync/domain_options.hpp>
#include <dmasync/event_loop.hpp>
#include <dmasync/lock_options.hpp>

#include <algorithm>
#include <chrono>
#include <coroutine>
#include <cstddef>
#include <mutex>
#include <span>
#include <stop_token>
#include <utility>

namespace dmasync::detail {

/// What is asked of a domain by one lock, and what has come of it.
struct inquiry {
    std::span<const request> set;
    const lock_options& options;
    options_id id;
    call_site place{};
    claim** registration = nullptr;   // a lock_set's mark that it is in use
    std::coroutine_handle<> waiter{}; // who waits when that has to be; null: now, or not at all
    claim* mine = nullptr;            // owned, until the guard takes it: the record of the acquisition
    failure why{};                    // it was refused
};

/// The state of a domain, and the changes to it that more than one operation is made of.
///
/// Lives until its domain, the last buffer, the last claim and the last lock_set are gone: they may outlive the domain.
class domain_core : protected domain_clock {
public:
    using domain_clock::time_point;

    [[nodiscard]] event_loop& loop() const noexcept { return loop_; }
    [[nodiscard]] const domain_options& options() const noexcept { return options_; }

    [[nodiscard]] domain_counters counters() noexcept {
        const std::lock_guard guard{lock_};
        return counters_;
    }

    /// For a lock that was stopped before it began.
    void count_cancelled() noexcept {
        const std::lock_guard guard{lock_};
        ++counters_.cancelled;
    }

protected:
    friend struct inspector;
    friend class domain_observer;

    domain_core(domain_state& self, event_loop& loop, domain_options options, work::function& on_timer,
                std::uint64_t first_ticket)
        : domain_clock{loop, options.single_threaded, on_timer, on_rearm},
          admission_{first_ticket, options.policy},
          pool_{self, resume, fence_ended},
          options_{std::move(options)} {
        grow(1, std::max<std::size_t>(options_.reserve, 1));
    }

    virtual ~domain_core() = default; // by the last step

    /// One critical section and what has to follow it.
    struct step {
        explicit step(domain_core& d) noexcept : home{d} {
            home.lock_.lock();
            home.date_holds();
        }
        step(domain_core& d, std::adopt_lock_t) noexcept : home{d} {}
        step(const step&) = delete;
        step& operator=(const step&) = delete;

        ~step() {
            if (out.told.empty() && out.wounded.empty() && dead == nullptr && !home.timer_is_late_ && home.owned_) {
                home.lock_.unlock();
            } else {
                finish();
            }
        }

        [[gnu::noinline]] void finish() noexcept {
            if (!out.told.empty() || !out.wounded.empty()) { home.settle(*this); }
            const bool post_rearm = home.timer_is_late_ && home.schedule_timer();
            const bool last = !home.owned_ && home.is_unused();
            home.lock_.unlock();
            if (post_rearm) { home.loop_.post(home.rearm_); } // a posted rearm_ keeps the state alive, not the loop
            while (claim_node* c = out.told.pop_front()) { tell(static_cast<claim&>(*c)); }
            while (dead != nullptr) { delete std::exchange(dead, dead->next_dead); }
            if (last) { delete &home; }
        }

        domain_core& home;
        decisions out;
        buffer_state* dead = nullptr;               // to be freed
        std::stop_source retired{std::nostopstate}; // to be freed
    };

    /// Ends a critical section that has nobody to tell.
    void leave() noexcept {
        if (timer_is_late_ || !owned_) [[unlikely]] {
            leave_with_step();
        } else {
            lock_.unlock();
        }
    }
    [[gnu::noinline]] void leave_with_step() noexcept { static_cast<void>(step{*this, std::adopt_lock}); }

    /// Ends one of those who have the bias, in which nothing has changed. Returns: false, for what was not done.
    [[nodiscard]] bool leave_undone() noexcept {
        lock_.unlock_biased();
        return false;
    }

    // ---- how claims begin --------------------------------------------------------------------------------------------

    [[nodiscard]] errc try_grant(claim& c, const inquiry& q) noexcept {
        if (lease_of(q.options).count() <= 0) { return errc::invalid_lease; }
        if (q.registration != nullptr && *q.registration != nullptr) { return errc::already_locked; }
        const errc why = admission_.try_grant(c, q.set);
        if (why == errc{}) { adopt(c, q); }
        return why;
    }

    /// Whether a claim has kept from its last use what it would be given: mostly there are no options.
    [[nodiscard]] static bool has_options_of(const claim& c, const inquiry& q) noexcept { return q.id == c.adopted; }

    [[nodiscard]] std::chrono::nanoseconds lease_of(const lock_options& options) const noexcept {
        return options.lease.value_or(options_.lease);
    }

    void adopt(claim& c, const inquiry& q) noexcept {
        if (!has_options_of(c, q)) { adopt_options(c, q); }
        register_claim(c, q.registration);
        if (c.has_dma_buf) { adopt_device_options(c, q.options); }
    }

    static void register_claim(claim& c, claim** registration) noexcept {
        if (registration == nullptr) { return; }
        c.registration = registration;
        *registration = &c;
    }

    [[gnu::noinline]] void adopt_options(claim& c, const inquiry& q) noexcept {
        const lock_options& options = q.options;
        c.lease = lease_of(options);
        c.lease_span = span_of(c.lease);
        c.loop = options.on == nullptr ? &loop_ : options.on;
        c.label = options.name;
        c.user = options.user;
        c.adopted = q.id == unidentified ? ~unidentified : q.id;
    }

    static void adopt_device_options(claim& c, const lock_options& options) noexcept {
        c.wait_for_fences = options.fences.value_or(fences::wait);
        c.brackets = options.cpu_access.value_or(cpu_access::tracked);
        c.fence_timeout = options.fence_timeout.value_or(c.lease);
        c.deadline = options.deadline;
    }

    [[gnu::always_inline]] void begin_hold(claim& c, time_point now) noexcept {
        trace_.granted(c);
        c.state.store(phase::held, std::memory_order_relaxed);
        begin_lease(c, now);
    }

    /// The set is granted, but a dma-buf in it may have to be waited for: on its loop, or by the thread that blocks.
    void begin_fence_wait(claim& c, time_point now) noexcept {
        trace_.fenced(c);
        c.state.store(c.blocking ? phase::entering : phase::fenced, std::memory_order_relaxed);
        if (!c.blocking) { enter_book(c, now, std::min(c.deadline, lease_end(now, c.fence_timeout))); }
    }

    // ---- how long claims wait ----------------------------------------------------------------------------------------

    /// A claim begins to wait for others; it is in the book.
    void begin_patience(claim& c) noexcept {
        if (options_.stuck.after == no_lease) [[likely]] { return; }
        patient_.push_back(c);
        note_deadline(event_loop::later(c.since, options_.stuck.after));
    }

    /// It waits no longer.
    static void lose_patience(claim& c) noexcept {
        if (patience_list::is_linked(c)) { patience_list::erase(c); }
        c.stuck = c.stuck_unsaid = false;
    }

    /// Finds those who have waited for too long by `now`, each once.
    /// Returns: whether there are any.
    [[nodiscard]] bool note_stuck(time_point now) noexcept {
        bool any = false;
        while (claim* c = patient_.front()) {
            const time_point due = event_loop::later(c->since, options_.stuck.after);
            if (due > now) {
                note_deadline(due);
                break;
            }
            patience_list::erase(*c);
            c->stuck = c->stuck_unsaid = any = true;
            ++counters_.stuck;
        }
        return any;
    }

    // ---- how claims end ----------------------------------------------------------------------------------------------

    /// A claim that waits, in the queues or for a fence, will not be handed over.
    void give_up(claim& c, failure why, step& s) noexcept {
        if (c.state.load(std::memory_order_relaxed) == phase::waiting) {
            leave_queues(c, s);
        } else {
            end_hold(c, s);
        }
        set_failed(c, why);
        if (!c.posted) { s.out.told.push_back(c); } // otherwise its turn is to come anyway
    }

    /// The same for a part of a transaction, whose buffers it goes on naming, if it still waits.
    void give_up_wait(claim& c, failure why, step& s) noexcept {
        const phase p = c.state.load(std::memory_order_relaxed);
        if (p != phase::waiting && p != phase::fenced) { return; }
        pin(c);
        if (p == phase::waiting && told_list::is_linked(c)) { // granted in this step, and about to be told so
            end_hold(c, s);
            set_failed(c, why);
        } else {
            give_up(c, why, s);
        }
    }

    void leave_queues(claim& c, step& s) noexcept {
        leave_book(c);
        lose_patience(c);
        admission_.withdraw(c, s.out);
        bury_orphans(c, s);
    }

    void set_failed(claim& c, failure why) noexcept {
        counters_.timed_out += why == errc::timed_out || why == errc::fence_timed_out ? 1U : 0U;
        counters_.cancelled += why == errc::cancelled ? 1U : 0U;
        c.why = why;
        trace_.gave_up(c, why);
        c.state.store(phase::failed, std::memory_order_relaxed);
        clear_registration(c);
    }

    void end_hold(claim& c, step& s) noexcept {
        trace_.released(c);
        leave_book(c);
        if (admission::release(c)) { pass_on(c, s); }
    }

    void pass_on(claim& c, step& s) noexcept {
        admission_.pass_on(c, s.out);
        bury_orphans(c, s);
    }

    /// The claim's owner has no more use for it. It is freed now, or by the loop or the report that still has it.
    void let_go(claim& c, step& s) noexcept {
        clear_registration(c);
        c.owner = nullptr;
        c.waiter = nullptr;
        c.let_go = true;
        free_if_done(c, s);
    }

    void free_if_done(claim& c, step& s) noexcept {
        if (!c.let_go || c.reports != 0) { return; }
        unpin(c, s);
        if (!c.posted) { recycle(c, s); }
    }

    void recycle(claim& c, step& s) noexcept {
        if (c.stop.stop_possible()) { s.retired.swap(c.stop); }
        c.why = failure{};
        c.let_go = c.blocking = c.plain = c.overdue = c.has_dma_buf = false;
        c.told.store(0, std::memory_order_relaxed);
        c.state.store(phase::idle, std::memory_order_relaxed);
        pool_.give(c);
    }

    static void clear_registration(claim& c) noexcept {
        if (c.registration != nullptr) { *std::exchange(c.registration, nullptr) = nullptr; }
    }

    // ---- buffers -----------------------------------------------------------------------------------------------------

    [[nodiscard]] static buffer_state& state_of(const entry& e) noexcept {
        return static_cast<buffer_state&>(*e.buffer);
    }

    void close(buffer_state& b, step& s) noexcept {
        unregister(b);
        b.state |= buffer_node::closed;
        while (claim_node* c = admission::oldest_waiter(b)) { give_up(static_cast<claim&>(*c), errc::closed, s); }
    }

    void unregister(buffer_state& b) noexcept {
        if (b.node.empty()) { b.node = registry_.extract(b.memory.identity); }
    }

    void bury_orphans(claim& c, step& s) noexcept {
        for (entry& e : c.set()) {
            if (e.buffer != nullptr) { bury_if_dead(state_of(e), s); }
        }
    }

    void bury_if_dead(buffer_state& b, step& s) noexcept {
        if (!b.is_dead()) { return; }
        unregister(b);
        b.next_dead = std::exchange(s.dead, &b);
        buffer_list::erase(b);
        --buffers_;
    }

    /// The claim may lose its buffers, which stay mapped for it all the same.
    static void pin(claim& c) noexcept {
        if (std::exchange(c.pinned, true)) { return; }
        for (entry& e : c.set()) {
            if (e.buffer != nullptr) { ++state_of(e).pins; }
        }
    }

    void unpin(claim& c, step& s) noexcept {
        if (!std::exchange(c.pinned, false)) { return; }
        for (entry& e : c.set()) {
            if (e.buffer == nullptr) { continue; }
            --state_of(e).pins;
            bury_if_dead(state_of(e), s);
        }
    }

    // ---- memory ------------------------------------------------------------------------------------------------------

    /// More claims for sets of this size. Returns: whether there are any; not under the lock.
    bool grow(std::size_t size, std::size_t count) noexcept {
        claim_pool::chunk* fresh = pool_.allocate(size, count);
        if (fresh == nullptr) { return false; }
        const std::lock_guard guard{lock_};
        pool_.add(*fresh);
        return true;
    }

    /// Small claims come by the dozen, large ones one at a time.
    bool grow_for(std::size_t size) noexcept { return grow(size, 64 / std::clamp<std::size_t>(size, 1, 64)); }

    /// A record for an acquisition that is about to wait; null without memory.
    [[nodiscard]] claim* prepare(std::size_t size) noexcept {
        do {
            const std::lock_guard guard{lock_};
            if (claim* c = pool_.take(size); c != nullptr) {
                c->size = 0; // as for its last owner
                c->plain = false;
                return c;
            }
        } while (grow_for(size));
        return nullptr;
    }

    /// Makes a settled claim known to whoever waits for it. It may be gone right after.
    static void tell(claim& c) noexcept {
        if (c.blocking) {
            futex_word& word = c.told;
            word.store(1, std::memory_order_release); // with domain_state::block
            futex_wake(word);
        } else {
            c.loop->post(c);
        }
    }

private:
    /// Transactions that are wounded while they wait do not wait any longer. Granted claims become holds; whoever is told
    /// by a loop belongs to it until it has run.
    void settle(step& s) noexcept {
        const time_point now = coarse_now();
        while (transaction_node* t = s.out.wounded.pop_front()) { end_wait_of(*t, s); }
        told_list& told = s.out.told;
        for (claim_node* n = told.front(); n != nullptr; n = told.next(*n)) {
            claim& c = static_cast<claim&>(*n);
            if (c.state.load(std::memory_order_relaxed) == phase::waiting) {
                leave_book(c);
                lose_patience(c);
                if (c.has_dma_buf) {
                    begin_fence_wait(c, now);
                } else {
                    begin_hold(c, now);
                    ++counters_.granted_after_wait;
                }
            }
            c.posted = !c.blocking;
        }
    }

    void end_wait_of(transaction_node& t, step& s) noexcept {
        trace_.gives_way(t, options_.policy);
        ++(options_.policy == deadlock_policy::wound_wait ? counters_.wounds : counters_.deaths);
        if (t.waiting != nullptr) { give_up_wait(static_cast<claim&>(*t.waiting), errc::wounded, s); }
    }

    /// A loop's turn for a claim that has been told.
    static void resume(work& w, disposition d) noexcept;

    /// A fence has ended that a claim waits for, or is lent until.
    static void fence_ended(work& w, disposition d) noexcept;

    [[nodiscard]] bool is_unused() const noexcept {
        return pool_.taken() == 0 && buffers_ == 0 && sets_ == 0 && !rearm_posted_;
    }

    static void on_rearm(work& w, disposition d) noexcept {
        const step s{static_cast<domain_core&>(static_cast<loop_work<work>&>(w).home)};
        s.home.rearm(d);
    }

protected:
    // Everything that is not const is changed under the lock only.
    domain_counters counters_;
    admission admission_;
    claim_pool pool_;
    buffer_registry registry_; // every buffer that is not closed
    using patience_list = intrusive_list<claim, patience_tag>;
    patience_list patient_; // who waits and is not stuck yet, in order of time; nobody when nobody ever is
    using buffer_list = intrusive_list<buffer_state, all_tag>;
    buffer_list all_; // every buffer
    std::size_t buffers_ = 0;
    std::size_t sets_ = 0; // lock_sets: one without buffers has nothing else that keeps the state alive
    const domain_options options_;
};

} // namespace dmasync::detail
