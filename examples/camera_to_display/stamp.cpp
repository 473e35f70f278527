// SPDX-License-Identifier: MIT
#include "stamp.hpp"

#include <algorithm>

namespace camera_to_display {
namespace {

constexpr std::uint32_t mark = 0xd3a5'51c9; // half of its bits are set: neither black nor white looks like it

/// Bit 63 is on the left.
void draw_word(const pixel_view<std::uint32_t>& picture, std::size_t row, std::uint64_t word) noexcept {
    for (std::size_t y = row * stamp_block; y < (row + 1) * stamp_block; ++y) {
        const auto line = picture.line(y);
        for (std::size_t x = 0; x < stamp_width; ++x) {
            line[x] = (word >> (63 - x / stamp_block) & 1U) != 0 ? white : black;
        }
        std::ranges::fill(line.subspan(stamp_width), black);
    }
}

std::uint64_t read_word(const pixel_view<const std::uint32_t>& picture, std::size_t row) noexcept {
    constexpr std::uint32_t half_of_green = 0x8000;
    const auto line = picture.line(row * stamp_block + stamp_block / 2);
    std::uint64_t word = 0;
    for (std::size_t x = stamp_block / 2; x < stamp_width; x += stamp_block) {
        word = word << 1U | ((line[x] & half_of_green) != 0 ? 1U : 0U);
    }
    return word;
}

bool has_room(const pixel_view<const std::uint32_t>& picture) noexcept {
    return picture.width >= stamp_width && picture.height >= stamp_height;
}

} // namespace

std::uint64_t checksum_of(const pixel_view<const std::uint32_t>& picture, std::uint32_t number) noexcept {
    constexpr std::uint64_t prime = 0x100'0000'01b3; // FNV-1a, with pixels for bytes
    std::uint64_t sum = (0xcbf2'9ce4'8422'2325 ^ number) * prime;
    for (std::size_t y = stamp_height; y < picture.height; ++y) {
        for (const std::uint32_t pixel : picture.line(y)) { sum = (sum ^ (pixel & colour_bits)) * prime; }
    }
    return sum;
}

void draw_stamp(const pixel_view<std::uint32_t>& picture, std::uint32_t number) noexcept {
    const pixel_view<const std::uint32_t> readable{picture.first, picture.width, picture.height, picture.stride};
    draw_word(picture, 0, std::uint64_t{mark} << 32U | number);
    draw_word(picture, 1, checksum_of(readable, number));
}

std::optional<stamp> read_stamp(const pixel_view<const std::uint32_t>& picture) noexcept {
    if (!has_room(picture)) { return std::nullopt; }
    const std::uint64_t first = read_word(picture, 0);
    if (first >> 32U != mark) { return std::nullopt; }
    return stamp{.number = static_cast<std::uint32_t>(first), .checksum = read_word(picture, 1)};
}

} // namespace camera_to_display
