// SPDX-License-Identifier: MIT
#include "pattern.hpp"

#include <doctest/doctest.h>

#include <cstddef>
#include <cstdint>
#include <vector>

using namespace transcode;

namespace {

std::vector<std::byte> pattern(std::uint32_t number) {
    std::vector<std::byte> picture(picture_bytes);
    draw_pattern(picture, number);
    return picture;
}

/// What the device is to do.
std::vector<std::byte> convert(const std::vector<std::byte>& from) {
    std::vector<std::byte> to(from.size());
    for (std::size_t i = 0; i < from.size(); i += bytes_per_pixel) {
        const std::size_t line = i / bytes_per_line * bytes_per_line;
        const std::size_t mirrored = line + bytes_per_line - bytes_per_pixel - (i - line);
        for (std::size_t colour = 0; colour < bytes_per_pixel; ++colour) {
            to[mirrored + colour] = from[i + bytes_per_pixel - 1 - colour];
        }
    }
    return to;
}

} // namespace

TEST_CASE("a picture is right when it was mirrored and its colours swapped") {
    CHECK(is_converted_pattern(convert(pattern(5)), 5));
    CHECK_FALSE(is_converted_pattern(pattern(5), 5));
}

TEST_CASE("the picture before, the one after, and a byte that is wrong are found out") {
    std::vector<std::byte> result = convert(pattern(5));
    CHECK_FALSE(is_converted_pattern(result, 4));
    CHECK_FALSE(is_converted_pattern(result, 6));
    result.back() ^= std::byte{1};
    CHECK_FALSE(is_converted_pattern(result, 5));
}

TEST_CASE("pictures have different checksums") { CHECK(checksum_of(pattern(1)) != checksum_of(pattern(2))); }
