// SPDX-License-Identifier: MIT
#include "analysis.hpp"
#include "denoise.hpp"

#include "support.hpp"

#include <doctest/doctest.h>

#include <algorithm>
#include <numeric>

using namespace pipeline;

namespace {

std::vector<std::byte> denoised(const std::vector<std::byte>& current, const std::vector<std::byte>& previous) {
    std::vector<std::byte> out(current.size());
    temporal_denoise(current, previous, out);
    return out;
}

int denoised(int current, int previous) {
    const std::vector<std::byte> now{static_cast<std::byte>(current)};
    const std::vector<std::byte> before{static_cast<std::byte>(previous)};
    return std::to_integer<int>(denoised(now, before)[0]);
}

std::uint64_t total(const histogram& counts) { return std::accumulate(counts.begin(), counts.end(), std::uint64_t{0}); }

} // namespace

TEST_CASE("denoising a frame with itself changes nothing") {
    const auto frame = test::noise(1000, 1);
    CHECK(denoised(frame, frame) == frame);
}

TEST_CASE("a denoised sample lies between the two it comes from") {
    for (int current = 0; current < 256; ++current) {
        for (int previous = 0; previous < 256; ++previous) {
            const int result = denoised(current, previous);
            CHECK_UNARY(result >= std::min(current, previous) && result <= std::max(current, previous));
        }
    }
}

TEST_CASE("motion leaves no trail") {
    for (int current = 0; current < 256; ++current) {
        for (int previous = 0; previous < 256; ++previous) {
            if (std::abs(current - previous) >= 16) { CHECK_UNARY(denoised(current, previous) == current); }
        }
    }
}

TEST_CASE("noise on a picture that stands still gets less") {
    std::vector<std::byte> one = test::noise(10'000, 1);
    std::vector<std::byte> other = test::noise(10'000, 2);
    const auto spread = [](const std::vector<std::byte>& samples) {
        return std::accumulate(samples.begin(), samples.end(), 0, [](int sum, std::byte sample) {
            return sum + (std::to_integer<int>(sample) - 128) * (std::to_integer<int>(sample) - 128);
        });
    };
    for (auto* const frame : {&one, &other}) {
        for (std::byte& sample : *frame) { sample = static_cast<std::byte>(126 + std::to_integer<int>(sample) % 5); }
    }
    CHECK(spread(denoised(one, other)) * 10 < spread(one) * 8);
}

TEST_CASE("denoising refuses frames of different sizes and writing over its input") {
    std::vector<std::byte> frame(10);
    std::vector<std::byte> shorter(9);
    CHECK_THROWS_AS(temporal_denoise(frame, frame, shorter), std::invalid_argument);
    CHECK_THROWS_AS(temporal_denoise(frame, shorter, frame), std::invalid_argument);
    CHECK_THROWS_AS(temporal_denoise(frame, frame, frame), std::invalid_argument);
}

TEST_CASE("histograms count every sample of their plane once") {
    const video_format format = test::format_of(17, 9);
    const analysis result = analyse(format, test::noise(frame_bytes(format), 3));
    CHECK(total(result.luma) == 17 * 9);
    CHECK(total(result.cb) == 9 * 5);
    CHECK(total(result.cr) == 9 * 5);
}

TEST_CASE("darkest, brightest and mean are those of luma") {
    const video_format format = test::format_of(2, 2);
    const std::vector<std::byte> frame{std::byte{10},  std::byte{20},  std::byte{30},
                                       std::byte{200}, std::byte{255}, std::byte{0}};
    const analysis result = analyse(format, frame);
    CHECK(result.darkest == 10);
    CHECK(result.brightest == 200);
    CHECK(result.mean == 65);
    CHECK(result.cb[255] == 1);
    CHECK(result.cr[0] == 1);
}

TEST_CASE("a waveform shows where in the picture a level occurs") {
    const video_format format = test::format_of(256, 4, colour_space::mono);
    std::vector<std::byte> frame(frame_bytes(format), std::byte{0});
    for (std::size_t y = 0; y < 4; ++y) { frame[y * 256 + 255] = std::byte{255}; }
    const waveform wave = analyse(format, frame).wave;
    CHECK(wave.columns_used == waveform::columns);
    CHECK(wave.counts[0][0] == 8);
    CHECK(wave.counts[waveform::columns - 1][0] == 4);
    CHECK(wave.counts[waveform::columns - 1][waveform::levels - 1] == 4);
}

TEST_CASE("a picture narrower than the waveform uses one column for each of its own") {
    const video_format format = test::format_of(3, 2);
    CHECK(analyse(format, test::noise(frame_bytes(format), 4)).wave.columns_used == 3);
}

TEST_CASE("a frame without chroma has empty chroma histograms") {
    const video_format format = test::format_of(4, 4, colour_space::mono);
    const analysis result = analyse(format, test::noise(frame_bytes(format), 5));
    CHECK(total(result.cb) == 0);
    CHECK(total(result.cr) == 0);
}

TEST_CASE("a frame buffer that is too short is refused") {
    const std::vector<std::byte> frame(5);
    CHECK_THROWS_AS(static_cast<void>(analyse(test::format_of(2, 2), frame)), std::invalid_argument);
}
