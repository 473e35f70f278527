// SPDX-License-Identifier: MIT
#pragma once
/// \file deadlock_policy.hpp  Which of two transactions gives way.

#include <cstdint>

namespace dmasync {

/// How a domain keeps transactions from waiting for each other in a circle. Declared sets hold nothing while they wait
/// and need neither.
///
/// With both, whoever has to give way gets `errc::wounded`, keeps its age, and is spared once it is the oldest. Waiting is
/// for younger ones with the first, for older ones with the second: wound_wait takes back less often when transactions are
/// long, wait_die never disturbs one that is not about to wait. docs/proof.md has figures.
/// Source: kernel Documentation/locking/ww-mutex-design.rst.
enum class deadlock_policy : std::uint8_t {
    wound_wait, ///< who is older takes back what younger transactions have been given; they try again
    wait_die,   ///< who is younger, and has something, does not wait for who is older: it gives back and tries again
};

} // namespace dmasync
