// SPDX-License-Identifier: MIT
#pragma once
/// \file admission.hpp  The policy by which sets of buffers are granted. Pure: no clock, thread, or I/O.
///
/// A declared set is granted whole or waits holding nothing: its places in the queues of all its buffers are its claim.
/// That leaves no way to deadlock, provided that no claim overtakes an older one that conflicts with it (rules of docs/design.md):
///
///   R2  granted only if no holder and no *older* waiter conflicts, on any buffer of the set; newcomers are youngest
///   R4  a granted set is complete: it is never taken back here, only released, or revoked when its lease ends
///   R5  queues are ordered by ticket, not by arrival
///
/// A transaction is granted one set after the other and holds meanwhile. It has its ticket from its first lock on, so that
/// it may be older than those that wait, and passes them then; wounding.hpp says which one gives way (R1).
///
/// Every buffer has two queues, of readers and of writers. Readers never exclude each other, so "does an older waiter
/// conflict?" needs but the front of a queue, and granting needs no search:
///
///   a reader may go  <=>  no writer holds, and no waiting writer is older
///   a writer may go  <=>  nothing is held, it is the first waiting writer, and no waiting reader is older

#include <dmasync/access_mode.hpp>
#include <dmasync/deadlock_policy.hpp>
#include <dmasync/detail/policy/marks.hpp>
#include <dmasync/detail/policy/nodes.hpp>
#include <dmasync/detail/policy/wounding.hpp>
#include <dmasync/error.hpp>
#include <dmasync/version.hpp>

#include <array>
#include <cstddef>
#include <cstdint>
#include <span>
#include <utility>

namespace dmasync::inline DMASYNC_ABI::detail {

/// Grants and queues the claims of one domain. Every member runs under the domain's lock.
class admission {
public:
    /// `first_ticket` is for tests, which start it near its wrap.
    explicit admission(std::uint64_t first_ticket = 0, deadlock_policy policy = deadlock_policy::wound_wait) noexcept
        : policy_{policy}, next_ticket_{first_ticket} {}

    /// Grants the whole of `set` to `c`, or nothing of it (S2).
    /// Errors: `empty_set`, `wrong_domain`, `duplicate_buffer`, `closed`; `would_block` when it has to wait for others.
    [[nodiscard]] errc try_grant(claim_node& c, std::span<const request> set) noexcept {
        if (set.empty()) { return errc::empty_set; }
        std::uint32_t seen = 0;
        if (const request* refused = mark_whole(c, set, seen); refused != nullptr) {
            return unmark_again(set, *refused);
        }
        c.set_reaches_device((seen & buffer_node::dma_buf) != 0);
        return errc{};
    }

    /// The same for a set that has no conflicting claim, and no device, on any of its buffers; they are known to be of this
    /// domain, and each is there once. The set is not empty.
    /// Returns: whether it was granted; nothing has changed otherwise.
    [[nodiscard, gnu::always_inline]] static bool grant_idle(claim_node& c, std::span<const request> set) noexcept {
        entry* e = c.entries;
        const request* r = set.data();
        const request* const end = r + set.size();
        do {
            if (!is_idle(*r->buffer, r->mode)) [[unlikely]] {
                unmark_before(set, *r);
                return false;
            }
            mark(*r->buffer, r->mode);
            e->buffer = r->buffer;
            e->mode = r->mode;
            ++e;
        } while (++r != end);
        c.size = static_cast<std::uint32_t>(set.size());
        return true;
    }

