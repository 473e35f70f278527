// SPDX-License-Identifier: MIT
#pragma once
/// \file wounding.hpp  How transactions are kept from waiting for each other in a circle. Pure, like admission.hpp.
///
/// A declared set holds nothing while it waits, so no wait depends on it. A transaction holds while it waits. Two
/// rules keep its waits from closing a circle; a domain has one of them:
///
///   wound-wait   a claim that begins to wait wounds every younger incomplete transaction that has what it wants (R1), be
///                it as a reader, and whether it holds anything or not. So a wait goes from younger to older, to one
///                that is complete, or to one that has been wounded and will give back (S8).
///   wait-die     a transaction that has something and would have to wait for an older one, incomplete or itself waiting,
///                is wounded instead. So one that has something waits for younger ones, or for complete ones.
///
/// A transaction is wounded once until it has given back; one that is complete is never wounded (R4, S4).
/// Source: Rosenkrantz, Stearns, Lewis: System Level Concurrency Control for Distributed Database Systems, 1978; kernel
/// Documentation/locking/ww-mutex-design.rst.

#include <dmasync/access_mode.hpp>
#include <dmasync/detail/policy/nodes.hpp>
#include <dmasync/version.hpp>

#include <cstdint>
#include <span>

namespace dmasync::inline DMASYNC_ABI::detail::wounding {

inline void wound(transaction_node& t, decisions& out) noexcept {
    DMASYNC_ASSERT(t.phase_now() != transaction_phase::done); // R4, S4
    if (t.is_wounded()) { return; }
    t.set_phase(transaction_phase::wounded);
    out.wounded.push_back(t);
}

/// Wound-wait: `c` has begun to wait.
inline void wound_younger_holders(const claim_node& c, decisions& out) noexcept {
    for (const entry& e : c.set()) {
        const entry_list& holders = e.buffer->unfinished;
        for (entry* h = holders.front(); h != nullptr; h = holders.next(*h)) {
            transaction_node& t = *h->claim->transaction;
            if (conflict(e.mode, h->mode) && older(c.ticket, t.ticket)) { wound(t, out); }
        }
    }
}

/// Wait-die: whether a transaction with something to give back would have to wait for an older one.
[[nodiscard]] inline bool must_die(const transaction_node& t, std::span<const request> set) noexcept {
    if (!t.holds_anything()) { return false; }
    for (const request& r : set) {
        const buffer_node& b = *r.buffer;
        for (const entry* h = b.unfinished.front(); h != nullptr; h = b.unfinished.next(*h)) {
            if (conflict(r.mode, h->mode) && older(h->claim->transaction->ticket, t.ticket)) { return true; }
        }
        if (is_awaited_by_older(b, r.mode, t.ticket)) { return true; }
    }
    return false;
}

/// Wait-die: something older than a transaction now stands in its way; it has something to give back.
inline void kill_younger(const entry_list& queue, std::uint64_t ticket, decisions& out) noexcept {
    for (entry* w = queue.back(); w != nullptr && older(ticket, w->claim->ticket); w = queue.prev(*w)) {
        transaction_node* t = w->claim->transaction;
        if (t != nullptr && t->holds_anything()) { wound(*t, out); }
    }
}

/// Wait-die: a claim of this age waits for these, or has been granted them and is not complete.
inline void kill_younger_waiters(std::span<const entry> set, std::uint64_t ticket, decisions& out) noexcept {
    for (const entry& e : set) {
        kill_younger(e.buffer->waiting_writers, ticket, out);
        if (is_write(e.mode)) { kill_younger(e.buffer->waiting_readers, ticket, out); }
    }
}

} // namespace dmasync::inline DMASYNC_ABI::detail::wounding
