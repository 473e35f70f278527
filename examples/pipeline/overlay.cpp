// SPDX-License-Identifier: MIT
#include "overlay.hpp"

#include "frame_view.hpp"
#include "text.hpp"

#include <algorithm>
#include <cmath>
#include <string>

namespace pipeline {
namespace {

constexpr colour background{16, 128, 128};
constexpr colour white{235, 128, 128};
constexpr colour grey{190, 128, 128};
constexpr colour blue{110, 210, 100};
constexpr colour red{110, 100, 210};
constexpr colour green{210, 80, 70};

constexpr std::size_t smallest_text = 9; // pixels to the em

constexpr unsigned faintest = 40;
constexpr unsigned brightest = 200;

/// Square roots keep rare values visible beside frequent ones. IEEE 754 rounds them the same on every machine.
std::size_t root(std::uint32_t count) noexcept { return static_cast<std::size_t>(std::sqrt(64.0 * count)); }

std::size_t down_to_even(std::size_t size) noexcept { return size & ~std::size_t{1}; }

/// The `index`th of `count` equal slices of a length; at least one pixel thick.
struct slice {
    std::size_t begin;
    std::size_t length;
};

slice slice_of(std::size_t length, std::size_t index, std::size_t count) noexcept {
    const std::size_t begin = index * length / count;
    return {begin, std::max<std::size_t>(1, (index + 1) * length / count - begin)};
}

void draw_histogram(const canvas& picture, const rectangle& area, const histogram& counts, const colour& paint,
                    unsigned opacity) {
    const std::size_t highest = root(std::ranges::max(counts));
    const std::size_t bars = std::min(area.width, counts.size());
    if (highest == 0) { return; }
    for (std::size_t bar = 0; bar < bars; ++bar) {
        const slice values = slice_of(counts.size(), bar, bars);
        const auto first = counts.begin() + static_cast<std::ptrdiff_t>(values.begin);
        const std::uint32_t most = *std::max_element(first, first + static_cast<std::ptrdiff_t>(values.length));
        const std::size_t height = root(most) * area.height / highest;
        const slice columns = slice_of(area.width, bar, bars);
        picture.fill({area.x + columns.begin, area.y + area.height - height, columns.length, height}, paint, opacity);
    }
}

/// Frequent levels glow, rare ones are still seen.
void draw_waveform(const canvas& picture, const rectangle& area, const waveform& wave) {
    for (std::size_t column = 0; column < wave.columns_used; ++column) {
        const auto& levels = wave.counts[column];
        const std::uint64_t highest = std::ranges::max(levels);
        const slice across = slice_of(area.width, column, wave.columns_used);
        for (std::size_t level = 0; level < levels.size(); ++level) {
            if (levels[level] == 0) { continue; }
            const slice up = slice_of(area.height, levels.size() - 1 - level, levels.size());
            const auto opacity = static_cast<unsigned>(faintest + (brightest - faintest) * levels[level] / highest);
            picture.fill({area.x + across.begin, area.y + up.begin, across.length, up.length}, green, opacity);
        }
    }
}

/// Draws the number at the top of `panel`; returns what is left for the graphs. In a tiny panel that is all of it.
rectangle draw_number(const canvas& picture, const rectangle& panel, std::uint64_t frame_number) {
    const std::string text = "Frame " + std::to_string(frame_number);
    const std::size_t size = std::max<std::size_t>(smallest_text, panel.height / 8);
    const std::size_t line = text_height(size) + size / 4;
    if (text_width(text, size) > panel.width || 3 * line > panel.height) { return panel; }
    picture.draw_text(panel.x, panel.y, size, text, white);
    return {panel.x, panel.y + line, panel.width, panel.height - line};
}

rectangle shrink(const rectangle& area, std::size_t margin) noexcept {
    return {area.x + margin, area.y + margin, area.width - 2 * margin, area.height - 2 * margin};
}

} // namespace

rectangle overlay_area(const video_format& format) noexcept {
    const std::size_t margin = std::min(format.width, format.height) / 30;
    const std::size_t width = std::min(format.width, std::max<std::size_t>(8, format.width * 2 / 5));
    const std::size_t height =
        std::min(format.height, std::max<std::size_t>(8, std::min(format.height * 2 / 5, width)));
    const std::size_t x = down_to_even(format.width - width - std::min(margin, format.width - width));
    const std::size_t y = down_to_even(format.height - height - std::min(margin, format.height - height));
    return {x, y, width + (width & 1 && x + width < format.width), height + (height & 1 && y + height < format.height)};
}

void draw_overlay(const video_format& format, std::span<std::byte> frame, const analysis& result,
                  std::uint64_t frame_number) {
    const canvas picture{view_frame(format, frame)};
    const rectangle panel = overlay_area(format);
    picture.fill(panel, background, opaque * 11 / 16);
    const std::size_t gap = std::min(panel.width, panel.height) / 20;
    const rectangle graphs = draw_number(picture, shrink(panel, gap), frame_number);
    const std::size_t half = (graphs.width - gap) / 2;
    const rectangle left{graphs.x, graphs.y, half, graphs.height};
    draw_histogram(picture, left, result.luma, grey, opaque * 3 / 4);
    draw_histogram(picture, left, result.cb, blue, opaque / 2);
    draw_histogram(picture, left, result.cr, red, opaque / 2);
    draw_waveform(picture, {graphs.x + graphs.width - half, graphs.y, half, graphs.height}, result.wave);
}

} // namespace pipeline
