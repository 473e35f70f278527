// SPDX-License-Identifier: MIT
#pragma once
/// \file video_error.hpp  What can be wrong with a video, as error codes with a readable context.

#include <string>
#include <system_error>

namespace pipeline {

enum class video_errc {
    not_y4m = 1,
    bad_header,
    bad_size,
    unsupported_colour,
    mixed_interlacing,
    truncated_header,
    bad_frame_header,
    truncated_frame,
    no_frames,
    tool_missing,
    tool_failed,
    damaged,
};

[[nodiscard]] const std::error_category& video_category() noexcept;
[[nodiscard]] std::error_code make_error_code(video_errc code) noexcept;

/// Throws std::system_error; its what() reads "context: message of the code".
[[noreturn]] void fail(video_errc code, const std::string& context);

/// The same for the system's current errno.
[[noreturn]] void fail_errno(const std::string& context);

} // namespace pipeline

template <>
struct std::is_error_code_enum<pipeline::video_errc> : std::true_type {};
