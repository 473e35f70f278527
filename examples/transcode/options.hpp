// SPDX-License-Identifier: MIT
#pragma once
/// \file options.hpp  The command line of the program.

#include <cstdint>
#include <span>
#include <string>
#include <string_view>

namespace transcode {

struct options {
    std::string converter = "vim2m";
    std::string heap = "system";
    std::uint32_t frames = 50;
    bool epoll = false;
    bool help = false;
};

extern const std::string_view usage;

/// `arguments` without the program's name. Throws std::invalid_argument with what is wrong.
[[nodiscard]] options parse_options(std::span<const char* const> arguments);

} // namespace transcode