    /// The same where the compiler knows the accesses. The first buffer is one of this domain's.
    template <access_mode... Modes>
    [[nodiscard, gnu::always_inline]] bool grant_idle(claim_node& c,
                                                      const std::array<buffer_node*, sizeof...(Modes)>& set) noexcept {
        constexpr std::size_t readers = (std::size_t{0} + ... + (is_write(Modes) ? 0U : 1U));
        if (readers > 1) { ++attempts_; }
        std::size_t granted = 0;
        const bool all = (mark_idle<Modes, (readers > 1)>(c.entries[granted], set[granted], granted) && ...);
        if (!all) [[unlikely]] {
            const std::array<access_mode, sizeof...(Modes)> modes{Modes...};
            while (granted > 0) {
                --granted;
                undo_mark(*set[granted], modes[granted]);
            }
        }
        c.size = static_cast<std::uint32_t>(sizeof...(Modes));
        return all;
    }

    /// The same in two steps, for a set that is not empty. `seen`: the states of all its buffers.
    /// Returns: null when it is granted; else the first request that cannot be, for `unmark_again` to say why.
    [[nodiscard, gnu::always_inline]] const request* mark_whole(claim_node& c, const std::span<const request>& set,
                                                                std::uint32_t& seen) noexcept {
        return append(c, 0, set, seen, [](const request& r) { return is_free_for_newcomer(r); });
    }
    [[nodiscard, gnu::noinline]] errc unmark_again(std::span<const request> set, const request& refused) noexcept {
        return give_up(set, refused, [](const request& r) { return obstacle_to_newcomer(r); });
    }

    /// The same for a claim of a transaction, beside what that claim has been granted before.
    /// Further error: `already_locked` when the transaction has one of the buffers.
    [[nodiscard]] errc try_extend(claim_node& c, std::span<const request> set, decisions& out) noexcept {
        DMASYNC_ASSERT(c.transaction != nullptr);
        transaction_node& t = *c.transaction;
        draw_ticket(t);
        const std::uint32_t before = c.size;
        const auto obstacle = [&t](const request& r) { return obstacle_to(t, r); };
        if (set.empty()) [[unlikely]] { return errc::empty_set; }
        std::uint32_t seen = 0;
        const request* refused = append(c, before, set, seen, [&](const request& r) { return obstacle(r) == errc{}; });
        if (refused != nullptr) [[unlikely]] { return give_up(set, *refused, obstacle); }
        if ((seen & buffer_node::dma_buf) != 0) { c.set_reaches_device(true); }
        list_unfinished(c, before, out);
        return errc{};
    }

    /// The same for the common case: one buffer that has no other claim and no device on it.
    /// `c` has room, and has been granted `before` buffers. Returns: whether it was granted; nothing has changed otherwise.
    template <access_mode Mode>
    [[nodiscard, gnu::always_inline]] bool try_extend_idle(claim_node& c, std::uint32_t before, transaction_node& t,
                                                           buffer_node* b) noexcept {
        if (b == nullptr || b->home != this || !is_idle(*b, access_mode::write)) [[unlikely]] { return false; }
        draw_ticket(t);
        mark(*b, Mode);
        entry& e = c.entries[before];
        e.buffer = b;
        e.mode = Mode;
        b->unfinished.push_back(e);
        c.size = before + 1;
        return true;
    }

    /// Whether a claim of a transaction that would have to wait must not.
    [[nodiscard]] bool must_die(const transaction_node& t, std::span<const request> set) const noexcept {
        return policy_ == deadlock_policy::wait_die && wounding::must_die(t, set);
    }

    /// Names the buffers of a claim that is about to wait, or will not be granted them.
    static void name(claim_node& c, std::span<const request> set) noexcept {
        c.size = static_cast<std::uint32_t>(set.size());
        std::uint32_t seen = 0;
        for (std::size_t i = 0; i < set.size(); ++i) {
            c.entries[i].buffer = set[i].buffer;
            c.entries[i].mode = set[i].mode;
            seen |= set[i].buffer->state;
        }
        c.set_reaches_device((seen & buffer_node::dma_buf) != 0);
    }

