// SPDX-License-Identifier: MIT
#pragma once
/// \file domain_snapshot.hpp  What a domain looked like at one moment: plain data, nothing of which refers to it any more.

#include <dmasync/access_mode.hpp>
#include <dmasync/call_site.hpp>
#include <dmasync/domain_counters.hpp>
#include <dmasync/memory.hpp>
#include <dmasync/name.hpp>
#include <dmasync/version.hpp>

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <string_view>
#include <vector>

namespace dmasync::inline DMASYNC_ABI {

/// Where an acquisition stands.
enum class acquisition_state : std::uint8_t {
    waiting,  ///< has nothing of its set yet: others hold it, or waited first
    fenced,   ///< has its set; waits for devices that still work on it
    entering, ///< has its set; the kernel is being told that a use begins, or ends
    held,     ///< has its set and uses it
    lent,     ///< a device uses it
    expired,  ///< its lease has run out, its buffers have been given away; its guard is still there
};

[[nodiscard]] constexpr std::string_view to_string(acquisition_state s) noexcept {
    switch (s) {
    case acquisition_state::waiting: return "waiting";
    case acquisition_state::fenced: return "fenced";
    case acquisition_state::entering: return "entering";
    case acquisition_state::held: return "held";
    case acquisition_state::lent: return "lent";
    case acquisition_state::expired: return "expired";
    }
    return "invalid";
}

/// All buffers and all acquisitions of a domain, as they were together at one moment. They refer to each other by their
/// places in `buffers` and `acquisitions`.
///
/// Threads: as a value.
struct domain_snapshot {
    using duration = std::chrono::nanoseconds;

    /// A buffer of an acquisition.
    struct part {
        std::size_t buffer;
        access_mode mode;
    };

    /// A lock: one that waits, one that holds, or a guard that has lost what it held. A transaction has one for what it
    /// holds, and one more while it waits.
    struct acquisition {
        dmasync::name set{};
        acquisition_state state{};
        std::optional<duration> age{};         ///< since it began to wait, or to hold; unknown for some that never end
        duration lease{};                      ///< how long it may hold, or might have; `no_lease`
        std::optional<duration> lease_left{};  ///< of a hold; below zero for one that has not been taken away yet
        std::optional<std::uint64_t> ticket{}; ///< its age among those that wait: smaller is older
        std::optional<std::size_t> transaction{}; ///< which, by a number that means nothing beyond this snapshot
        bool wounded = false;                     ///< its transaction is to give back what it has
        bool stuck = false;                       ///< it waits for longer than `stuck_after`
        bool blocks_thread = false;               ///< a thread waits, not a coroutine
        call_site place{};                        ///< that locked it; of a transaction's hold, that did so last
        void* user = nullptr;                     ///< of its options
        std::vector<part> parts{};                ///< what it wants, has, or had; without what was released before
        std::vector<std::size_t> waits_for{};     ///< acquisitions directly in its way; not those that are in theirs
    };

    /// An acquisition of a buffer.
    struct use {
        std::size_t acquisition;
        access_mode mode;
    };

    struct buffer {
        dmasync::name name{};
        std::size_t size = 0; ///< bytes
        memory_kind memory{};
        std::uint64_t device = 0; ///< with the inode, what tells it from others; of plain memory ~0, and the address
        std::uint64_t inode = 0;
        std::uint64_t token = 0;                  ///< see `buffer::token`
        std::optional<access_mode> last_access{}; ///< of the hold that ended last
        bool closed = false;
        std::vector<use> holders{}; ///< first come first
        std::vector<use> waiters{}; ///< oldest first
        std::vector<use> losers{};  ///< guards whose lease has run out, and that have not heard of it yet
        // Of a dma-buf; asked of the kernel right after that moment.
        std::size_t fences_before_read = 0;  ///< pending fences that a reader has to wait for
        std::size_t fences_before_write = 0; ///< the same of a writer. At least, before Linux 6.0: it tells of one only
    };

    dmasync::name domain;
    std::vector<buffer> buffers;
    std::vector<acquisition> acquisitions;
    domain_counters counters;
};

} // namespace dmasync::inline DMASYNC_ABI
