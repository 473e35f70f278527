// SPDX-License-Identifier: MIT
#pragma once
/// \file domain_options.hpp  How a domain behaves, and what it counts.

#include <dmasync/deadlock_policy.hpp>
#include <dmasync/lease.hpp>
#include <dmasync/name.hpp>

#include <chrono>
#include <cstddef>
#include <cstdint>

namespace dmasync {

/// How a domain behaves.
struct domain_options {
    std::chrono::nanoseconds lease = default_lease; ///< of every lock that does not say otherwise; `no_lease` for none
    dmasync::name name{};                           ///< for reports
    lease_report_sink report = print_lease_report;  ///< told of every hold that outlasts its lease; may be empty
    /// For how long, beyond its lease, a device may go on with what it was lent (`guard::release_on`) before its buffers
    /// are given away all the same; `no_lease` for ever.
    std::chrono::nanoseconds overdue_limit = std::chrono::seconds{60};
    deadlock_policy policy = deadlock_policy::wound_wait; ///< of transactions
    /// Only the thread that makes the domain uses it, its buffers and their guards: locking then needs no atomic operation.
    /// Use by another thread aborts. Its loop may be posted to, and buffers be mapped, by any.
    bool single_threaded = false;
    std::size_t reserve = 64; ///< acquisitions of up to 4 buffers alive at once without allocating
};

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
    std::uint64_t brackets_told = 0;  ///< DMA_BUF_IOCTL_SYNCs made: starts and ends of CPU access
    std::uint64_t brackets_naive = 0; ///< those that a start and an end for every hold by the CPU would have been

    /// All that were granted.
    [[nodiscard]] constexpr std::uint64_t locks() const noexcept { return granted_at_once + granted_after_wait; }

    /// System calls that knowing the last access of every dma-buf has saved so far.
    [[nodiscard]] constexpr std::uint64_t brackets_saved() const noexcept {
        return brackets_naive > brackets_told ? brackets_naive - brackets_told : 0;
    }
};

} // namespace dmasync
