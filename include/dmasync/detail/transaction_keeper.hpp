// SPDX-License-Identifier: MIT
#pragma once
/// \file transaction_keeper.hpp  Transactions: acquisitions that grow while they hold, and give all back when they must.

#include <dmasync/detail/admission.hpp>
#include <dmasync/detail/claim.hpp>
#include <dmasync/detail/failure.hpp>
#include <dmasync/detail/hold_keeper.hpp>
#include <dmasync/error.hpp>
#include <dmasync/lock_options.hpp>

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <mutex>
#include <span>
#include <utility>

namespace dmasync::detail {

/// A transaction, as its domain knows it. Lives in the object that stands for it.
struct transaction_state : transaction_node {
    /// `shown` is where the object has its hold.
    explicit transaction_state(claim*& shown) noexcept : shown_hold{shown} {}

    bool must_restart = false;  // one of its locks has answered `wounded`
    bool done = false;          // complete: what it held is a hold like any other
    claim* contended = nullptr; // owned: what it waited for when it was wounded; names buffers and keeps them alive

    claim*& shown_hold; // invariant: `held`

    [[nodiscard]] claim* hold() const noexcept { return static_cast<claim*>(held); }

    void set_hold(claim* c) noexcept { held = shown_hold = c; }
};

/// What a transaction does to a domain.
///
/// All that it holds is in one claim, its *hold*, which is incomplete: it can be wounded. What it locks next goes there at
/// once when nothing has to be waited for. Otherwise it is asked for by a claim of its own, a *part*, which waits, passes
/// the gate of devices, and is cancelled as that of a declared set; granted, it is joined to the hold.
///
/// Threads: a transaction is used by one at a time; others wound it and end its lease, under the lock.
class transaction_keeper : public hold_keeper {
public:
    /// Grants one more buffer to a transaction where that takes nothing out of the ordinary, as `lock_keeper::acquire_plain`.
    /// Returns: whether it was granted; nothing has changed otherwise.
    template <access_mode Mode>
    [[nodiscard, gnu::noinline]] bool extend_plain(transaction_state& t, buffer_node* b, options_id options,
                                                   call_site place) noexcept {
        if (!lock_.lock_biased()) [[unlikely]] { return false; }
        claim* const c = t.hold();
        if (t.wounded || t.must_restart || t.done || t.waiting != nullptr || trace_.is_on()) [[unlikely]] {
            return leave_undone();
        }
        if (c == nullptr) { return begin_plain<Mode>(t, b, options, place); }
        const bool may_grow = c->state.load(std::memory_order_relaxed) == phase::held && c->size < c->room;
        if (!may_grow || !admission_.try_extend_idle<Mode>(*c, c->size, t, b)) [[unlikely]] { return leave_undone(); }
        c->place = place;
        ++counters_.granted_at_once;
        lock_.unlock_biased();
        return true;
    }

    /// Grants more to a transaction now, or says why not.
    /// `q.mine`: set when there is a dma-buf in the set: a claim before the gate, to be joined.
    [[nodiscard]] errc extend(transaction_state& t, inquiry& q) noexcept {
        errc why{};
        do {
            step s{*this};
            why = refuse(t);
            if (why == errc{}) { why = try_extend(t, q, s); }
        } while (why == errc::out_of_memory && grow_for(q.set.size()) && grow_for(size_with(t, q.set.size())));
        return why;
    }

    /// A record for a part that is about to wait, and room for it in the hold; null without memory.
    [[nodiscard]] claim* prepare_part(transaction_state& t, std::size_t size) noexcept {
        for (;;) {
            {
                step s{*this};
                if (t.held == nullptr || is_over(t) || hold_with_room(t, size, s) != nullptr) { break; }
            }
            if (!grow_for(size_with(t, size))) { return nullptr; }
        }
        claim* c = prepare(size);
        if (c != nullptr) { own(*c, t); }
        return c;
    }

    /// The wait for a part is over: it is added to the hold, or has failed. The part is gone afterwards.
    failure join(transaction_state& t, claim& part) noexcept {
        step s{*this};
        t.waiting = nullptr;
        failure why = outcome(t, part);
        if (!why && t.held == nullptr) {
            t.set_hold(&part);
            return why;
        }
        if (!why) {
            add(part, *t.hold());
            leave_book(part); // one that has expired may stand in the list of a sweep that is about to report it
        } else if (part.state.load(std::memory_order_relaxed) == phase::held) {
            end_hold(part, s);
        }
        t.must_restart |= why == errc::wounded;
        if (why == errc::wounded && part.pinned) {
            t.contended = &part;
        } else {
            let_go(part, s);
        }
        return why;
    }

