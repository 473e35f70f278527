// SPDX-License-Identifier: MIT
#pragma once
/// \file programs.hpp  What is run in every interleaving, and how far.

#include "checker.hpp"

#include <vector>

namespace interleave {

struct program {
    const char* test; // what ctest calls it, after `interleave.`; several programs make one test
    const char* name;
    void (*run)();
    settings how{};
    const char* fails = nullptr; // what is found, if it is the checker that is tested
};

/// For programs with too many interleavings: those with few preemptions, and some of the others by chance.
inline constexpr settings few_preemptions{.mode = settings::search::bounded, .bound = 2};
inline constexpr settings by_chance{.mode = settings::search::random, .schedules = 10'000};

/// A change that has to be found in a program.
struct mutant {
    const char* program;
    mutation change;
};

/// Registers the programs of a file before main.
struct registration {
    registration(std::initializer_list<program> programs);
};

[[nodiscard]] std::vector<program>& all_programs();

extern const std::vector<mutant> all_mutants;

} // namespace interleave
