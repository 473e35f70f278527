// SPDX-License-Identifier: MIT
#include "analysis.hpp"

#include "frame_view.hpp"

#include <algorithm>
#include <vector>

namespace pipeline {
namespace {

using plane = plane_view<const std::uint8_t>;

histogram count_samples(const plane& samples) noexcept {
    histogram counts{};
    for (const std::uint8_t sample : samples.all()) { ++counts[sample]; }
    return counts;
}

/// Which column of the waveform each column of the picture belongs to.
std::vector<std::uint8_t> map_columns(std::size_t width, std::size_t columns) {
    static_assert(waveform::columns <= 256);
    std::vector<std::uint8_t> map(width);
    for (std::size_t x = 0; x < width; ++x) { map[x] = static_cast<std::uint8_t>(x * columns / width); }
    return map;
}

waveform make_waveform(const plane& luma) {
    waveform wave;
    wave.columns_used = std::min(luma.width, waveform::columns);
    const std::vector<std::uint8_t> column_of = map_columns(luma.width, wave.columns_used);
    for (std::size_t y = 0; y < luma.height; ++y) {
        const std::span<const std::uint8_t> row = luma.row(y);
        for (std::size_t x = 0; x < row.size(); ++x) { ++wave.counts[column_of[x]][row[x] * waveform::levels / 256]; }
    }
    return wave;
}

std::uint8_t darkest_of(const histogram& counts) noexcept {
    const auto first = std::ranges::find_if(counts, [](std::uint32_t count) { return count > 0; });
    return static_cast<std::uint8_t>(first - counts.begin());
}

std::uint8_t brightest_of(const histogram& counts) noexcept {
    const auto last = std::find_if(counts.rbegin(), counts.rend(), [](std::uint32_t count) { return count > 0; });
    return static_cast<std::uint8_t>(counts.rend() - last - 1);
}

std::uint8_t mean_of(const histogram& counts) noexcept {
    std::uint64_t sum = 0;
    std::uint64_t samples = 0;
    for (std::size_t value = 0; value < counts.size(); ++value) {
        sum += value * counts[value];
        samples += counts[value];
    }
    return static_cast<std::uint8_t>((sum + samples / 2) / samples);
}

} // namespace

analysis analyse(const video_format& format, std::span<const std::byte> frame) {
    const auto planes = view_frame(format, frame);
    const histogram luma = count_samples(planes.luma);
    return {.luma = luma,
            .cb = count_samples(planes.cb),
            .cr = count_samples(planes.cr),
            .wave = make_waveform(planes.luma),
            .darkest = darkest_of(luma),
            .brightest = brightest_of(luma),
            .mean = mean_of(luma)};
}

} // namespace pipeline
