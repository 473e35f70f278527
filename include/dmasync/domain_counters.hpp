// SPDX-License-Identifier: MIT
#pragma once
/// \file domain_counters.hpp  What a domain counts.

#include <dmasync/version.hpp>

#include <cstdint>

namespace dmasync::inline DMASYNC_ABI {

/// What has become of the locks of a domain so far. One that is refused for another reason is not counted.
struct domain_counters {
    std::uint64_t granted_at_once = 0;
    std::uint64_t granted_after_wait = 0;
    std::uint64_t timed_out = 0;
    std::uint64_t cancelled = 0;
    std::uint64_t leases_expired = 0;
    std::uint64_t fences_waited = 0; ///< fences that were pending when a lock had to wait for them
    std::uint64_t devices_overdue =
        0;                            ///< leases that ended while a device was at work; its buffers were not given away
    std::uint64_t devices_failed = 0; ///< fences, or other completions, that ended a hold with an error
    std::uint64_t wounds = 0;         ///< transactions that an older one has asked to give back (wound_wait)
    std::uint64_t deaths = 0;         ///< transactions that give back rather than wait for an older one (wait_die)
    std::uint64_t retries = 0;        ///< transactions that have given back and begun again
    std::uint64_t contended = 0;      ///< locks that found others in the way, and waited for them
    std::uint64_t stuck = 0;          ///< locks that waited for longer than `stuck_after`
    std::uint64_t brackets_told = 0;  ///< DMA_BUF_IOCTL_SYNCs made: starts and ends of CPU access
    std::uint64_t brackets_naive = 0; ///< those that a start and an end for every hold by the CPU would have been

    /// All that were granted.
    [[nodiscard]] constexpr std::uint64_t locks() const noexcept { return granted_at_once + granted_after_wait; }

    /// System calls that knowing the last access of every dma-buf has saved so far.
    [[nodiscard]] constexpr std::uint64_t brackets_saved() const noexcept {
        return brackets_naive > brackets_told ? brackets_naive - brackets_told : 0;
    }
};

} // namespace dmasync::inline DMASYNC_ABI
