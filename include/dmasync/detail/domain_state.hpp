// SPDX-License-Identifier: MIT
#pragma once
/// \file domain_state.hpp  The one place of state: claims, buffers and leases of a domain, under one lock.
///
/// Every step has the same shape: change plain data under the lock, collect whom to tell, unlock, tell them. Nothing is
/// allocated, freed, called back or resumed while the lock is held, and no step is entered from inside another.

#include <dmasync/detail/buffer_state.hpp>
#include <dmasync/detail/claim.hpp>
#include <dmasync/detail/spin_lock.hpp>
#include <dmasync/event_loop.hpp>
#include <dmasync/lease.hpp>
#include <dmasync/lock_options.hpp>

#include <algorithm>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <map>
#include <memory>
#include <mutex>
#include <span>
#include <stop_token>
#include <utility>

namespace dmasync {

/// How a domain behaves.
struct domain_options {
    std::chrono::nanoseconds lease = default_lease; ///< of every lock that does not say otherwise; `no_lease` for none
    dmasync::name name{};                           ///< for reports
    lease_report_sink report = print_lease_report;  ///< told of every hold that outlasts its lease; may be empty
    std::size_t reserve = 64;                       ///< acquisitions of up to 4 buffers alive at once without allocating
};

/// What has happened in a domain so far.
struct domain_counters {
    std::uint64_t granted_at_once = 0;
    std::uint64_t granted_after_wait = 0;
    std::uint64_t timed_out = 0;
    std::uint64_t cancelled = 0;
    std::uint64_t leases_expired = 0;
};

namespace detail {

/// Lives until its domain, the last buffer and the last acquisition are gone: guards and handles may outlive the domain.
class domain_state {
public:
    using time_point = event_loop::time_point;

    /// `first_ticket` is for tests, which start it near its wrap.
    domain_state(event_loop& loop, domain_options options, std::uint64_t first_ticket = 0)
        : admission_{first_ticket}, pool_{*this, resume}, loop_{loop}, options_{std::move(options)} {
        loop_.add_user();
        grow(1, std::max<std::size_t>(options_.reserve, 1));
    }
    domain_state(const domain_state&) = delete;
    domain_state& operator=(const domain_state&) = delete;

    [[nodiscard]] event_loop& loop() const noexcept { return loop_; }
    [[nodiscard]] const domain_options& options() const noexcept { return options_; }

    [[nodiscard]] domain_counters counters() noexcept {
        const std::lock_guard guard{lock_};
        return counters_;
    }

    // ---- acquiring ---------------------------------------------------------------------------------------------------

    /// Grants the set now, or says why not. The common case: one critical section, no ticket, no queue.
    /// Returns: a held claim, or null with `why`: what `admission::try_grant` says, `invalid_lease`, `already_locked` or
    /// `out_of_memory`.
    [[nodiscard]] claim* try_acquire(std::span<const request> set, const lock_options& options,
                                     claim** registration, errc& why) noexcept {
        const time_point now = loop_.coarse_now();
        claim* c = nullptr;
        bool post_rearm = false;
        {
            const std::lock_guard guard{lock_};
            c = pool_.take(set.size());
            if (c == nullptr) [[unlikely]] {
                why = errc::out_of_memory;
            } else if (why = try_grant(*c, set, options, registration); why == errc{}) [[likely]] {
                begin_hold(*c, now);
                ++counters_.granted_at_once;
                if (timer_is_late_) [[unlikely]] { post_rearm = schedule_timer(); }
            } else {
                pool_.give(*c);
                c = nullptr;
            }
        }
        if (post_rearm) [[unlikely]] { loop_.post(rearm_); }
        if (c == nullptr && why == errc::out_of_memory && grow(set.size())) [[unlikely]] {
            return try_acquire(set, options, registration, why);
        }
        return c;
    }

    /// The same for those who are not going to wait: a hold that has had its time does not stand in their way.
    [[nodiscard]] claim* try_acquire_swept(std::span<const request> set, const lock_options& options,
                                     claim** registration, errc& why) noexcept {
        claim* c = try_acquire(set, options, registration, why);
        return c == nullptr && why == errc::would_block && sweep() ? try_acquire(set, options, registration, why) : c;
    }