    /// Puts a claim that has been named, and cannot be granted now, into the queues: as the youngest, or where the age of
    /// its transaction places it.
    void enqueue(claim_node& c, decisions& out) noexcept {
        c.ticket = c.transaction == nullptr ? next_ticket_++ : c.transaction->ticket;
        for (entry& e : c.set()) { enter_queue(e); }
        have_others_give_way(c, out);
    }

    /// Whether a newcomer would have to wait for others, and for nothing else.
    [[nodiscard]] static bool must_wait(const buffer_node& b, access_mode mode) noexcept {
        return (b.state & (buffer_node::closed | buffer_node::dma_buf)) == 0 && !is_idle(b, mode);
    }

    static void name(claim_node& c, buffer_node& b, access_mode mode) noexcept {
        c.size = 1;
        c.entries[0].buffer = &b;
        c.entries[0].mode = mode;
    }

    /// Puts a claim that must wait for the one buffer it names into its queue. It is the youngest of all: no claim gives way
    /// to it.
    void enqueue_one(claim_node& c) noexcept {
        DMASYNC_ASSERT(c.size == 1 && c.transaction == nullptr);
        c.ticket = next_ticket_++;
        entry& e = c.entries[0];
        enter_queue(e, queue_of(e).back());
    }

    /// Whether the next to go, now that a hold of one buffer has been released, is a writer that waits for that alone, and
    /// no other claim is concerned.
    /// Returns: its claim; null otherwise.
    [[nodiscard]] static claim_node* sole_successor(const claim_node& c) noexcept {
        const buffer_node& b = *c.entries[0].buffer;
        const bool for_writer =
            (b.state & (buffer_node::held | buffer_node::closed | buffer_node::orphan | buffer_node::waiting_reader)) ==
            0;
        if (c.size != 1 || !for_writer) { return nullptr; }
        DMASYNC_ASSERT(!b.waiting_writers.empty()); // something waits, and it is no reader
        claim_node& next = *b.waiting_writers.front()->claim;
        return next.size == 1 && next.transaction == nullptr ? &next : nullptr;
    }

    /// Grants the buffer to that writer.
    static void succeed(claim_node& next) noexcept {
        DMASYNC_ASSERT(next.size == 1 && next.transaction == nullptr);
        entry& e = next.entries[0];
        leave_queue(e);
        mark(*e.buffer, e.mode);
    }

    /// The same for a claim of a transaction that may find itself free to go.
    void enqueue_or_grant(claim_node& c, decisions& out) const noexcept {
        c.ticket = c.transaction->ticket;
        for (entry& e : c.set()) { enter_queue(e); }
        consider(c, out);
        if (!ready_list::is_linked(c)) { have_others_give_way(c, out); }
    }

    /// Moves what a claim of a transaction holds to another one, which has room for it.
    static void move_holds(claim_node& from, claim_node& to) noexcept {
        DMASYNC_ASSERT(from.transaction == to.transaction && from.transaction != nullptr);
        for (entry& e : from.set()) {
            entry& moved = to.entries[to.size++];
            moved.buffer = e.buffer;
            moved.mode = e.mode;
            moved.own_bracket = std::exchange(e.own_bracket, false);
            if (e.buffer == nullptr) { continue; }
            entry_list::erase(e);
            moved.buffer->unfinished.push_back(moved);
            e.buffer = nullptr;
        }
        if (from.reaches_device) { to.set_reaches_device(true); }
        from.size = 0;
    }

    /// The claim of a transaction is complete (R4): it is not taken back any more.
    /// Returns: whether it still has all that it was granted.
    static bool complete(claim_node& c) noexcept {
        DMASYNC_ASSERT(c.transaction != nullptr);
        const bool whole = forget_unfinished(c);
        c.transaction = nullptr;
        c.flags.clear(claim_flags::incomplete);
        return whole;
    }

