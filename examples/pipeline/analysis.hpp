// SPDX-License-Identifier: MIT
#pragma once
/// \file analysis.hpp  What a waveform monitor knows about a frame.

#include "video_format.hpp"

#include <array>
#include <cstddef>
#include <cstdint>
#include <span>

namespace pipeline {

using histogram = std::array<std::uint32_t, 256>;

/// For parts of the picture from left to right, how often each level of luma occurs there.
struct waveform {
    static constexpr std::size_t columns = 128;
    static constexpr std::size_t levels = 64;

    std::array<std::array<std::uint32_t, levels>, columns> counts{};
    std::size_t columns_used = 0; // fewer than `columns` when the picture is narrower
};

struct analysis {
    histogram luma{};
    histogram cb{}; // all zero without chroma, like cr
    histogram cr{};
    waveform wave;
    std::uint8_t darkest = 0;
    std::uint8_t brightest = 0;
    std::uint8_t mean = 0; // rounded to nearest
};

[[nodiscard]] analysis analyse(const video_format& format, std::span<const std::byte> frame);

} // namespace pipeline
