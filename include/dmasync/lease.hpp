// SPDX-License-Identifier: MIT
#pragma once
/// \file lease.hpp  For how long a hold may last, and what is said when it lasts longer.

#include <dmasync/access_mode.hpp>
#include <dmasync/detail/kernel/standard_error.hpp>
#include <dmasync/version.hpp>

#include <array>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <string>
#include <string_view>
#include <system_error>
#include <vector>

namespace dmasync::inline DMASYNC_ABI {

/// The lease of a lock unless its domain, its set or the lock itself says otherwise (S7).
inline constexpr std::chrono::nanoseconds default_lease = std::chrono::seconds{5};

/// Said in place of a lease: the hold lasts until it is unlocked, however long others wait.
inline constexpr std::chrono::nanoseconds no_lease = std::chrono::nanoseconds::max();

/// What a report is about.
enum class lease_event : std::uint8_t {
    expired,        ///< a hold has outlasted its lease; its buffers have been given away
    device_overdue, ///< so has a device; its buffers are not given away before it has finished, or the overdue limit
    device_failed,  ///< a device has finished with an error; its buffers have been released
};

/// What is known of a hold that did not end as it should. Valid during the call of the sink it is given to.
struct lease_report {
    struct held_buffer {
        std::string_view name;
        access_mode mode;
    };

    lease_event event = lease_event::expired;
    std::error_code error;            ///< the device's, when it has failed
    std::string_view domain;          ///< name of the domain; may be empty
    std::string_view set;             ///< name of the lock or set; may be empty
    void* user = nullptr;             ///< of the lock or set
    std::vector<held_buffer> buffers; ///< what it held until now
    std::chrono::nanoseconds age{};   ///< for how long
    std::chrono::nanoseconds lease{}; ///< for how long it might have
    std::size_t waiters = 0; ///< places in the queues of these buffers: a lock that waits for two of them counts twice
};

/// The report on one line, without a newline.
[[nodiscard]] inline std::string to_string(const lease_report& r) {
    const auto quoted = [](std::string_view what, std::string_view name) {
        return std::string{what} + (name.empty() ? std::string{} : " '" + std::string{name} + "'");
    };
    const auto milliseconds = [](std::chrono::nanoseconds t) {
        return std::to_string(std::chrono::duration_cast<std::chrono::milliseconds>(t).count()) + " ms";
    };
    constexpr std::array<std::string_view, 3> events{"lease expired", "device overdue", "device failed"};
    std::string line{events.at(static_cast<std::size_t>(r.event))};
    line += quoted(": set", r.set) + " in " + quoted("domain", r.domain) + " held";
    for (const lease_report::held_buffer& b : r.buffers) {
        line += (&b == &r.buffers.front() ? " " : ", ") + quoted("buffer", b.name) + " (";
        line += to_string(b.mode);
        line += ')';
    }
    line += " for " + milliseconds(r.age) + " of " + milliseconds(r.lease) + "; " + std::to_string(r.waiters) +
            (r.waiters == 1 ? " waiter" : " waiters");
    return r.error ? line + "; " + r.error.message() : line;
}

/// Where reports go. Called on the thread that found the lease expired, usually the domain's loop, with no lock held;
/// it must not throw, and may lock and unlock.
using lease_report_sink = std::function<void(const lease_report&)>;

/// The default sink: one line on standard error, where it can be written at once and to something that is for text; else it is
/// lost. Never blocks, raises no SIGPIPE.
inline void print_lease_report(const lease_report& r) { detail::print_line(to_string(r)); }

} // namespace dmasync::inline DMASYNC_ABI