    /// Makes the sole reader of a buffer its writer; no claim waits for the buffer, so none is overtaken.
    /// Returns: whether that was possible.
    [[nodiscard]] static bool try_upgrade(entry& e) noexcept {
        buffer_node& b = *e.buffer;
        if (is_write(e.mode)) { return true; }
        if ((b.state & (buffer_node::held | buffer_node::waited | buffer_node::closed)) != buffer_node::reader) {
            return false;
        }
        unmark(b, e.mode);
        e.mode = as_writer(e.mode);
        mark(b, e.mode);
        return true;
    }

    /// Takes a waiting claim out of the queues. Those behind it may go.
    void withdraw(claim_node& c, decisions& out) const noexcept {
        leave_queues(c);
        for (entry& e : c.set()) { promote(*e.buffer, e.mode, out); }
    }

    /// Ends a hold.
    /// Returns: whether `pass_on` has to follow: a claim waits for one of its buffers, or one is an orphan.
    [[nodiscard]] static bool release(const claim_node& c) noexcept {
        if (c.transaction != nullptr) { forget_unfinished(c); }
        std::uint32_t seen = 0;
        for (const entry& e : c.set()) {
            if (e.buffer != nullptr) { seen |= unmark(*e.buffer, e.mode); }
        }
        return (seen & wanted) != 0;
    }

    /// The same for a claim that is no transaction's and has all that it was granted, which is something.
    /// Returns: 0, or those of the bits `waited` and `orphan` that one of its buffers has.
    [[nodiscard, gnu::always_inline]] static std::uint32_t release_whole(const claim_node& c) noexcept {
        DMASYNC_ASSERT(c.size != 0 && c.transaction == nullptr);
        const entry* e = c.entries;
        std::uint32_t seen = unmark(*e->buffer, e->mode);
        for (std::uint32_t left = c.size; --left != 0;) {
            ++e;
            seen |= unmark(*e->buffer, e->mode);
        }
        return seen & wanted;
    }

    /// Grants what may go now that a hold has been released.
    void pass_on(const claim_node& c, decisions& out) const noexcept {
        for (const entry& e : c.set()) {
            if (e.buffer != nullptr) { promote(*e.buffer, e.mode, out); }
        }
    }

    /// Ends the hold of one buffer of a set.
    void release(entry& e, decisions& out) const noexcept {
        buffer_node& b = *e.buffer;
        if (entry_list::is_linked(e)) { entry_list::erase(e); }
        unmark(b, e.mode);
        e.buffer = nullptr;
        promote(b, e.mode, out);
    }

    /// Ends a hold against its holder's will: tokens grow, so that what it still does can be told from what others do.
    void revoke(const claim_node& c, decisions& out) const noexcept {
        for (entry& e : c.set()) {
            if (e.buffer == nullptr) { continue; }
            e.token = e.buffer->token();
            if (!is_write(e.mode)) { e.buffer->past_tokens += 2; } // a writer's hold does so as it ends
        }
        if (release(c)) { pass_on(c, out); }
    }

    /// Turns a writer into a reader without a moment in between.
    void downgrade(entry& e, decisions& out) const noexcept {
        if (!is_write(e.mode)) { return; }
        const access_mode was = e.mode;
        unmark(*e.buffer, was);
        e.mode = as_reader(was);
        mark(*e.buffer, e.mode);
        promote(*e.buffer, was, out);
    }

    /// The oldest claim that waits for a buffer; null without one.
    [[nodiscard]] static claim_node* oldest_waiter(const buffer_node& b) noexcept {
        const entry* r = b.waiting_readers.front();
        const entry* w = b.waiting_writers.front();
        const entry* e = w == nullptr || (r != nullptr && before(*r, *w)) ? r : w;
        return e == nullptr ? nullptr : e->claim;
    }

private:
    static constexpr std::uint32_t wanted = buffer_node::waited | buffer_node::orphan;

