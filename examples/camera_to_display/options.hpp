// SPDX-License-Identifier: MIT
#pragma once
/// \file options.hpp  The command line of the program.

#include <chrono>
#include <cstdint>
#include <span>
#include <string>
#include <string_view>

namespace camera_to_display {

struct options {
    std::string camera = "vivid";
    std::string card = "virtio_gpu";
    std::uint64_t frames = 0;
    std::chrono::milliseconds overlay_delay{};
    bool epoll = false;
    bool help = false;
};

extern const std::string_view usage;

/// `arguments` without the program's name. Throws std::invalid_argument with what is wrong.
[[nodiscard]] options parse_options(std::span<const char* const> arguments);

} // namespace camera_to_display