    /// A record for an acquisition that is about to wait; null without memory.
    [[nodiscard]] claim* prepare(std::size_t size) noexcept {
        do {
            const std::lock_guard guard{lock_};
            if (claim* c = pool_.take(size); c != nullptr) { return c; }
        } while (grow(size));
        return nullptr;
    }

    /// Grants the set to a prepared claim, or queues it.
    /// Returns: whether it waits; its waiter is then told once, and may have been by now. Otherwise it is held or failed.
    [[nodiscard]] bool wait(claim& c, std::span<const request> set, const lock_options& options,
                            claim** registration) noexcept {
        sweep(); // who has had his time is not waited for
        const step s{*this};
        errc why = c.failure; // set when it was cancelled before it could wait
        if (why == errc{}) { why = try_grant(c, set, options, registration); }
        if (why == errc::would_block && options.deadline <= loop_.now()) { why = errc::timed_out; }
        if (why == errc{}) {
            begin_hold(c, loop_.coarse_now());
            ++counters_.granted_at_once;
            return false;
        }
        if (why != errc::would_block) {
            set_failed(c, why);
            return false;
        }
        adopt(c, options, registration);
        admission_.enqueue(c, set);
        c.state.store(phase::waiting, std::memory_order_relaxed);
        enter_book(c, loop_.coarse_now(), options.deadline);
        return true;
    }

    /// Waits for a claim that `wait` said waits, on this thread. The thread looks after leases itself, so that they end
    /// even when nobody runs the loop.
    void block(claim& c, time_point deadline) noexcept {
        constexpr std::chrono::nanoseconds between_looks = std::chrono::milliseconds{250};
        while (c.told.load(std::memory_order_acquire) == 0) { // with tell
            const time_point now = loop_.now();
            if (deadline <= now) { cancel(c, errc::timed_out); }
            futex_wait(c.told, 0, std::min({between_looks, due_in(now), remaining(now, deadline)}));
            sweep();
        }
    }

    /// Gives up a claim that waits, and tells its waiter; one that is prepared fails as soon as it is to wait. A claim
    /// that is settled stays as it is: exactly one outcome (S5). Threads: any.
    void cancel(claim& c, errc why) noexcept {
        step s{*this};
        const phase p = c.state.load(std::memory_order_relaxed);
        if (p == phase::idle) { c.failure = why; }
        if (p == phase::waiting) { give_up(c, why, s); }
    }

    /// The awaiter of this claim is gone, whatever has become of it. Threads: where it would have resumed.
    void abandon(claim& c) noexcept {
        step s{*this};
        const phase p = c.state.load(std::memory_order_relaxed);
        if (p == phase::waiting) {
            leave_book(c);
            admission_.withdraw(c, s.told);
            bury_orphans(c, s);
        }
        if (p == phase::held) { end_hold(c, s); }
        let_go(c, p, s);
    }

    // ---- holding -----------------------------------------------------------------------------------------------------

    /// Ends a hold. Its claim is gone afterwards.
    /// Returns: `lease_expired` when the buffers were given away before.
    errc unlock(claim& c) noexcept {
        step s{*this};
        const phase p = c.state.load(std::memory_order_relaxed);
        if (p == phase::held) [[likely]] { end_hold(c, s); }
        let_go(c, p, s);
        return p == phase::held ? errc{} : errc::lease_expired;
    }

    /// Ends the hold of one buffer.
    errc release(claim& c, const buffer_state* b) noexcept {
        step s{*this};
        return with_held_entry(c, b, [&](entry& e) {
            buffer_state& released = state_of(e);
            admission_.release(e, s.told);
            bury_if_dead(released, s);
        });
    }

    errc downgrade(claim& c, const buffer_state* b) noexcept {
        step s{*this};
        return with_held_entry(c, b, [&](entry& e) { admission_.downgrade(e, s.told); });
    }

