// SPDX-License-Identifier: MIT
#pragma once
/// \file random.hpp  Numbers that follow from a seed, the same with every compiler and library.

#include <cstdint>

namespace sim {

/// SplitMix64 (Steele, Lea, Flood 2014): small, and every seed is a good one.
class random_numbers {
public:
    explicit constexpr random_numbers(std::uint64_t seed) noexcept : state_{seed} {}

    constexpr std::uint64_t next() noexcept {
        state_ += 0x9e3779b97f4a7c15U;
        std::uint64_t z = state_;
        z = (z ^ (z >> 30U)) * 0xbf58476d1ce4e5b9U;
        z = (z ^ (z >> 27U)) * 0x94d049bb133111ebU;
        return z ^ (z >> 31U);
    }

    /// One of 0 ... n - 1.
    constexpr std::uint32_t below(std::uint32_t n) noexcept {
        return static_cast<std::uint32_t>(((next() >> 32U) * n) >> 32U);
    }

    /// True in `of` cases out of a hundred.
    constexpr bool percent(std::uint32_t of) noexcept { return below(100) < of; }

private:
    std::uint64_t state_;
};

} // namespace sim
