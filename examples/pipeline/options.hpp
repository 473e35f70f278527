// SPDX-License-Identifier: MIT
#pragma once
/// \file options.hpp  The command line of the program.

#include "ffmpeg.hpp"

#include <dmasync/lease.hpp>

#include <chrono>
#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace pipeline {

struct options {
    std::string input;
    std::string output;
    std::string contact_sheet; // empty for none
    std::vector<std::string> traces;
    std::optional<std::uint64_t> frames_total;
    std::optional<std::uint64_t> stall;
    std::chrono::nanoseconds lease = dmasync::default_lease;
    on_damage damage = on_damage::fail;
    bool epoll = false;
    bool help = false;
};

extern const std::string_view usage;

/// `arguments` without the program's name. Throws std::invalid_argument with what is wrong.
[[nodiscard]] options parse_options(std::span<const char* const> arguments);

/// Throws std::invalid_argument when two of the files are one: whatever is written last would destroy the other.
void refuse_shared_files(const options& chosen);

} // namespace pipeline
