// SPDX-License-Identifier: MIT
#include "pattern.hpp"

namespace transcode {
namespace {

struct colour {
    std::byte red;
    std::byte green;
    std::byte blue;
};

std::byte low_byte(std::size_t value) noexcept { return static_cast<std::byte>(value & 0xffU); }

/// Every pixel differs from its neighbours, and from itself in the next pictures.
colour pixel(std::size_t x, std::size_t y, std::uint32_t number) noexcept {
    return {.red = low_byte(x + number), .green = low_byte(y + 3 * std::size_t{number}), .blue = low_byte(x ^ y)};
}

} // namespace

void draw_pattern(std::span<std::byte> picture, std::uint32_t number) noexcept {
    std::byte* to = picture.data();
    for (std::size_t y = 0; y < picture_height; ++y) {
        for (std::size_t x = 0; x < picture_width; ++x) {
            const colour c = pixel(x, y, number);
            *to++ = c.red;
            *to++ = c.green;
            *to++ = c.blue;
        }
    }
}

bool is_converted_pattern(std::span<const std::byte> picture, std::uint32_t number) noexcept {
    const std::byte* from = picture.data();
    for (std::size_t y = 0; y < picture_height; ++y) {
        for (std::size_t x = picture_width; x-- > 0; from += bytes_per_pixel) {
            const colour c = pixel(x, y, number);
            if (from[0] != c.blue || from[1] != c.green || from[2] != c.red) { return false; }
        }
    }
    return true;
}

std::uint32_t checksum_of(std::span<const std::byte> picture) noexcept {
    std::uint32_t sum = 0x811c'9dc5; // FNV-1a
    for (const std::byte b : picture) { sum = (sum ^ static_cast<std::uint32_t>(b)) * 0x0100'0193U; }
    return sum;
}

} // namespace transcode