    /// Grants `set` to `c`, as its entries from `first` on, if each `is_free(request)`.
    /// Returns: null, or the first that is not to be had. Those before it are marked then.
    ///
    /// A buffer that stands twice in a set shows when it is looked for: a writer conflicts with its own mark. Readers do
    /// not, so they leave the number of the attempt.
    template <class IsFree>
    [[nodiscard, gnu::always_inline]] const request* append(claim_node& c, std::uint32_t first,
                                                            const std::span<const request>& set, std::uint32_t& seen,
                                                            IsFree is_free) noexcept {
        ++attempts_;
        entry* e = c.entries + first;
        const request* r = set.data();
        const request* const end = r + set.size();
        do {
            if (r->buffer == nullptr || r->buffer->home != this || !is_free(*r)) [[unlikely]] { return r; }
            if (!is_write(r->mode) && std::exchange(r->buffer->attempt, attempts_) == attempts_) [[unlikely]] {
                return r;
            }
            seen |= mark(*r->buffer, r->mode);
            e->buffer = r->buffer;
            e->mode = r->mode;
            ++e;
        } while (++r != end);
        c.size = first + static_cast<std::uint32_t>(set.size());
        return nullptr;
    }

    /// Grants an idle buffer. `n`: which it is, and then which is next. A reader that may have been there before looks.
    template <access_mode Mode, bool MayBeTwice>
    [[nodiscard, gnu::always_inline]] bool mark_idle(entry& e, buffer_node* b, std::size_t& n) noexcept {
        if (n != 0 && (b == nullptr || b->home != this)) [[unlikely]] { return false; }
        if (!is_idle(*b, Mode)) [[unlikely]] { return false; }
        if (!is_write(Mode) && MayBeTwice && std::exchange(b->attempt, attempts_) == attempts_) [[unlikely]] {
            return false;
        }
        mark(*b, Mode);
        e.buffer = b;
        e.mode = Mode;
        ++n;
        return true;
    }

    /// What keeps a newcomer from it.
    [[nodiscard]] static errc obstacle_to_newcomer(const request& r) noexcept {
        if (is_free_for_newcomer(r)) { return errc{}; }
        return (r.buffer->state & buffer_node::closed) != 0 ? errc::closed : errc::would_block;
    }

    /// What keeps a transaction from a buffer.
    [[nodiscard]] static errc obstacle_to(const transaction_node& t, const request& r) noexcept {
        const buffer_node& b = *r.buffer;
        if ((b.state & (buffer_node::held | buffer_node::waited | buffer_node::closed)) == 0) [[likely]] {
            return errc{};
        }
        for (const entry* h = b.unfinished.front(); h != nullptr; h = b.unfinished.next(*h)) {
            if (h->claim->transaction == &t) { return errc::already_locked; }
        }
        if ((b.state & buffer_node::closed) != 0) { return errc::closed; }
        const bool held = (b.state & (is_write(r.mode) ? buffer_node::held : buffer_node::writer)) != 0;
        return held || is_awaited_by_older(b, r.mode, t.ticket) ? errc::would_block : errc{};
    }

    /// Undoes the marks of a set that cannot be granted.
    /// Returns: what refuses it for good, wherever that is in the set; else `would_block`.
    template <class Obstacle>
    [[nodiscard]] errc give_up(std::span<const request> set, const request& refused,
                               const Obstacle& obstacle_to_it) noexcept {
        unmark_before(set, refused);
        const std::uint64_t attempt = ++attempts_;
        for (const request& r : set) {
            if (r.buffer == nullptr || r.buffer->home != this) { return errc::wrong_domain; }
            if (std::exchange(r.buffer->attempt, attempt) == attempt) { return errc::duplicate_buffer; }
            const errc obstacle = obstacle_to_it(r);
            if (obstacle != errc{} && obstacle != errc::would_block) { return obstacle; }
        }
        return errc::would_block;
    }

    /// A transaction is as old as its first lock.
    void draw_ticket(transaction_node& t) noexcept {
        if (t.has_ticket) { return; }
        t.has_ticket = true;
        t.ticket = next_ticket_++;
    }

