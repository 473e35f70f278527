// SPDX-License-Identifier: MIT
#pragma once
/// \file admission.hpp  Who may go: the policy by which sets of buffers are granted. Pure: no clock, thread, or I/O.
///
/// A declared set is granted whole or waits holding nothing: its places in the queues of all its buffers are its claim.
/// That leaves no way to deadlock, provided that nobody overtakes an older conflicting claim (rules of docs/design.md):
///
///   R2  granted only if no holder and no *older* waiter conflicts, on any buffer of the set; newcomers are youngest
///   R4  a granted claim is complete: it is never taken back here, only released, or revoked when its lease ends
///   R5  queues are ordered by ticket, not by arrival
///
/// Every buffer has two queues, of readers and of writers. Readers never exclude each other, so "does an older waiter
/// conflict?" needs but the front of a queue, and granting needs no search:
///
///   a reader may go  <=>  no writer holds, and no waiting writer is older
///   a writer may go  <=>  nobody holds, it is the first waiting writer, and no waiting reader is older

#include <dmasync/access.hpp>
#include <dmasync/detail/intrusive_list.hpp>
#include <dmasync/error.hpp>

#include <cstddef>
#include <cstdint>
#include <span>

namespace dmasync::detail {

class admission;
struct buffer_node;
struct claim_node;

struct waiting_tag;
struct ready_tag;

/// One buffer of a claim, with the access asked for. In the buffer's queue while the claim waits.
struct entry : list_hook<waiting_tag> {
    buffer_node* buffer = nullptr; // null once released early
    claim_node* claim = nullptr;   // fixed
    std::uint64_t token = 0;       // the buffer's sequence when the hold ended by revocation
    access mode{};
};

using waiting_queue = intrusive_list<entry, waiting_tag>;

/// The policy's part of a buffer.
struct buffer_node {
    // `state` says all that an uncontended lock must know, in one word: without the last two, 0 is free for anybody.
    static constexpr std::uint32_t reader = 1; // times the number of readers that hold it
    static constexpr std::uint32_t readers = (1U << 26U) - 1U;
    static constexpr std::uint32_t writer = 1U << 26U;         // a writer holds it
    static constexpr std::uint32_t waiting_reader = 1U << 27U; // mirrors !waiting_readers.empty()
    static constexpr std::uint32_t waiting_writer = 1U << 28U; // mirrors !waiting_writers.empty()
    static constexpr std::uint32_t closed = 1U << 29U;         // nobody is granted it any more
    static constexpr std::uint32_t orphan = 1U << 30U;         // no handle is left: dies when it is idle
    static constexpr std::uint32_t dma_buf = 1U << 31U; // fixed: devices reach it, so a grant is not all there is
    static constexpr std::uint32_t held = readers | writer;
    static constexpr std::uint32_t waited = waiting_reader | waiting_writer;

    explicit buffer_node(const admission& h, bool is_dma_buf = false) noexcept
        : home{&h}, state{is_dma_buf ? dma_buf : 0U} {}

    const admission* home; // fixed
    std::uint32_t state;
    std::uint32_t waiters = 0; // the length of both queues
    std::uint64_t sequence =
        0; // fencing token: odd while a writer holds; grows whenever a conflicting grant is possible
    std::uint64_t attempt = 0; // the last admission that touched it: finds duplicates without a search
    waiting_queue waiting_readers;
    waiting_queue waiting_writers;
};

/// The policy's part of an acquisition, from request to release.
struct claim_node : list_hook<ready_tag> {
    std::uint64_t ticket = 0; // its age; smaller is older; set when it first has to wait
    std::uint32_t size = 0;
    bool has_dma_buf = false; // one of the set is a dma-buf
    entry* entries = nullptr; // fixed; room for at least `size`

    [[nodiscard]] std::span<entry> set() const noexcept { return {entries, size}; }
};

/// Claims that have been granted by a step and must be told.
using ready_list = intrusive_list<claim_node, ready_tag>;

/// What a set is asked for with.
struct request {
    buffer_node* buffer;
    access mode;
};

/// Whether ticket `a` was drawn before `b`: right even when the counter has wrapped between them (S6).
[[nodiscard]] constexpr bool older(std::uint64_t a, std::uint64_t b) noexcept {
    return static_cast<std::int64_t>(a - b) < 0;
}

/// Grants and queues the claims of one domain. Every member runs under the domain's lock.
class admission {
public:
    /// `first_ticket` is for tests, which start it near its wrap.
    explicit admission(std::uint64_t first_ticket = 0) noexcept : next_ticket_{first_ticket} {}

