// SPDX-License-Identifier: MIT
#pragma once
/// \file test_picture.hpp  A small picture with something in every pixel.

#include "picture.hpp"
#include "stamp.hpp"

#include <cstddef>
#include <cstdint>
#include <numeric>
#include <vector>

namespace test {

struct picture {
    static constexpr std::size_t width = camera_to_display::stamp_width + 3;
    static constexpr std::size_t height = camera_to_display::stamp_height + 5;
    static constexpr std::size_t stride = width + 7;

    picture() : pixels(stride * height) { std::iota(pixels.begin(), pixels.end(), 0x1234'5678U); }

    [[nodiscard]] camera_to_display::pixel_view<std::uint32_t> view() noexcept {
        return {pixels.data(), width, height, stride};
    }
    [[nodiscard]] camera_to_display::pixel_view<const std::uint32_t> look() const noexcept {
        return {pixels.data(), width, height, stride};
    }

    std::vector<std::uint32_t> pixels;
};

} // namespace test
