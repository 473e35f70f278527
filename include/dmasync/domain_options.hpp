// SPDX-License-Identifier: MIT
#pragma once
/// \file domain_options.hpp  How a domain behaves, and what it counts.

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
    std::size_t reserve = 64; ///< acquisitions of up to 4 buffers alive at once without allocating
};

/// What has become of the locks of a domain so far. One that is refused for another reason is not counted.
struct domain_counters {
    std::uint64_t granted_at_once = 0;
    std::uint64_t granted_after_wait = 0;
    std::uint64_t timed_out = 0;
    std::uint64_t cancelled = 0;
    std::uint64_t leases_expired = 0;
};

} // namespace dmasync