    /// Grants the whole of `set` to `c`, or nothing of it (S2).
    /// Errors: `empty_set`, `wrong_domain`, `duplicate_buffer`, `closed`; `would_block` when it has to wait for others.
    [[nodiscard]] errc try_grant(claim_node& c, std::span<const request> set) noexcept {
        const std::uint64_t attempt = ++attempts_;
        std::size_t marked = 0;
        std::uint32_t seen = 0;
        errc obstacle = set.empty() ? errc::empty_set : errc{};
        for (; obstacle == errc{} && marked < set.size(); ++marked) {
            obstacle = check(set[marked], attempt);
            if (obstacle != errc{}) { break; }
            seen |= mark(*set[marked].buffer, set[marked].mode);
            c.entries[marked].buffer = set[marked].buffer;
            c.entries[marked].mode = set[marked].mode;
        }
        c.size = static_cast<std::uint32_t>(marked);
        c.has_dma_buf = (seen & buffer_node::dma_buf) != 0;
        if (obstacle != errc{}) [[unlikely]] { return give_up(set, marked, attempt, obstacle); }
        return errc{};
    }

    /// Puts a claim whose `try_grant` said `would_block` into the queues, as the youngest.
    void enqueue(claim_node& c, std::span<const request> set) noexcept {
        c.ticket = next_ticket_++;
        c.size = static_cast<std::uint32_t>(set.size());
        c.has_dma_buf = false;
        for (std::size_t i = 0; i < set.size(); ++i) {
            c.entries[i].buffer = set[i].buffer;
            c.entries[i].mode = set[i].mode;
            c.has_dma_buf |= (set[i].buffer->state & buffer_node::dma_buf) != 0;
            wait_for(c.entries[i]);
        }
    }

    /// Takes a waiting claim out of the queues. Those behind it may go.
    static void withdraw(claim_node& c, ready_list& ready) noexcept {
        leave_queues(c);
        for (entry& e : c.set()) { promote(*e.buffer, e.mode, ready); }
    }

    /// Ends a hold.
    /// Returns: whether `pass_on` has to follow: somebody waits for one of its buffers, or one is an orphan.
    [[nodiscard]] static bool release(const claim_node& c) noexcept {
        std::uint32_t seen = 0;
        for (const entry& e : c.set()) {
            if (e.buffer != nullptr) { seen |= unmark(*e.buffer, e.mode); }
        }
        return (seen & (buffer_node::waited | buffer_node::orphan)) != 0;
    }

    /// Grants what may go now that a hold has been released.
    static void pass_on(const claim_node& c, ready_list& ready) noexcept {
        for (const entry& e : c.set()) {
            if (e.buffer != nullptr) { promote(*e.buffer, e.mode, ready); }
        }
    }

    /// Ends the hold of one buffer of a set.
    static void release(entry& e, ready_list& ready) noexcept {
        buffer_node& b = *e.buffer;
        unmark(b, e.mode);
        e.buffer = nullptr;
        promote(b, e.mode, ready);
    }

    /// Ends a hold against its holder's will: tokens grow, so that what it still does can be told from what others do.
    static void revoke(const claim_node& c, ready_list& ready) noexcept {
        for (entry& e : c.set()) {
            if (e.buffer == nullptr) { continue; }
            e.token = e.buffer->sequence;
            if (!is_write(e.mode)) { e.buffer->sequence += 2; } // a writer's grows as it ends
        }
        if (release(c)) { pass_on(c, ready); }
    }

    /// Turns a writer into a reader without a moment in between.
    static void downgrade(entry& e, ready_list& ready) noexcept {
        if (!is_write(e.mode)) { return; }
        const access was = e.mode;
        unmark(*e.buffer, was);
        e.mode = as_reader(was);
        mark(*e.buffer, e.mode);
        promote(*e.buffer, was, ready);
    }

    /// The oldest claim that waits for a buffer; null without one.
    [[nodiscard]] static claim_node* oldest_waiter(const buffer_node& b) noexcept {
        const entry* r = b.waiting_readers.front();
        const entry* w = b.waiting_writers.front();
        const entry* e = w == nullptr || (r != nullptr && before(*r, *w)) ? r : w;
        return e == nullptr ? nullptr : e->claim;
    }

private:
    [[nodiscard]] static bool before(const entry& a, const entry& b) noexcept {
        return older(a.claim->ticket, b.claim->ticket);
    }