    /// Makes a lease end `lease` from now; earlier when somebody is waiting: he is not made to wait for longer than one
    /// lease of this hold. Never shortens it.
    errc renew(claim& c, std::chrono::nanoseconds lease, time_point& until) noexcept {
        const step s{*this};
        if (c.state.load(std::memory_order_relaxed) != phase::held) { return errc::lease_expired; }
        if (lease.count() <= 0) { return errc::invalid_lease; }
        const time_point now = loop_.coarse_now();
        time_point end = lease_end(now, lease);
        for (const entry& e : c.set()) {
            const claim_node* w = e.buffer == nullptr ? nullptr : admission::oldest_waiter(*e.buffer);
            if (w != nullptr) { end = std::min(end, lease_end(static_cast<const claim&>(*w).since, c.lease)); }
        }
        until = std::max(c.until, end);
        book_.move(c, now, until);
        note_deadline(until);
        return errc{};
    }

    /// The fencing token of a buffer that the claim holds, or held until its lease ran out.
    errc token(claim& c, const buffer_state* b, std::uint64_t& value) noexcept {
        const std::lock_guard guard{lock_};
        const entry* e = find(c, b);
        if (e == nullptr) { return errc::not_in_set; }
        value = c.state.load(std::memory_order_relaxed) == phase::expired ? e->token : e->buffer->sequence;
        return errc{};
    }

    /// The token of the latest grant of a buffer.
    [[nodiscard]] std::uint64_t token(const buffer_state& b) noexcept {
        const std::lock_guard guard{lock_};
        return b.sequence;
    }

    [[nodiscard]] time_point expires_at(const claim& c) noexcept {
        const std::lock_guard guard{lock_};
        return c.until;
    }

    /// A token that is stopped when the hold's lease runs out.
    [[nodiscard]] std::stop_token stop_token(claim& c) {
        std::stop_source fresh;
        bool expired = false;
        {
            const std::lock_guard guard{lock_};
            if (!c.stop.stop_possible()) { c.stop.swap(fresh); }
            expired = c.state.load(std::memory_order_relaxed) == phase::expired;
        }
        if (expired) { c.stop.request_stop(); }
        return c.stop.get_token();
    }

    [[nodiscard]] static buffer_state& state_of(const entry& e) noexcept {
        return static_cast<buffer_state&>(*e.buffer);
    }

    /// The entry of a buffer in a claim; null when it is not there or was released. Threads: the claim's owner.
    [[nodiscard]] static entry* find(const claim& c, const buffer_state* b) noexcept {
        for (entry& e : c.set()) {
            if (e.buffer == b && b != nullptr) { return &e; }
        }
        return nullptr;
    }

    /// Whether a lock_set's mark says that it is locked or being locked.
    [[nodiscard]] bool in_use(claim* const& registration) noexcept {
        const std::lock_guard guard{lock_};
        return registration != nullptr;
    }

    /// The lock_set with this mark goes away; what it locked goes on without it.
    void unregister(claim*& registration) noexcept {
        const std::lock_guard guard{lock_};
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
        registry_.insert(std::move(fresh->node));
        ++buffers_;
        return fresh.release();
    }

    static void add_handle(buffer_state& b) noexcept { b.handles.fetch_add(1, std::memory_order_relaxed); }

    /// Only the step from one handle to none takes the lock: an import may be finding the buffer just now.
    void drop_handle(buffer_state& b) noexcept {
        std::uint32_t n = b.handles.load(std::memory_order_relaxed);
        while (n > 1) {
            // release: what was done through this handle happens before the buffer is freed; with the one below
            if (b.handles.compare_exchange_weak(n, n - 1, std::memory_order_release, std::memory_order_relaxed)) { return; }
        }
        step s{*this};
        if (b.handles.fetch_sub(1, std::memory_order_acq_rel) == 1) {
            b.state |= buffer_node::orphan;
            bury_if_dead(b, s);
        }
    }

    /// Nobody is granted the buffer any more; who waits for it fails with `closed`, who holds it goes on.
    void close(buffer_state& b) noexcept {
        step s{*this};
        close(unregister(b), s);
    }

    /// The domain is going away: as if every buffer were closed; leases end no more.
    void close() noexcept {
        event_loop& loop = loop_;
        {
            step s{*this};
            while (!registry_.empty()) { close(unregister(*registry_.begin()->second), s); }
            owned_ = false;
            timer_is_late_ = true;
        }
        loop.remove_user(); // the state may be gone by now
    }

private:
    using claim_list = intrusive_list<claim, timed_tag>;

