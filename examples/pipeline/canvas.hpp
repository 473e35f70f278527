// SPDX-License-Identifier: MIT
#pragma once
/// \file canvas.hpp  Drawing on a frame: everything is clipped to it.

#include "frame_view.hpp"

#include <cstddef>
#include <cstdint>
#include <string_view>

namespace pipeline {

struct rectangle {
    std::size_t x = 0;
    std::size_t y = 0;
    std::size_t width = 0;
    std::size_t height = 0;
};

struct colour {
    std::uint8_t luma = 0;
    std::uint8_t cb = 128;
    std::uint8_t cr = 128;
};

inline constexpr unsigned opaque = 256;

class canvas {
public:
    explicit canvas(const frame_view<std::uint8_t>& frame) noexcept : frame_{frame} {}

    /// `opacity` is in 256ths.
    void fill(const rectangle& area, const colour& paint, unsigned opacity = opaque) const noexcept;

    /// A line of text (text.hpp) of that size, its top left at (x, y).
    void draw_text(std::size_t x, std::size_t y, std::size_t size, std::string_view text, const colour& paint) const;

private:
    frame_view<std::uint8_t> frame_;
};

} // namespace pipeline
