// SPDX-License-Identifier: MIT
#pragma once
/// \file domain_options.hpp  How a domain behaves.

#include <dmasync/deadlock_policy.hpp>
#include <dmasync/domain_counters.hpp>
#include <dmasync/lease.hpp>
#include <dmasync/name.hpp>
#include <dmasync/version.hpp>

#include <chrono>
#include <cstddef>
#include <functional>

namespace dmasync::inline DMASYNC_ABI {

namespace detail {
struct domain_state;
} // namespace detail

/// When a lock is stuck, and what is done then. Made by `stuck_after`, of stuck_after.hpp, so that a program that does not use it need not
/// compile it. Default: never.
struct stuck_watch {
    std::chrono::nanoseconds after = no_lease;
    std::function<void(detail::domain_state&)> tell{}; ///< called without a lock; may be empty
};

/// How a domain behaves.
struct domain_options {
    std::chrono::nanoseconds lease = default_lease; ///< of every lock that does not say otherwise; `no_lease` for none
    dmasync::name name{};                           ///< for reports
    lease_report_sink report = print_lease_report;  ///< told of every hold that outlasts its lease; may be empty
    /// For how long, beyond its lease, a device may go on with what it was lent (`guard::release_on`) before its buffers
    /// are given away all the same; `no_lease` for ever.
    std::chrono::nanoseconds overdue_limit = std::chrono::seconds{60};
    deadlock_policy policy = deadlock_policy::wound_wait; ///< of transactions
    /// Only the thread that makes the domain uses it, its buffers and their guards: no lock ever needs an atomic
    /// read-modify-write or a look at the clock, and none can be slowed down by another thread. Use by another one aborts,
    /// `snapshot` included. A lease of a hold that is taken in a turn of the loop is counted from the end of that turn, or
    /// from when it is asked for before: never shorter, longer by the rest of the turn.
    bool single_threaded = false;
    std::size_t reserve = 64; ///< acquisitions of up to 4 buffers alive at once without allocating
    stuck_watch stuck{};      ///< `stuck_after(1s)`: explains every lock that has waited for so long
};

} // namespace dmasync::inline DMASYNC_ABI
