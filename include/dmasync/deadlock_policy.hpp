// SPDX-License-Identifier: MIT
#pragma once
/// \file deadlock_policy.hpp  Which of two transactions gives way.

#include <dmasync/version.hpp>

#include <cstdint>

namespace dmasync::inline DMASYNC_ABI {

/// How a domain keeps transactions from waiting for each other in a circle. Declared sets hold nothing while they wait
/// and need neither.
///
/// With both, the transaction that has to give way gets `errc::wounded`, keeps its age, and is spared once it is the oldest. With the first
/// an older one that waits disturbs younger ones that run; with the second only one that is about to wait
/// is disturbed. Which takes back less depends on the work: `domain::counters` tells; docs/proof.md has figures of both.
/// Source: kernel Documentation/locking/ww-mutex-design.rst.
enum class deadlock_policy : std::uint8_t {
    wound_wait, ///< an older one takes back what younger transactions have been given; they try again
    wait_die,   ///< a younger one that has something does not wait for an older one: it gives back and tries again
};

} // namespace dmasync::inline DMASYNC_ABI
