// SPDX-License-Identifier: MIT
#include "analysis.hpp"

#include "frame_view.hpp"

#include <algorithm>
#include <functional>
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

/// One histogram for each column of the waveform, from left to right.
std::vector<histogram> count_columns(const plane& luma) {
    std::vector<histogram> columns(std::min(luma.width, waveform::columns));
    const std::vector<std::uint8_t> column_of = map_columns(luma.width, columns.size());
    for (std::size_t y = 0; y < luma.height; ++y) {
        const std::span<const std::uint8_t> row = luma.row(y);
        for (std::size_t x = 0; x < row.size(); ++x) { ++columns[column_of[x]][row[x]]; }
    }
    return columns;
}

waveform make_waveform(const std::vector<histogram>& columns) noexcept {
    waveform wave;
    wave.columns_used = columns.size();
    for (std::size_t column = 0; column < columns.size(); ++column) {
        for (std::size_t value = 0; value < columns[column].size(); ++value) {
            wave.counts[column][value * waveform::levels / 256] += columns[column][value];
        }
    }
    return wave;
}

histogram sum_of(const std::vector<histogram>& parts) noexcept {
    histogram sum{};
    for (const histogram& part : parts) { std::ranges::transform(sum, part, sum.begin(), std::plus{}); }
    return sum;
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
    const std::vector<histogram> columns = count_columns(planes.luma);
    const histogram luma = sum_of(columns);
    return {.luma = luma,
            .cb = count_samples(planes.cb),
            .cr = count_samples(planes.cr),
            .wave = make_waveform(columns),
            .darkest = darkest_of(luma),
            .brightest = brightest_of(luma),
            .mean = mean_of(luma)};
}

} // namespace pipeline