    /// One critical section and what has to follow it.
    struct step {
        explicit step(domain_state& d) noexcept : home{d} { home.lock_.lock(); }
        step(const step&) = delete;
        step& operator=(const step&) = delete;

        ~step() {
            if (!told.empty()) { home.settle(told); }
            const bool post_rearm = home.timer_is_late_ && home.schedule_timer();
            const bool last = !home.owned_ && home.is_unused();
            home.lock_.unlock();
            if (post_rearm) { home.loop_.post(home.rearm_); } // a posted rearm_ keeps the state alive
            while (claim_node* c = told.pop_front()) { tell(static_cast<claim&>(*c)); }
            while (dead != nullptr) { delete std::exchange(dead, dead->next_dead); }
            if (last) { delete &home; }
        }

        domain_state& home;
        ready_list told;                                // granted, or failed
        buffer_state* dead = nullptr;                   // to be freed
        std::stop_source retired{std::nostopstate};     // to be freed
    };

    struct loop_timer : timer {
        explicit loop_timer(domain_state& d) noexcept : timer{on_timer}, home{d} {}
        domain_state& home;
    };

    struct loop_work : work {
        explicit loop_work(domain_state& d) noexcept : work{on_rearm}, home{d} {}
        domain_state& home;
    };

    ~domain_state() = default; // by the last step

    // ---- claims; all under the lock ----------------------------------------------------------------------------------

    [[nodiscard]] errc try_grant(claim& c, std::span<const request> set, const lock_options& options,
                                 claim** registration) noexcept {
        if (lease_of(options).count() <= 0) [[unlikely]] { return errc::invalid_lease; }
        if (registration != nullptr && *registration != nullptr) { return errc::already_locked; }
        const errc why = admission_.try_grant(c, set);
        if (why == errc{}) [[likely]] { adopt(c, options, registration); }
        return why;
    }

    [[nodiscard]] std::chrono::nanoseconds lease_of(const lock_options& options) const noexcept {
        return options.lease.value_or(options_.lease);
    }

    void adopt(claim& c, const lock_options& options, claim** registration) noexcept {
        c.lease = lease_of(options);
        c.loop = options.on == nullptr ? &loop_ : options.on;
        c.label = options.name;
        c.user = options.user;
        c.registration = registration;
        if (registration != nullptr) { *registration = &c; }
    }

    void begin_hold(claim& c, time_point now) noexcept {
        c.state.store(phase::held, std::memory_order_relaxed);
        enter_book(c, now, lease_end(now, c.lease));
    }

    /// The coarse clock is behind by up to a tick: the lease is a tick longer, so that it is never too short.
    [[nodiscard]] time_point lease_end(time_point from, std::chrono::nanoseconds lease) const noexcept {
        const time_point start = from + loop_.coarse_resolution();
        return lease > time_point::max() - start ? time_point::max() : start + lease;
    }

    void enter_book(claim& c, time_point now, time_point until) noexcept {
        book_.enter(c, now, until);
        note_deadline(until);
    }

    /// A sweep takes claims out before it knows what becomes of them.
    static void leave_book(claim& c) noexcept {
        if (claim_list::is_linked(c)) { claim_list::erase(c); }
    }

    void note_deadline(time_point until) noexcept {
        if (until < horizon_) [[unlikely]] {
            horizon_ = until;
            timer_is_late_ = true;
        }
    }

    /// Granted claims become holds; whoever is told by a loop belongs to it until it has run.
    void settle(ready_list& told) noexcept {
        const time_point now = loop_.coarse_now();
        for (claim_node* n = told.front(); n != nullptr; n = told.next(*n)) {
            claim& c = static_cast<claim&>(*n);
            if (c.state.load(std::memory_order_relaxed) == phase::waiting) {
                leave_book(c);
                begin_hold(c, now);
                ++counters_.granted_after_wait;
            }
            c.posted = !c.blocking;
        }
    }

    void give_up(claim& c, errc why, step& s) noexcept {
        leave_book(c);
        admission_.withdraw(c, s.told);
        bury_orphans(c, s);
        set_failed(c, why);
        s.told.push_back(c);
    }

    void set_failed(claim& c, errc why) noexcept {
        counters_.timed_out += why == errc::timed_out ? 1U : 0U;
        counters_.cancelled += why == errc::cancelled ? 1U : 0U;
        c.failure = why;
        c.state.store(phase::failed, std::memory_order_relaxed);
        clear_registration(c);
    }

