// SPDX-License-Identifier: MIT
#pragma once
/// \file wait_options.hpp  What ends a wait on a loop before that comes which it waits for.

#include <dmasync/event_loop.hpp>
#include <dmasync/stop_ref.hpp>
#include <dmasync/version.hpp>

#include <type_traits>

namespace dmasync::inline DMASYNC_ABI {

/// For how long to wait, and what ends the wait before.
///
/// Trivially destructible on purpose: GCC 12 destroys a braced aggregate inside a `co_await` twice.
struct wait_options {
    event_loop::time_point deadline = event_loop::time_point::max(); ///< on the loop's clock
    stop_ref stop{};                                                 ///< gives up when stop is requested
};
static_assert(std::is_trivially_destructible_v<wait_options>);

} // namespace dmasync::inline DMASYNC_ABI
