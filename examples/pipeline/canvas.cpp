// SPDX-License-Identifier: MIT
#include "canvas.hpp"

#include "text.hpp"

#include <algorithm>

namespace pipeline {
namespace {

/// The part of a plane from (left, top) to before (right, bottom).
struct region {
    std::size_t left;
    std::size_t top;
    std::size_t right;
    std::size_t bottom;
};

region clip(const rectangle& area, const plane_view<std::uint8_t>& luma) noexcept {
    const std::size_t left = std::min(area.x, luma.width);
    const std::size_t top = std::min(area.y, luma.height);
    return {left, top, left + std::min(area.width, luma.width - left), top + std::min(area.height, luma.height - top)};
}

/// The chroma samples that any of the luma samples in `luma` has a share in.
region to_chroma(const region& luma, unsigned shift_x, unsigned shift_y) noexcept {
    const auto up = [](std::size_t size, unsigned shift) { return (size + (1U << shift) - 1) >> shift; };
    return {luma.left >> shift_x, luma.top >> shift_y, up(luma.right, shift_x), up(luma.bottom, shift_y)};
}

void blend(const plane_view<std::uint8_t>& plane, const region& area, unsigned value, unsigned opacity) noexcept {
    for (std::size_t y = area.top; y < area.bottom; ++y) {
        for (std::uint8_t& sample : plane.row(y).subspan(area.left, area.right - area.left)) {
            sample = static_cast<std::uint8_t>((sample * (opaque - opacity) + value * opacity + opaque / 2) / opaque);
        }
    }
}

} // namespace

void canvas::fill(const rectangle& area, const colour& paint, unsigned opacity) const noexcept {
    const region luma = clip(area, frame_.luma);
    if (luma.left == luma.right || luma.top == luma.bottom) { return; }
    blend(frame_.luma, luma, paint.luma, opacity);
    if (frame_.cb.width == 0) { return; }
    const region chroma = to_chroma(luma, frame_.chroma_shift_x, frame_.chroma_shift_y);
    blend(frame_.cb, chroma, paint.cb, opacity);
    blend(frame_.cr, chroma, paint.cr, opacity);
}

void canvas::draw_text(std::size_t x, std::size_t y, std::size_t size, std::string_view text,
                       const colour& paint) const {
    render_text(text, size).for_each_dot([&](std::size_t column, std::size_t row, unsigned coverage) {
        fill({x + column, y + row, 1, 1}, paint, coverage * opaque / 255);
    });
}

} // namespace pipeline