    /// What keeps a newcomer from this buffer. Every waiter is older than a newcomer.
    [[nodiscard]] errc check(const request& r, std::uint64_t attempt) const noexcept {
        constexpr std::uint32_t bars_reader = buffer_node::writer | buffer_node::waiting_writer | buffer_node::closed;
        if (r.buffer == nullptr || r.buffer->home != this) [[unlikely]] { return errc::wrong_domain; }
        buffer_node& b = *r.buffer;
        if (b.attempt == attempt) [[unlikely]] { return errc::duplicate_buffer; }
        b.attempt = attempt;
        constexpr std::uint32_t bars_writer = bars_reader | buffer_node::readers | buffer_node::waiting_reader;
        const std::uint32_t bars = is_write(r.mode) ? bars_writer : bars_reader;
        if ((b.state & bars) == 0) [[likely]] { return errc{}; }
        return (b.state & buffer_node::closed) != 0 ? errc::closed : errc::would_block;
    }

    /// Undoes the marks of a set that cannot be granted, and looks for what would refuse it for good further on.
    [[nodiscard]] errc give_up(std::span<const request> set, std::size_t marked, std::uint64_t attempt,
                               errc obstacle) const noexcept {
        for (const request& r : set.first(marked)) {
            r.buffer->state -= weight(r.mode);
            r.buffer->sequence -= is_write(r.mode) ? 1U : 0U;
        }
        for (std::size_t i = marked + 1; obstacle == errc::would_block && i < set.size(); ++i) {
            if (const errc e = check(set[i], attempt); e != errc{}) { obstacle = e; }
        }
        return obstacle;
    }

    [[nodiscard]] static constexpr std::uint32_t weight(access mode) noexcept {
        return is_write(mode) ? buffer_node::writer : buffer_node::reader;
    }

    static std::uint32_t mark(buffer_node& b, access mode) noexcept {
        b.sequence += is_write(mode) ? 1U : 0U;
        return b.state += weight(mode);
    }

    static std::uint32_t unmark(buffer_node& b, access mode) noexcept {
        b.sequence += is_write(mode) ? 1U : 0U;
        return b.state -= weight(mode);
    }

    static waiting_queue& queue_of(entry& e) noexcept {
        return is_write(e.mode) ? e.buffer->waiting_writers : e.buffer->waiting_readers;
    }

    static void wait_for(entry& e) noexcept {
        waiting_queue& q = queue_of(e);
        entry* position = q.back();
        while (position != nullptr && before(e, *position)) { position = q.prev(*position); }
        q.insert_after(position, e);
        ++e.buffer->waiters;
        e.buffer->state |= is_write(e.mode) ? buffer_node::waiting_writer : buffer_node::waiting_reader;
    }

    static void leave_queues(claim_node& c) noexcept {
        for (entry& e : c.set()) {
            waiting_queue::erase(e);
            --e.buffer->waiters;
            if (queue_of(e).empty()) {
                e.buffer->state &= ~(is_write(e.mode) ? buffer_node::waiting_writer : buffer_node::waiting_reader);
            }
        }
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
    static void consider(claim_node& c, ready_list& ready) noexcept {
        for (const entry& e : c.set()) {
            if (!may_go(e)) { return; }
        }
        leave_queues(c);
        for (entry& e : c.set()) { mark(*e.buffer, e.mode); }
        ready.push_back(c);
    }

    /// After a claim with access `left` has left `b`, be it its hold or its queue: considers, oldest first, everybody
    /// who may have been waiting for that.
    ///
    /// Cost: constant after a reader, and while a writer holds or the buffer is closed: nobody may go then. When a writer
    /// leaves, be it the last holder or a waiter, one step for each reader that was waiting for it, up to the next waiting
    /// writer. Such a reader is looked at again only when that one leaves as well, before the reader could go.
    static void promote(buffer_node& b, access left, ready_list& ready) noexcept {
        if ((b.state & buffer_node::waited) == 0 || (b.state & (buffer_node::writer | buffer_node::closed)) != 0) {
            return;
        }
        entry* r = is_write(left) ? b.waiting_readers.front() : nullptr;
        const entry* w = b.waiting_writers.front();
        while (r != nullptr && (w == nullptr || before(*r, *w))) {
            entry* next = b.waiting_readers.next(*r); // a claim has no second entry here that could go with it
            consider(*r->claim, ready);
            r = next;
        }
        if (w != nullptr) { consider(*w->claim, ready); }
    }

    std::uint64_t next_ticket_;
    std::uint64_t attempts_ = 0;
};

} // namespace dmasync::detail