    void end_hold(claim& c, step& s) noexcept {
        leave_book(c);
        if (admission_.release(c, s.told)) { bury_orphans(c, s); }
    }

    /// The claim's owner has no more use for it. It is freed now, or by the loop or the report that still has it.
    void let_go(claim& c, phase was, step& s) noexcept {
        clear_registration(c);
        c.waiter = nullptr;
        c.let_go = true;
        if (was == phase::expired && !c.reporting) { unpin(c, s); }
        if (!c.posted && !c.reporting) [[likely]] { recycle(c, s); }
    }

    void recycle(claim& c, step& s) noexcept {
        if (c.stop.stop_possible()) [[unlikely]] { s.retired.swap(c.stop); }
        c.state.store(phase::idle, std::memory_order_relaxed);
        c.failure = errc{};
        c.let_go = c.blocking = false;
        c.told.store(0, std::memory_order_relaxed);
        pool_.give(c);
    }

    static void clear_registration(claim& c) noexcept {
        if (c.registration != nullptr) { *std::exchange(c.registration, nullptr) = nullptr; }
    }

    template <class Change>
    errc with_held_entry(claim& c, const buffer_state* b, Change change) noexcept {
        if (c.state.load(std::memory_order_relaxed) != phase::held) { return errc::lease_expired; }
        entry* e = find(c, b);
        if (e == nullptr) { return errc::not_in_set; }
        change(*e);
        return errc{};
    }

    // ---- telling; not under the lock ---------------------------------------------------------------------------------

    /// Makes a settled claim known to whoever waits for it. It may be gone right after.
    static void tell(claim& c) noexcept {
        if (c.blocking) {
            futex_word& word = c.told;
            word.store(1, std::memory_order_release); // with block
            futex_wake(word);
        } else {
            c.loop->post(c);
        }
    }

    /// A loop's turn for a claim that has been told.
    static void resume(work& w, disposition d) noexcept {
        claim& c = static_cast<claim&>(w);
        if (c.waiter == nullptr) { // abandoned meanwhile
            step s{*c.home};
            c.posted = false;
            if (!c.reporting) { s.home.recycle(c, s); }
            return;
        }
        c.posted = false;
        if (d == disposition::run) { std::exchange(c.waiter, nullptr).resume(); }
    }

    // ---- leases ------------------------------------------------------------------------------------------------------

    /// Ends every lease and every wait whose time has come. Threads: any.
    /// Returns: whether it looked; false when nothing can have ended.
    bool sweep() noexcept {
        claim_list overdue;
        {
            step s{*this};
            const time_point now = loop_.now();
            if (now < horizon_) { return false; }
            claim_list late;
            horizon_ = time_point::max();
            note_deadline(book_.collect(now, [&](claim& c) {
                (c.state.load(std::memory_order_relaxed) == phase::waiting ? late : overdue).push_back(c);
            }));
            while (claim* c = late.pop_front()) {
                const bool just_granted = ready_list::is_linked(*c); // because another one gave up
                if (!just_granted) { give_up(*c, errc::timed_out, s); }
            }
            for (claim* c = overdue.front(); c != nullptr; c = overdue.next(*c)) { expire(*c, s); }
        }
        while (claim* c = overdue.pop_front()) { report_expired(*c); }
        return true;
    }

    void expire(claim& c, step& s) noexcept {
        c.waiters_at_expiry = 0;
        for (entry& e : c.set()) {
            if (e.buffer == nullptr) { continue; }
            c.waiters_at_expiry += e.buffer->waiters;
            ++state_of(e).pins;
        }
        admission_.revoke(c, s.told);
        clear_registration(c);
        c.reporting = true;
        c.state.store(phase::expired, std::memory_order_release); // with guard::expired
        ++counters_.leases_expired;
    }

    /// Tells the holder, then the sink. The claim stays until this is done, though its guard may let go of it.
    void report_expired(claim& c) {
        std::stop_source stop{std::nostopstate};
        {
            const std::lock_guard guard{lock_};
            stop = c.stop;
        }
        stop.request_stop();
        if (options_.report) { options_.report(report_of(c)); }
        step s{*this};
        c.reporting = false;
        if (c.let_go) {
            unpin(c, s);
            if (!c.posted) { recycle(c, s); }
        }
    }

