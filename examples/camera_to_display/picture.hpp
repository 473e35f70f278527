// SPDX-License-Identifier: MIT
#pragma once
/// \file picture.hpp  The pictures of this program: their size, and their pixels.

#include <cstddef>
#include <cstdint>
#include <span>

namespace camera_to_display {

inline constexpr std::uint32_t picture_width = 640;
inline constexpr std::uint32_t picture_height = 480;

/// Pixels of 32 bits in lines that may be longer than the picture is wide. From the lowest byte: blue, green, red, and one
/// that means nothing. `Pixel` is std::uint32_t, const for pictures that are only read.
template <class Pixel>
struct pixel_view {
    Pixel* first = nullptr;
    std::size_t width = 0;
    std::size_t height = 0;
    std::size_t stride = 0; // in pixels

    [[nodiscard]] std::span<Pixel> line(std::size_t y) const noexcept { return {first + y * stride, width}; }
};

inline constexpr std::uint32_t colour_bits = 0x00ff'ffff;
inline constexpr std::uint32_t black = 0;
inline constexpr std::uint32_t white = colour_bits;

} // namespace camera_to_display
