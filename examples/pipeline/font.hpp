// SPDX-License-Identifier: MIT
#pragma once
/// \file font.hpp  A bitmap font of 5 x 7 dots: capitals, digits and a little punctuation.

#include <array>
#include <cstddef>
#include <cstdint>
#include <string_view>

namespace pipeline {

inline constexpr std::size_t glyph_width = 5;
inline constexpr std::size_t glyph_height = 7;
inline constexpr std::size_t glyph_advance = glyph_width + 1;

/// Rows from top to bottom, the leftmost dot in bit 4.
using glyph = std::array<std::uint8_t, glyph_height>;

/// Lower case looks like upper case, an unknown character is blank.
[[nodiscard]] const glyph& glyph_of(char character) noexcept;

/// In dots, without a gap after the last character.
[[nodiscard]] constexpr std::size_t text_width(std::string_view text) noexcept {
    return text.empty() ? 0 : text.size() * glyph_advance - 1;
}

/// Calls `dot(x, y)` for every dot of `text` that is set, in dots from its top left.
template <class Dot>
void for_each_dot(std::string_view text, Dot dot) {
    for (std::size_t i = 0; i < text.size(); ++i) {
        const glyph& rows = glyph_of(text[i]);
        for (std::size_t y = 0; y < glyph_height; ++y) {
            for (std::size_t x = 0; x < glyph_width; ++x) {
                if ((rows[y] >> (glyph_width - 1 - x)) & 1) { dot(i * glyph_advance + x, y); }
            }
        }
    }
}

} // namespace pipeline
