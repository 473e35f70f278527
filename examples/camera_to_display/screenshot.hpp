// SPDX-License-Identifier: MIT
#pragma once
/// \file screenshot.hpp  What a screen showed, as the file of an emulator has it.

#include "picture.hpp"

#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <vector>

namespace camera_to_display {

struct screenshot {
    std::vector<std::uint32_t> pixels;
    std::size_t width = 0;
    std::size_t height = 0;

    [[nodiscard]] pixel_view<const std::uint32_t> view() const noexcept {
        return {pixels.data(), width, height, width};
    }
};

/// Reads a binary PPM of 8 bits per colour and without comments, which is what QEMU writes; none when it is something else.
[[nodiscard]] std::optional<screenshot> read_screenshot(const std::string& file_name);

} // namespace camera_to_display
