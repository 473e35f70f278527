// SPDX-License-Identifier: MIT
#pragma once
/// \file claim.hpp  One acquisition, from request to release.

#include <dmasync/call_site.hpp>
#include <dmasync/detail/base/assertion.hpp>
#include <dmasync/detail/base/deadline_index.hpp>
#include <dmasync/detail/base/failure.hpp>
#include <dmasync/detail/base/intrusive_list.hpp>
#include <dmasync/detail/base/position_index.hpp>
#include <dmasync/detail/policy/admission.hpp>
#include <dmasync/detail/sync/threading.hpp>
#include <dmasync/event_loop.hpp>
#include <dmasync/lock_options.hpp>
#include <dmasync/name.hpp>
#include <dmasync/unique_fd.hpp>
#include <dmasync/version.hpp>

#include <atomic>
#include <chrono>
#include <coroutine>
#include <cstddef>
#include <cstdint>
#include <stop_token>
#include <system_error>

#include <poll.h>

namespace dmasync::inline DMASYNC_ABI::detail {

struct domain_state;
struct waiting_loop;
struct patience_tag;

/// Where an acquisition stands. Changed under the domain's lock only.
enum class phase : std::uint8_t {
    idle,     ///< in the pool, or being prepared
    waiting,  ///< in the queues
    fenced,   ///< granted; waits on its loop for the fences of devices before it is handed over
    entering, ///< granted or about to be released; a thread tells the kernel so, and it is not taken away meanwhile
    held,     ///< granted and handed over, not yet released
    lent,     ///< held for a device that is at work: not given away when its lease ends
    expired,  ///< was held; the lease has run out
    failed,   ///< will never be granted; `why` says why
};

/// The record of one acquisition. Belongs to the awaiter that asks, then to the guard; never moves, so that queues, deadlines
/// and the loop can point at it while guards are moved about.
///
/// Why not in the awaiter: the hold outlives it, and moving a linked record into the guard would cost every lock a second
/// critical section.
struct claim : claim_node, timed, work, list_hook<patience_tag> {
    claim(domain_state& d, entry* first, std::uint32_t capacity, std::uint32_t size_class, function& on_turn,
          function& on_fence) noexcept
        : work{on_turn}, domain{&d}, pool_class{size_class}, room{capacity}, fence_end{*this, on_fence} {
        entries = first;
    }

    // What every lock touches is in as few cache lines as possible: what is inherited, and from here to `next_free`.
    domain_state* domain;             // fixed
    std::uint32_t pool_class;         // fixed
    std::uint32_t room;               // fixed: for so many buffers
    atomic<phase> state{phase::idle}; // read without the lock only by its owner
    bool posted = false;        // in a loop's queue, whose turn for it is to come; the loop clears it without the lock
    bool blocks_thread = false; // a thread waits on `wake_word`, not a coroutine on `loop`; fixed while it is in use
    failure why{};              // why it failed, or is going to when it is about to wait
    deadline_span lease_span;   // of the lease, as the index of deadlines wants it
    claim** registration = nullptr;     // the mark of the lock_set that it is of, as long as that is in use by it
    options_id options = ~unidentified; // lease, label and user are what these say; never `unidentified`
    call_site place;                    // that asked for it; of a transaction's hold, that added to it last
    claim* next_free = nullptr;         // the pool's

    event_loop* loop = nullptr;        // where the coroutine resumes; set as a wait begins, or a loan
    waiting_loop* elsewhere = nullptr; // while it waits, in the queues or for fences, on another loop than the domain's
    std::coroutine_handle<> waiter;    // null when disowned, or not waiting
    std::chrono::nanoseconds lease{};
    futex_word wake_word{0}; // of a thread that blocks: see blocked_thread
    std::size_t waiters_at_expiry = 0;
    std::error_code device_error{}; // that the report is about
    std::stop_source stop{std::nostopstate};
    name label;
    void* user = nullptr;

    /// The fence that the claim waits for, or that it is lent until. The loop's thread alone.
    struct fence_watch : fd_watch {
        fence_watch(claim& c, function& f) noexcept : fd_watch{f}, owner{c} {}
        claim& owner;
        unique_fd fence;

        /// Has the loop's thread told when the fence is readable.
        [[nodiscard]] std::error_code begin(event_loop& l) noexcept {
            fd = fence.get();
            events = POLLIN;
            return l.watch(*this);
        }
        /// `l` is where it began, if it ever did.
        void end(event_loop* l) noexcept {
            if (active) { l->unwatch(*this); }
            fence.reset();
        }
    };

    // For sets with a dma-buf:
    fence_watch fence_end;
    fences wait_for_fences = fences::wait;
    cpu_access brackets = cpu_access::tracked;
    std::chrono::nanoseconds fence_timeout{};
    std::chrono::steady_clock::time_point deadline{};

    // Of a large hold, once one of its buffers has been looked for. The owner's, as the entries' buffers are.
    position_index index;
    std::uint32_t indexed_entries = 0;

    [[nodiscard]] phase state_now() const noexcept { return state.load(std::memory_order_relaxed); }
    [[nodiscard]] bool has_dma_buf() const noexcept { return reaches_device; }
    [[nodiscard]] bool is_blocking() const noexcept { return blocks_thread; }
};

using patience_list = intrusive_list<claim, patience_tag>;
using claim_list = intrusive_list<claim, timed_tag>;

/// Whether a claim may go from one phase to the other.
[[nodiscard]] constexpr bool can_follow(phase from, phase to) noexcept {
    constexpr auto bit = [](phase p) { return 1U << static_cast<unsigned>(p); };
    constexpr unsigned ends = bit(phase::idle) | bit(phase::failed); // it is never granted, or given back unseen
    switch (from) {
    case phase::idle: return true;
    case phase::waiting: return ((ends | bit(phase::fenced) | bit(phase::entering) | bit(phase::held)) & bit(to)) != 0;
    case phase::fenced: return ((ends | bit(phase::entering)) & bit(to)) != 0;
    case phase::entering: return ((ends | bit(phase::fenced) | bit(phase::held) | bit(phase::entering)) & bit(to)) != 0;
    case phase::held:
        return ((bit(phase::idle) | bit(phase::entering) | bit(phase::lent) | bit(phase::expired)) & bit(to)) != 0;
    case phase::lent:
        return ((bit(phase::idle) | bit(phase::entering) | bit(phase::lent) | bit(phase::expired)) & bit(to)) != 0;
    case phase::expired:
    case phase::failed: return to == phase::idle;
    }
    return false;
}

inline void set_phase(claim& c, phase to, std::memory_order order = std::memory_order_relaxed) noexcept {
    DMASYNC_ASSERT(can_follow(c.state_now(), to));
    c.state.store(to, order);
}

} // namespace dmasync::inline DMASYNC_ABI::detail
