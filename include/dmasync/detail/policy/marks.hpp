// SPDX-License-Identifier: MIT
#pragma once
/// \file marks.hpp  What claims that hold a buffer, or wait for it, leave on it. Pure, like admission.hpp.

#include <dmasync/access_mode.hpp>
#include <dmasync/detail/base/assertion.hpp>
#include <dmasync/detail/policy/nodes.hpp>
#include <dmasync/version.hpp>

#include <cstdint>

namespace dmasync::inline DMASYNC_ABI::detail {

// ---- of holds --------------------------------------------------------------------------------------------------------

/// Whether a newcomer may have a buffer. Every waiter is older than a newcomer.
[[nodiscard]] inline bool is_free_for_newcomer(const request& r) noexcept {
    constexpr std::uint32_t bars_reader = buffer_node::writer | buffer_node::waiting_writer | buffer_node::closed;
    constexpr std::uint32_t bars_writer = bars_reader | buffer_node::readers | buffer_node::waiting_reader;
    return (r.buffer->state & (is_write(r.mode) ? bars_writer : bars_reader)) == 0;
}

/// Whether nothing could keep a claim from it, nor any device reach it.
[[nodiscard, gnu::always_inline]] inline bool is_idle(const buffer_node& b, access_mode mode) noexcept {
    constexpr std::uint32_t bars_reader =
        buffer_node::writer | buffer_node::waiting_writer | buffer_node::closed | buffer_node::dma_buf;
    constexpr std::uint32_t bars_writer = ~buffer_node::orphan;
    return (b.state & (is_write(mode) ? bars_writer : bars_reader)) == 0;
}

[[nodiscard]] constexpr std::uint32_t weight(access_mode mode) noexcept {
    return is_write(mode) ? buffer_node::writer : buffer_node::reader;
}

// Both return the state that follows.

inline std::uint32_t mark(buffer_node& b, access_mode mode) noexcept {
    DMASYNC_ASSERT((b.state & (is_write(mode) ? buffer_node::held : buffer_node::writer)) == 0); // S1
    DMASYNC_ASSERT((b.state & buffer_node::readers) != buffer_node::readers); // one more would be a writer
    return b.state += weight(mode);
}

inline std::uint32_t unmark(buffer_node& b, access_mode mode) noexcept {
    DMASYNC_ASSERT((b.state & (is_write(mode) ? buffer_node::writer : buffer_node::readers)) != 0);
    if (b.last != mode) { b.last = mode; } // a store is dearer than the look, and it is mostly the same
    if (!is_write(mode)) { return b.state -= buffer_node::reader; }
    b.past_tokens += 2;
    return b.state -= buffer_node::writer;
}

/// As if it had not been marked.
inline void undo_mark(buffer_node& b, access_mode mode) noexcept {
    DMASYNC_ASSERT((b.state & (is_write(mode) ? buffer_node::writer : buffer_node::readers)) != 0);
    b.state -= weight(mode);
}

// ---- of waits --------------------------------------------------------------------------------------------------------

[[nodiscard]] inline bool before(const entry& a, const entry& b) noexcept {
    return older(a.claim->ticket, b.claim->ticket);
}

[[nodiscard]] inline entry_list& queue_of(entry& e) noexcept {
    return is_write(e.mode) ? e.buffer->waiting_writers : e.buffer->waiting_readers;
}

[[nodiscard]] inline std::uint32_t waiting_bit(const entry& e) noexcept {
    return is_write(e.mode) ? buffer_node::waiting_writer : buffer_node::waiting_reader;
}

/// Puts an entry into its queue, behind `position`.
inline void enter_queue(entry& e, entry* position) noexcept {
    DMASYNC_ASSERT((e.buffer->state & buffer_node::closed) == 0);
    DMASYNC_ASSERT(position == nullptr || before(*position, e)); // R5
    queue_of(e).insert_after(position, e);
    DMASYNC_ASSERT(queue_of(e).next(e) == nullptr || before(e, *queue_of(e).next(e))); // R5
    ++e.buffer->waiters;
    e.buffer->state |= waiting_bit(e);
}

/// The same, before those that are younger.
inline void enter_queue(entry& e) noexcept {
    const entry_list& q = queue_of(e);
    entry* position = q.back();
    while (position != nullptr && before(e, *position)) { position = q.prev(*position); }
    enter_queue(e, position);
}

inline void leave_queue(entry& e) noexcept {
    DMASYNC_ASSERT((e.buffer->state & waiting_bit(e)) != 0);
    DMASYNC_ASSERT(e.buffer->waiters != 0);
    entry_list::erase(e);
    --e.buffer->waiters;
    if (queue_of(e).empty()) { e.buffer->state &= ~waiting_bit(e); }
}

inline void leave_queues(claim_node& c) noexcept {
    for (entry& e : c.set()) { leave_queue(e); }
}

} // namespace dmasync::inline DMASYNC_ABI::detail
