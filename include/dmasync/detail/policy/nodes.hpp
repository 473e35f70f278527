// SPDX-License-Identifier: MIT
#pragma once
/// \file nodes.hpp  What the policy knows of buffers and acquisitions: plain data, under the domain's lock.

#include <dmasync/access_mode.hpp>
#include <dmasync/detail/base/assertion.hpp>
#include <dmasync/detail/base/intrusive_list.hpp>
#include <dmasync/detail/sync/threading.hpp>
#include <dmasync/version.hpp>

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <span>

namespace dmasync::inline DMASYNC_ABI::detail {

class admission;
struct buffer_node;
struct claim_node;
struct transaction_node;

struct place_tag;
struct ready_tag;
struct wounded_tag;

/// One buffer of a claim, with the access asked for. In one list of its buffer, or in none: in a queue while the claim
/// waits, in `unfinished` while it is held by a transaction that is not complete.
struct entry : list_hook<place_tag> {
    buffer_node* buffer = nullptr; // null once released early
    claim_node* claim = nullptr;   // fixed
    std::uint64_t token = 0;       // the buffer's when the hold ended by revocation
    access_mode mode{};
    bool own_bracket = false; // the hold has begun a CPU access of its own on this dma-buf, and has to end it
};

using entry_list = intrusive_list<entry, place_tag>;

/// The policy's part of a buffer.
struct buffer_node {
    // `state` says all that an uncontended lock must know, in one word: without the last two, 0 is free for any claim.
    static constexpr std::uint32_t reader = 1; // times the number of readers that hold it
    static constexpr std::uint32_t readers = (1U << 26U) - 1U;
    static constexpr std::uint32_t writer = 1U << 26U;         // a writer holds it
    static constexpr std::uint32_t waiting_reader = 1U << 27U; // mirrors !waiting_readers.empty()
    static constexpr std::uint32_t waiting_writer = 1U << 28U; // mirrors !waiting_writers.empty()
    static constexpr std::uint32_t closed = 1U << 29U;         // it is not granted any more
    static constexpr std::uint32_t orphan = 1U << 30U;         // no handle is left: dies when it is idle
    static constexpr std::uint32_t dma_buf = 1U << 31U; // fixed: devices reach it, so a grant is not all there is
    static constexpr std::uint32_t held = readers | writer;
    static constexpr std::uint32_t waited = waiting_reader | waiting_writer;

    explicit buffer_node(const admission& h, bool is_dma_buf = false) noexcept
        : home{&h}, state{is_dma_buf ? dma_buf : 0U} {}

    const admission* home; // fixed
    std::uint32_t state;
    std::uint32_t waiters = 0;     // the length of both queues
    std::uint64_t past_tokens = 0; // even: grows as a writer's hold ends, and as a reader's is taken away
    access_mode last{};            // of the hold that ended last; none of the six when there was none
    std::uint64_t attempt = 0;     // the last admission that touched it: finds duplicates without a search
    entry_list waiting_readers;
    entry_list waiting_writers;
    entry_list unfinished; // held by transactions that may still be wounded

    /// The fencing token: odd while a writer holds; grows whenever a conflicting grant is possible.
    [[nodiscard]] std::uint64_t token() const noexcept { return past_tokens + ((state & writer) != 0 ? 1U : 0U); }
};

/// What sets a claim apart from the common one, in one word: 0 for nothing, which is what the fast paths compare with. Read and
/// changed under the domain's lock only, or before the claim is known to others.
class claim_flags {
public:
    enum flag : std::uint32_t {
        dma_buf = 1U << 0U,           ///< mirrors `claim_node::reaches_device`
        incomplete = 1U << 1U,        ///< of a transaction that is not complete; mirrors `claim_node::transaction`
        partial = 1U << 2U,           ///< some of what was granted has been released, or split off
        lent = 1U << 3U,              ///< a device is, or was, at work on it
        overdue = 1U << 5U,           ///< its lease has run out while a device is at work; it has been given more time
        blocking = 1U << 7U,          ///< mirrors `claim::blocks_thread`
        disowned = 1U << 8U,          ///< its awaiter or guard has no more use for it
        pinned = 1U << 9U,            ///< its buffers stay mapped for it, though it may lose them
        stuck = 1U << 10U,            ///< it waits for longer than `stuck_after` allows
        stuck_unreported = 1U << 11U, ///< and no report has been made of that
        stoppable = 1U << 12U,        ///< it has a stop source
        domain_gone = 1U << 13U,      ///< the domain is gone: the last claim frees the state
        indexed = 1U << 14U,          ///< its entries have an index, to be cleared
        report = 1U << 16U,           ///< times the number of reports that are being made of it
    };
    static constexpr std::uint32_t reports = 0xffU * report;

