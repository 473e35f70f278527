// SPDX-License-Identifier: MIT
#pragma once
/// \file timestamp.hpp  Times as people read them.

#include "video_format.hpp"

#include <cstdint>
#include <string>

namespace pipeline {

/// "1:02.500", the time at which a frame is shown; "#125" when the frame rate is unknown.
[[nodiscard]] std::string timestamp(std::uint64_t frame_number, const rational& frame_rate);

/// "1:02" or "1:00:02".
[[nodiscard]] std::string duration_text(double seconds);

} // namespace pipeline