    /// Makes a transaction complete: its hold can be wounded no more, and nothing is added to it (R4).
    /// Returns: the hold; null with `why`.
    [[nodiscard]] claim* complete(transaction_state& t, errc& why) noexcept {
        const std::lock_guard guard{lock_};
        why = standing(t);
        if (why == errc{} && t.held == nullptr) { why = errc::not_locked; }
        if (why != errc{}) { return nullptr; }
        claim* c = t.hold();
        const bool whole = admission::complete(*c);
        c->plain = whole && owned_ && is_fresh(*c);
        t.set_hold(nullptr);
        t.wounded = false; // it had not heard of it, and need not: it waits for nobody any more
        t.done = true;
        return c;
    }

    /// Gives back all that a transaction holds. It may lock again, as old as it is.
    failure give_back(transaction_state& t, bool to_begin_again) noexcept {
        failure f = errc::not_locked;
        if (t.held != nullptr) {
            claim& c = *t.hold();
            f = unlock(c);
            t.set_hold(nullptr);
        }
        const std::lock_guard guard{lock_};
        counters_.retries += to_begin_again && t.must_restart ? 1U : 0U;
        t.wounded = t.must_restart = false;
        return f;
    }

    void forget_contended(transaction_state& t) noexcept {
        step s{*this};
        let_go(*std::exchange(t.contended, nullptr), s);
    }

    /// A transaction that holds nothing waits for what it was waiting for when it was wounded: having that in vain is
    /// better than trying again and again. It is not taken through the gate: it is going to be given back at once.
    /// Returns: whether it waits; its waiter is then told once, and may have been by now. Otherwise it has failed.
    [[nodiscard]] bool wait_again(transaction_state& t, claim& c, const inquiry& q) noexcept {
        sweep();
        step s{*this};
        if (!c.why && is_closed(c)) { c.why = errc::closed; }
        if (!c.why && q.options.deadline <= loop_.now()) { c.why = errc::timed_out; }
        if (c.why) {
            set_failed(c, c.why);
            return false;
        }
        c.has_dma_buf = false;
        adopt(c, q);
        t.waiting = &c;
        c.state.store(phase::waiting, std::memory_order_relaxed);
        enter_book(c, coarse_now(), q.options.deadline);
        begin_patience(c);
        trace_.waits(c);
        admission_.enqueue_or_grant(c, s.out);
        return true;
    }

    /// Makes a claim that named what a transaction was waiting for ready to wait for it again.
    void prepare_again(claim& c) noexcept {
        const std::lock_guard guard{lock_};
        c.why = failure{};
        c.told.store(0, std::memory_order_relaxed);
        c.state.store(phase::idle, std::memory_order_relaxed);
    }

    /// That wait is over. What was granted is given back: the transaction asks for it again in its turn.
    failure end_wait_again(transaction_state& t, claim& c) noexcept {
        step s{*this};
        const phase p = c.state.load(std::memory_order_relaxed);
        const failure why =
            p == phase::failed && c.why != errc::closed ? c.why : failure{}; // the next lock says `closed`
        if (p == phase::held) { end_hold(c, s); }
        t.waiting = nullptr;
        t.wounded = false; // which it may have been just now: it holds nothing
        let_go(c, s);
        return why;
    }

    /// Whether a transaction has all that is asked for, with such an access.
    [[nodiscard]] static bool covers(const transaction_state& t, std::span<const request> set) noexcept {
        return t.held != nullptr && std::all_of(set.begin(), set.end(), [&t](const request& r) {
                   const entry* e = find(*t.hold(), static_cast<const buffer_state*>(r.buffer));
                   return e != nullptr && is_dma(e->mode) == is_dma(r.mode) && (is_write(e->mode) || !is_write(r.mode));
               });
    }

protected:
    using hold_keeper::hold_keeper;

    /// Why a transaction cannot be extended; no error when it can. It hears of its wounds here.
    [[nodiscard]] static errc refuse(transaction_state& t) noexcept {
        if (!t.done && t.waiting == nullptr) { t.must_restart |= t.wounded; }
        return standing(t);
    }

    /// Grants the set to a part that was prepared to wait, or says why not.
    [[nodiscard]] errc try_grant_part(claim& c, const inquiry& q, step& s) noexcept {
        transaction_state& t = static_cast<transaction_state&>(*c.owner);
        if (const errc why = refuse(t); why != errc{}) { return why; }
        const errc why = admission_.try_extend(c, q.set, s.out);
        if (why == errc{}) {
            adopt(c, q);
            t.waiting = &c;
        } else if (why == errc::would_block && admission_.must_die(t, q.set)) {
            admission::name(c, q.set);
            pin(c);
            trace_.gives_way(t, deadlock_policy::wait_die);
            ++counters_.deaths;
            t.wounded = true;
            return errc::wounded;
        }
        return why;
    }

private:
    /// Why a transaction cannot go on as it is, as far as it has heard; no error when it can.
    [[nodiscard]] static errc standing(const transaction_state& t) noexcept {
        if (t.done) { return errc::transaction_done; }
        if (t.waiting != nullptr) { return errc::already_locked; }
        if (t.must_restart) { return errc::wounded; }
        return is_over(t) ? errc::lease_expired : errc{};
    }

