// SPDX-License-Identifier: MIT
#pragma once
/// \file world.hpp  Runs a program with the library's own code, and watches it.

#include <sim/program.hpp>

#include <cstdint>

namespace sim {

/// What happened, for the last line of a simulation.
struct tally {
    std::uint64_t waits = 0;
    std::uint64_t grants = 0;
    std::uint64_t expirations = 0;
    std::uint64_t timeouts = 0;
    std::uint64_t cancellations = 0;
    std::uint64_t wounds = 0;
    std::uint64_t deaths = 0;
    std::uint64_t retries = 0;
    std::int64_t longest_wait_of_oldest = 0; // ns
};

struct outcome {
    bool good = true;
    std::uint64_t hash = 0;
    std::uint64_t steps = 0; // operations that were done
    std::uint64_t switches = 0;
    std::int64_t lease = 1; // of the domain, ns
    tally seen;
};

/// With `aloud` every event is printed. What went wrong, if anything did, is in `found()`; then no other run may follow.
[[nodiscard]] outcome run(const program& p, const selection& part, bool aloud);

} // namespace sim