    [[nodiscard]] lease_report report_of(const claim& c) const {
        lease_report r;
        r.domain = options_.name.view();
        r.set = c.label.view();
        r.user = c.user;
        for (const entry& e : c.set()) {
            if (e.buffer != nullptr) { r.buffers.push_back({state_of(e).label.view(), e.mode}); }
        }
        r.age = loop_.now() - c.since;
        r.lease = c.lease;
        r.waiters = c.waiters_at_expiry;
        return r;
    }

    void unpin(claim& c, step& s) noexcept {
        for (entry& e : c.set()) {
            if (e.buffer == nullptr) { continue; }
            --state_of(e).pins;
            bury_if_dead(state_of(e), s);
        }
    }

    // ---- the timer ---------------------------------------------------------------------------------------------------

    /// Sets the loop's timer to the horizon, or sees to it that the loop's thread does. Under the lock.
    /// Returns: whether `rearm_` is to be posted once the lock is free.
    [[nodiscard]] bool schedule_timer() noexcept {
        timer_is_late_ = false;
        if (!loop_.in_this_thread()) { return !std::exchange(rearm_posted_, true); }
        set_timer();
        return false;
    }

    void set_timer() noexcept {
        loop_.disarm(timer_);
        if (owned_ && horizon_ != time_point::max()) { loop_.arm(timer_, horizon_); }
    }

    static void on_rearm(work& w, disposition d) noexcept {
        domain_state& home = static_cast<loop_work&>(w).home;
        const step s{home};
        home.rearm_posted_ = false;
        if (d == disposition::run) {
            home.set_timer();
        } else {
            home.loop_.disarm(home.timer_);
        }
    }

    static void on_timer(work& w, disposition d) noexcept {
        if (d == disposition::run) { static_cast<loop_timer&>(w).home.sweep(); }
    }

    [[nodiscard]] std::chrono::nanoseconds due_in(time_point now) noexcept {
        const std::lock_guard guard{lock_};
        return remaining(now, horizon_);
    }

    [[nodiscard]] static std::chrono::nanoseconds remaining(time_point now, time_point until) noexcept {
        return until == time_point::max() ? std::chrono::nanoseconds::max() : until - now;
    }

    // ---- buffers; all under the lock ---------------------------------------------------------------------------------

    void close(buffer_state& b, step& s) noexcept {
        b.state |= buffer_node::closed;
        while (claim_node* c = admission::oldest_waiter(b)) { give_up(static_cast<claim&>(*c), errc::closed, s); }
    }

    buffer_state& unregister(buffer_state& b) noexcept {
        if (b.node.empty()) { b.node = registry_.extract(b.memory.identity); }
        return b;
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
        --buffers_;
    }

    [[nodiscard]] bool is_unused() const noexcept { return pool_.taken() == 0 && buffers_ == 0 && !rearm_posted_; }

    // ---- memory ------------------------------------------------------------------------------------------------------

    bool grow(std::size_t size, std::size_t count = 0) noexcept {
        claim_pool::chunk* fresh = pool_.allocate(size, count != 0 ? count : 64 / std::clamp<std::size_t>(size, 1, 64));
        if (fresh == nullptr) { return false; }
        const std::lock_guard guard{lock_};
        pool_.add(*fresh);
        return true;
    }

    spin_lock lock_;
    // All below but what is const is changed under the lock only.
    bool owned_ = true;          // the domain object exists
    bool timer_is_late_ = false; // the horizon has come nearer than the loop's timer; false whenever the lock is free
    bool rearm_posted_ = false;  // rearm_ is in the loop's queue
    time_point horizon_ = time_point::max(); // nothing in the book ends earlier; what the loop's timer is set to
    admission admission_;
    claim_pool pool_;
    deadline_book<claim> book_;  // every waiting or held claim
    domain_counters counters_;
    buffer_registry registry_;
    std::size_t buffers_ = 0;
    event_loop& loop_;
    const domain_options options_;
    loop_timer timer_{*this};
    loop_work rearm_{*this};
};

} // namespace detail

} // namespace dmasync