    [[nodiscard]] static bool is_over(const transaction_state& t) noexcept {
        return t.held != nullptr && t.hold()->state.load(std::memory_order_relaxed) == phase::expired;
    }

    [[nodiscard]] static bool is_closed(const claim& c) noexcept {
        const auto closed = [](const entry& e) { return (e.buffer->state & buffer_node::closed) != 0; };
        return std::any_of(c.set().begin(), c.set().end(), closed);
    }

    [[nodiscard]] static std::size_t size_with(const transaction_state& t, std::size_t more) noexcept {
        return (t.held == nullptr ? 0 : t.held->size) + more;
    }

    /// Whether there is nothing to clean up after a hold that is whole, as after one that was granted at once.
    [[nodiscard]] static bool is_fresh(const claim& c) noexcept {
        return !c.has_dma_buf && !c.blocking && !c.pinned && c.reports == 0 && !c.stop.stop_possible();
    }

    static void own(claim& c, transaction_state& t) noexcept {
        c.owner = &t;
        c.size = 0;
        c.has_dma_buf = c.plain = c.blocking = false;
    }

    /// The rest of `extend_plain` for the first lock of a transaction.
    template <access_mode Mode>
    [[nodiscard, gnu::noinline]] bool begin_plain(transaction_state& t, buffer_node* b, options_id options,
                                                  call_site place) noexcept {
        claim* const c = pool_.first(1);
        const bool usual = c != nullptr && c->adopted == options;
        if (!usual || !admission_.try_extend_idle<Mode>(*c, 0, t, b)) { return leave_undone(); }
        pool_.take_first(*c, 1);
        c->owner = &t;
        c->plain = false;
        c->place = place;
        c->state.store(phase::held, std::memory_order_relaxed);
        t.set_hold(c);
        ++counters_.granted_at_once;
        begin_lease(*c);
        leave();
        return true;
    }

    [[nodiscard]] errc try_extend(transaction_state& t, inquiry& q, step& s) noexcept {
        const std::span<const request> set = q.set;
        if (lease_of(q.options).count() <= 0) { return errc::invalid_lease; }
        std::uint32_t seen = 0;
        for (const request& r : set) { seen |= r.buffer == nullptr ? 0 : r.buffer->state; }
        const bool gated = (seen & buffer_node::dma_buf) != 0;
        claim* into = hold_with_room(t, set.size(), s);
        if (gated && t.held != nullptr && into != nullptr) { into = pool_.take(set.size()); }
        if (into == nullptr) { return errc::out_of_memory; }
        const bool fresh = into != t.held;
        const std::uint32_t before = fresh ? 0 : into->size;
        if (fresh) { own(*into, t); }
        if (const errc why = admission_.try_extend(*into, set, s.out); why != errc{}) {
            if (fresh) { let_go(*into, s); }
            return why;
        }
        if (fresh) { adopt(*into, q); }
        into->place = q.place;
        if (gated) {
            into->state.store(phase::entering, std::memory_order_relaxed);
            t.waiting = q.mine = into;
            return errc{};
        }
        if (fresh) {
            begin_hold(*into, coarse_now());
            t.set_hold(into);
        } else {
            trace_.granted(*into, before);
        }
        ++counters_.granted_at_once;
        return errc{};
    }

    /// The hold of a transaction, moved to a larger record when it has no room; a fresh record when there is no hold yet.
    /// Null when the pool has none.
    [[nodiscard]] claim* hold_with_room(transaction_state& t, std::size_t more, step& s) noexcept {
        claim* c = t.hold();
        if (c == nullptr) { return pool_.take(more); }
        return c->room >= c->size + more ? c : enlarge(t, more, s);
    }

    [[nodiscard, gnu::noinline]] claim* enlarge(transaction_state& t, std::size_t more, step& s) noexcept {
        claim* old = t.hold();
        claim* larger = pool_.take(old->size + more);
        if (larger == nullptr) { return nullptr; }
        own(*larger, t);
        admission::move_holds(*old, *larger);
        hold_like(*old, *larger);
        trace_.moved(*old, *larger, 0);
        larger->stop.swap(old->stop);
        leave_book(*old);
        let_go(*old, s);
        t.set_hold(larger);
        return larger;
    }

    [[nodiscard]] static failure outcome(const transaction_state& t, const claim& part) noexcept {
        switch (part.state.load(std::memory_order_relaxed)) {
        case phase::held: return is_over(t) ? failure{errc::lease_expired} : failure{};
        case phase::expired: return errc::lease_expired; // it was not resumed in time
        default: return part.why;
        }
    }

    void add(claim& part, claim& hold) noexcept {
        const std::uint32_t before = hold.size;
        if (part.has_dma_buf) {
            hold.brackets = part.brackets;
            hold.wait_for_fences = part.wait_for_fences;
        }
        hold.place = part.place;
        admission::move_holds(part, hold);
        trace_.moved(part, hold, before);
    }
};

} // namespace dmasync::detail