    void have_others_give_way(const claim_node& c, decisions& out) const noexcept {
        if (policy_ == deadlock_policy::wound_wait) {
            wounding::wound_younger_holders(c, out);
        } else {
            wounding::kill_younger_waiters(c.set(), c.ticket, out);
        }
    }

    /// What a transaction has been granted can be taken back until it is complete.
    void list_unfinished(claim_node& c, std::uint32_t first, decisions& out) const noexcept {
        const std::span<entry> fresh = c.set().subspan(first);
        for (entry& e : fresh) { e.buffer->unfinished.push_back(e); }
        if (policy_ == deadlock_policy::wait_die) { wounding::kill_younger_waiters(fresh, c.transaction->ticket, out); }
    }

    /// Returns: whether it still has all that it was granted.
    static bool forget_unfinished(const claim_node& c) noexcept {
        bool whole = true;
        for (entry& e : c.set()) {
            whole &= entry_list::is_linked(e);
            if (entry_list::is_linked(e)) { entry_list::erase(e); }
        }
        return whole;
    }

    /// As if those before `refused` had not been marked.
    static void unmark_before(std::span<const request> set, const request& refused) noexcept {
        for (const request* r = set.data(); r != &refused; ++r) { undo_mark(*r->buffer, r->mode); }
    }

    [[nodiscard]] static bool may_go(const entry& e) noexcept {
        const buffer_node& b = *e.buffer;
        if ((b.state & buffer_node::closed) != 0) { return false; }
        const entry* w = b.waiting_writers.front();
        if (!is_write(e.mode)) { return (b.state & buffer_node::writer) == 0 && (w == nullptr || before(e, *w)); }
        const entry* r = b.waiting_readers.front();
        return (b.state & buffer_node::held) == 0 && w == &e && (r == nullptr || before(e, *r));
    }

    /// Grants a waiting claim if nothing holds it up on any of its buffers.
    void consider(claim_node& c, decisions& out) const noexcept {
        DMASYNC_ASSERT(!ready_list::is_linked(c)); // it waits: what has been granted is in no queue
        for (const entry& e : c.set()) {
            if (!may_go(e)) { return; }
        }
        leave_queues(c);
        for (entry& e : c.set()) { mark(*e.buffer, e.mode); }
        if (c.transaction != nullptr) { list_unfinished(c, 0, out); }
        out.ready.push_back(c);
    }

    /// After a claim with access `left` has left `b`, be it its hold or its queue: considers, oldest first, every
    /// claim that may have been waiting for that.
    ///
    /// Cost: constant after a reader, and while a writer holds or the buffer is closed: none may go then. When a writer
    /// leaves, be it the last holder or a waiter, one step for each reader that was waiting for it, up to the next waiting
    /// writer. Such a reader is looked at again only when that one leaves as well, before the reader could go.
    void promote(buffer_node& b, access_mode left, decisions& out) const noexcept {
        DMASYNC_ASSERT(((b.state & buffer_node::waiting_reader) == 0) == b.waiting_readers.empty());
        DMASYNC_ASSERT(((b.state & buffer_node::waiting_writer) == 0) == b.waiting_writers.empty());
        if ((b.state & buffer_node::waited) == 0 || (b.state & (buffer_node::writer | buffer_node::closed)) != 0) {
            return;
        }
        entry* r = is_write(left) ? b.waiting_readers.front() : nullptr;
        const entry* w = b.waiting_writers.front();
        while (r != nullptr && (w == nullptr || before(*r, *w))) {
            entry* next = b.waiting_readers.next(*r); // a claim has no second entry here that could go with it
            consider(*r->claim, out);
            r = next;
        }
        if (w != nullptr) { consider(*w->claim, out); }
    }

    const deadlock_policy policy_;
    std::uint64_t next_ticket_;
    std::uint64_t attempts_ = 0;
};

} // namespace dmasync::inline DMASYNC_ABI::detail
