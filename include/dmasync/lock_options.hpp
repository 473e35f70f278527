// SPDX-License-Identifier: MIT
#pragma once
/// \file lock_options.hpp  How a lock differs from what its domain or set does anyway.

#include <dmasync/event_loop.hpp>
#include <dmasync/name.hpp>
#include <dmasync/stop_ref.hpp>

#include <chrono>
#include <optional>
#include <type_traits>

namespace dmasync {

/// How a lock differs from what its domain or set does anyway.
///
/// Trivially destructible on purpose: GCC 12 destroys a braced aggregate inside a `co_await` twice.
struct lock_options {
    std::optional<std::chrono::nanoseconds> lease{};                 ///< from the grant on; `no_lease` for none
    event_loop::time_point deadline = event_loop::time_point::max(); ///< for the grant, on the domain's loop's clock
    stop_ref stop{};                                                 ///< gives up when stop is requested
    event_loop* on = nullptr;                                        ///< where to resume; null: on the domain's loop
    dmasync::name name{};                                            ///< for reports
    void* user = nullptr;                                            ///< handed through to reports (S1)
};
static_assert(std::is_trivially_destructible_v<lock_options>);

} // namespace dmasync