    [[nodiscard]] bool none() const noexcept { return word_ == 0; }
    [[nodiscard]] bool has(std::uint32_t any_of) const noexcept { return (word_ & any_of) != 0; }
    [[nodiscard]] bool is_only(flag f) const noexcept { return word_ == f; }
    void set(std::uint32_t flags) noexcept { word_ |= flags; }
    void clear(std::uint32_t flags) noexcept { word_ &= ~flags; }
    /// Returns: whether it was set.
    bool take(flag f) noexcept {
        const bool was_set = has(f);
        clear(f);
        return was_set;
    }
    void copy(const claim_flags& from, std::uint32_t which) noexcept { word_ |= from.word_ & which; }

    void begin_report() noexcept {
        DMASYNC_ASSERT((word_ & reports) != reports);
        word_ += report;
    }
    void end_report() noexcept {
        DMASYNC_ASSERT((word_ & reports) != 0);
        word_ -= report;
    }

private:
    std::uint32_t word_ = 0;
};

/// The policy's part of an acquisition, from request to release.
struct claim_node : list_hook<ready_tag> {
    std::uint64_t ticket = 0;                // its age; smaller is older; set when it first has to wait
    transaction_node* transaction = nullptr; // that it is a part of, as long as that is not complete
    std::uint32_t size = 0;
    claim_flags flags;
    bool reaches_device =
        false; // one of the set is a dma-buf: there are fences and brackets; its owner reads it without the lock
    entry* entries = nullptr; // fixed; room for at least `size`

    [[nodiscard]] std::span<entry> set() const noexcept { return {entries, size}; }

    void set_reaches_device(bool does) noexcept {
        reaches_device = does;
        flags.clear(claim_flags::dma_buf);
        if (does) { flags.set(claim_flags::dma_buf); }
    }
};

/// Whether ticket `a` was drawn before `b`: right even when the counter has wrapped between them (S6).
[[nodiscard]] constexpr bool older(std::uint64_t a, std::uint64_t b) noexcept {
    return static_cast<std::int64_t>(a - b) < 0;
}

/// Whether a claim that is older than `ticket` waits for a buffer in a way that conflicts with this access.
[[nodiscard]] inline bool is_awaited_by_older(const buffer_node& b, access_mode mode, std::uint64_t ticket) noexcept {
    const auto is_older = [ticket](const entry* e) { return e != nullptr && older(e->claim->ticket, ticket); };
    return is_older(b.waiting_writers.front()) || (is_write(mode) && is_older(b.waiting_readers.front()));
}

/// Where a transaction stands. Changed under the domain's lock only.
enum class transaction_phase : std::uint8_t {
    growing,    ///< it can lock more
    wounded,    ///< it has to give back what it has; none of its locks has said so yet
    restarting, ///< one of its locks has answered `wounded`
    done,       ///< complete: what it held is a hold like any other
};

/// The policy's part of a transaction: an acquisition that grows while it holds.
struct transaction_node : list_hook<wounded_tag> {
    std::uint64_t ticket = 0;      // its age, kept over retries
    claim_node* held = nullptr;    // what it has
    claim_node* waiting = nullptr; // its lock that waits, or is granted and not yet a part of `held`
    bool has_ticket = false;
    atomic<transaction_phase> phase{transaction_phase::growing}; // read without the lock only by its owner

    [[nodiscard]] transaction_phase phase_now() const noexcept { return phase.load(std::memory_order_relaxed); }
    void set_phase(transaction_phase p) noexcept { phase.store(p, std::memory_order_relaxed); }

    /// Whether it is to give back what it has before it gets more.
    [[nodiscard]] bool is_wounded() const noexcept {
        return phase_now() == transaction_phase::wounded || phase_now() == transaction_phase::restarting;
    }

    [[nodiscard]] bool holds_anything() const noexcept {
        if (held == nullptr) { return false; }
        for (const entry& e : held->set()) {
            if (entry_list::is_linked(e)) { return true; }
        }
        return false;
    }
};

using ready_list = intrusive_list<claim_node, ready_tag>;
using wounded_list = intrusive_list<transaction_node, wounded_tag>;

/// What the policy has decided in one critical section.
struct decisions {
    ready_list ready;     // claims that have been granted, and those that never will be
    wounded_list wounded; // transactions, each once until it has given back
};

/// What a set is asked for with.
struct request {
    buffer_node* buffer;
    access_mode mode;
};

} // namespace dmasync::inline DMASYNC_ABI::detail
