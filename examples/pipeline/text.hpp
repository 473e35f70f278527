// SPDX-License-Identifier: MIT
#pragma once
/// \file text.hpp  Lines of text in DejaVu Sans, as coverage to blend a colour by. Drawn by FreeType alone: the
/// packages of cairo are twenty times as large (40 MB to 2), and its lines and fills would not fit planes of Y, Cb and Cr.

#include <cstddef>
#include <cstdint>
#include <string_view>
#include <vector>

namespace pipeline {

/// How much of each pixel a line of text covers, in 255ths, row by row.
struct text_mask {
    std::size_t width = 0;
    std::size_t height = 0;
    std::vector<std::uint8_t> coverage{};

    /// Calls `dot(x, y, coverage)` for every pixel that is covered at all.
    template <class Dot>
    void for_each_dot(Dot dot) const {
        for (std::size_t i = 0; i < coverage.size(); ++i) {
            if (coverage[i] != 0) { dot(i % width, i / width, coverage[i]); }
        }
    }
};

/// ASCII `text`, `size` pixels to the em. As high as any line of that size. Threads: any. Throws std::runtime_error when
/// the font cannot be read.
[[nodiscard]] text_mask render_text(std::string_view text, std::size_t size);

/// In pixels, without rendering.
[[nodiscard]] std::size_t text_width(std::string_view text, std::size_t size);

/// From the top of the highest letter to the bottom of the lowest one, in pixels.
[[nodiscard]] std::size_t text_height(std::size_t size);

} // namespace pipeline
