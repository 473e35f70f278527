// SPDX-License-Identifier: MIT
#pragma once
/// \file lease.hpp  For how long a hold may last, and what is said when it lasts longer.

#include <dmasync/access.hpp>

#include <chrono>
#include <cstddef>
#include <cstdio>
#include <functional>
#include <string>
#include <string_view>
#include <vector>

namespace dmasync {

/// The lease of a lock unless its domain, its set or the lock itself says otherwise (S7).
inline constexpr std::chrono::nanoseconds default_lease = std::chrono::seconds{5};

/// Said in place of a lease: the hold lasts until it is unlocked, however long others wait.
inline constexpr std::chrono::nanoseconds no_lease = std::chrono::nanoseconds::max();

/// What is known of a hold whose lease has run out. Valid during the call of the sink it is given to.
struct lease_report {
    struct held_buffer {
        std::string_view name;
        access mode;
    };

    std::string_view domain;          ///< name of the domain; may be empty
    std::string_view set;             ///< name of the lock or set; may be empty
    void* user = nullptr;             ///< of the lock or set
    std::vector<held_buffer> buffers; ///< what it held until now
    std::chrono::nanoseconds age{};   ///< for how long
    std::chrono::nanoseconds lease{}; ///< for how long it might have
    std::size_t waiters = 0;          ///< places in the queues of these buffers: who waits for two of them counts twice
};

/// The report on one line, without a newline.
[[nodiscard]] inline std::string to_string(const lease_report& r) {
    const auto quoted = [](std::string_view what, std::string_view name) {
        return std::string{what} + (name.empty() ? std::string{} : " '" + std::string{name} + "'");
    };
    const auto milliseconds = [](std::chrono::nanoseconds t) {
        return std::to_string(std::chrono::duration_cast<std::chrono::milliseconds>(t).count()) + " ms";
    };
    std::string line = quoted("lease expired: set", r.set) + " in " + quoted("domain", r.domain) + " held";
    for (const lease_report::held_buffer& b : r.buffers) {
        line += (&b == &r.buffers.front() ? " " : ", ") + quoted("buffer", b.name) + " (";
        line += to_string(b.mode);
        line += ')';
    }
    return line + " for " + milliseconds(r.age) + " of " + milliseconds(r.lease) + "; " + std::to_string(r.waiters) +
           (r.waiters == 1 ? " waiter" : " waiters");
}

/// Where reports go. Called on the thread that found the lease expired, usually the domain's loop, with no lock held;
/// it must not throw, and may lock and unlock.
using lease_report_sink = std::function<void(const lease_report&)>;

/// The default sink: one line on standard error.
inline void print_lease_report(const lease_report& r) { std::fprintf(stderr, "dmasync: %s\n", to_string(r).c_str()); }

} // namespace dmasync
