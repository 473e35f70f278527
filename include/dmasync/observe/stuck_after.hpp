// SPDX-License-Identifier: MIT
#pragma once
/// \file stuck_after.hpp  Has a domain explain every lock that waits for too long.
///
///     domain media{loop, {.name = "studio", .stuck = stuck_after(1s)}};       // on standard error: see stuck_report.hpp

#include <dmasync/detail/observe/snapshot_builder.hpp>
#include <dmasync/detail/observe/stuck_finder.hpp>
#include <dmasync/domain_options.hpp>
#include <dmasync/error.hpp>
#include <dmasync/observe/domain_snapshot.hpp>
#include <dmasync/observe/stuck_report.hpp>
#include <dmasync/version.hpp>

#include <chrono>
#include <utility>

namespace dmasync::inline DMASYNC_ABI {

/// For `domain_options::stuck`: a lock that has waited for others for `limit` is stuck, and is reported to `sink`, once. With
/// an empty sink it is only counted. A lock that does not wait pays nothing for it.
///
/// It is found out where the domain's time passes: on its loop, or on a thread that is blocked in, or begins, a lock. Several
/// that are found at once and wait for the same in the end are one report. A report, with what the sink does, is followed by a
/// pause of 31 times what it took: locks that become stuck meanwhile are counted and reported together after it. Without
/// memory for it nothing is said.
[[nodiscard]] inline stuck_watch stuck_after(std::chrono::nanoseconds limit,
                                             stuck_report_sink sink = print_stuck_report) {
    if (!sink) { return {limit, {}}; }
    return {limit, [said_to = std::move(sink)](detail::domain_state& d) {
                static_cast<void>(detail::try_allocating([&] {
                    detail::snapshot_builder observer{d};
                    const domain_snapshot seen = observer.look_for_stuck();
                    detail::stuck_finder{seen}.explain(observer.stuck(), said_to);
                }));
            }};
}

} // namespace dmasync::inline DMASYNC_ABI
