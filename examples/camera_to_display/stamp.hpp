// SPDX-License-Identifier: MIT
#pragma once
/// \file stamp.hpp  A number and a checksum, drawn into a picture as black and white blocks.
///
/// A program that sees the picture, by a camera in front of the screen say, can read both, and tell whether all of it is of one
/// frame: a picture that was changed while it was shown has a checksum that is not its own.

#include "picture.hpp"

#include <cstddef>
#include <cstdint>
#include <optional>

namespace camera_to_display {

inline constexpr std::size_t stamp_block = 8;                // pixels in width and height, for one bit
inline constexpr std::size_t stamp_height = 2 * stamp_block; // at the top of the picture
inline constexpr std::size_t stamp_width = 64 * stamp_block; // what a picture must have at least

struct stamp {
    std::uint32_t number = 0;
    std::uint64_t checksum = 0; // of the number and the picture below the stamp
};

/// What the checksum of a picture with this number has to be. The stamp itself does not count.
[[nodiscard]] std::uint64_t checksum_of(const pixel_view<const std::uint32_t>& picture, std::uint32_t number) noexcept;

/// Draws the stamp over the top of the picture.
void draw_stamp(const pixel_view<std::uint32_t>& picture, std::uint32_t number) noexcept;

/// None when there is no stamp.
[[nodiscard]] std::optional<stamp> read_stamp(const pixel_view<const std::uint32_t>& picture) noexcept;

} // namespace camera_to_display
