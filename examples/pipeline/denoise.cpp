// SPDX-License-Identifier: MIT
#include "denoise.hpp"

#include <algorithm>
#include <cstdint>
#include <cstdlib>
#include <functional>
#include <stdexcept>

namespace pipeline {
namespace {

// Weights are in 256ths; the shift rounds to nearest, of either sign. A difference of 16 or more is motion, and motion must not leave a trail.
constexpr int full_weight = 128;
constexpr int weight_lost_per_step = 8;
constexpr int rounding = 128;

inline std::uint8_t blend(int current, int previous) noexcept {
    const int weight = std::max(0, full_weight - weight_lost_per_step * std::abs(current - previous));
    return static_cast<std::uint8_t>(current + (((previous - current) * weight + rounding) >> 8));
}

bool overlap(std::span<const std::byte> one, std::span<const std::byte> other) noexcept {
    const std::less<> before; // unlike <, ordered for pointers into different arrays too
    return before(one.data(), other.data() + other.size()) && before(other.data(), one.data() + one.size());
}

} // namespace

void temporal_denoise(std::span<const std::byte> current, std::span<const std::byte> previous,
                      std::span<std::byte> out) {
    if (current.size() != out.size() || previous.size() != out.size() || overlap(current, out) ||
        overlap(previous, out)) {
        throw std::invalid_argument{"denoising takes two frames and a third of the same size to write to"};
    }
    const auto* const now = reinterpret_cast<const std::uint8_t*>(current.data());
    const auto* const before = reinterpret_cast<const std::uint8_t*>(previous.data());
    auto* const result = reinterpret_cast<std::uint8_t*>(out.data());
    const std::size_t count = out.size();
    for (std::size_t i = 0; i < count; ++i) { result[i] = blend(now[i], before[i]); }
}

} // namespace pipeline
