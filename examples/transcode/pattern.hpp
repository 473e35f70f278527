// SPDX-License-Identifier: MIT
#pragma once
/// \file pattern.hpp  Pictures whose pixels are known from their number, as they go into the converter and come out.

#include <cstddef>
#include <cstdint>
#include <span>

namespace transcode {

inline constexpr std::size_t picture_width = 640;
inline constexpr std::size_t picture_height = 480;
inline constexpr std::size_t bytes_per_pixel = 3;
inline constexpr std::size_t bytes_per_line = picture_width * bytes_per_pixel;
inline constexpr std::size_t picture_bytes = bytes_per_line * picture_height;

/// Draws picture `number` as red, green, blue.
void draw_pattern(std::span<std::byte> picture, std::uint32_t number) noexcept;

/// Whether these are the pixels of picture `number`, mirrored left to right, as blue, green, red.
[[nodiscard]] bool is_converted_pattern(std::span<const std::byte> picture, std::uint32_t number) noexcept;

/// Tells pictures apart on paper.
[[nodiscard]] std::uint32_t checksum_of(std::span<const std::byte> picture) noexcept;

} // namespace transcode
