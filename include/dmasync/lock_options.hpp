// SPDX-License-Identifier: MIT
#pragma once
/// \file lock_options.hpp  How a lock differs from what its domain or set does anyway.

#include <dmasync/event_loop.hpp>
#include <dmasync/name.hpp>
#include <dmasync/option.hpp>
#include <dmasync/stop_ref.hpp>
#include <dmasync/version.hpp>

#include <chrono>
#include <cstdint>
#include <type_traits>

namespace dmasync::inline DMASYNC_ABI {

/// Whether a lock of dma-bufs waits until the devices that work on them have finished.
enum class fences : std::uint8_t {
    wait, ///< a reader for those that write, a writer for all (S12, S18)
    /// The caller looks after them. When a CPU's lock has to tell the kernel of a change (see `cpu_access`), the kernel
    /// waits for them all the same: on the calling thread, without a limit, in a `try_lock` too.
    ignore,
};

/// How often the kernel is told that the CPU begins and ends to use a dma-buf.
enum class cpu_access : std::uint8_t {
    tracked, ///< when the use changes between CPU and devices, as the accesses of this domain's locks tell (S8)
    always,  ///< at every grant and release: for buffers that devices use without locking them here
};

/// How a lock differs from what its domain or set does anyway. What is not given is as the set, else the domain, has it; what
/// is given holds, be it the value that there would be anyway. Null and the empty name count as not given.
///
/// Trivially destructible on purpose: GCC 12 destroys a braced aggregate inside a `co_await` twice.
struct lock_options {
    option<std::chrono::nanoseconds> lease{};                        ///< from the grant on; `no_lease` for none
    event_loop::time_point deadline = event_loop::time_point::max(); ///< for the grant, on the domain's loop's clock
    /// How long to wait, after the grant, for the fences of devices; without it, for as long as the lease. The deadline
    /// counts as well. The lease starts when they have ended.
    option<std::chrono::nanoseconds> fence_timeout{};
    option<dmasync::fences> fences{};         ///< without it `fences::wait`
    option<dmasync::cpu_access> cpu_access{}; ///< without it `cpu_access::tracked`
    stop_ref stop{};                          ///< gives up when stop is requested
    event_loop* on = nullptr;                 ///< where to resume, of the same clock; null: where it runs
    dmasync::name name{};                     ///< for reports
    /// Handed through to reports (S1). Locks with the same one, not null, are taken for the same user's when it is explained
    /// why a lock is stuck.
    void* user = nullptr;
};
static_assert(std::is_trivially_destructible_v<lock_options>);

namespace detail {

/// Options of the same id say the same and need not be looked into again: those of a lock that is given none, and
/// those of one lock_set.
using options_id = std::uint64_t;
inline constexpr options_id unidentified = 0;     // looked into every time
inline constexpr options_id id_of_no_options = 1; // lock_sets have the ones that follow

inline constexpr lock_options no_lock_options{};

} // namespace detail

} // namespace dmasync::inline DMASYNC_ABI
