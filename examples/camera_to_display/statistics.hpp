// SPDX-License-Identifier: MIT
#pragma once
/// \file statistics.hpp  What became of the camera's frames.

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>

namespace camera_to_display {

/// "30.0 fps".
[[nodiscard]] std::string rate_text(double frames_per_second);

class statistics {
public:
    using time_point = std::chrono::steady_clock::time_point;

    /// The camera has delivered its frame number `sequence`. It counts on while it has no buffer to fill.
    void note_captured(std::uint32_t sequence) noexcept;

    /// The same, and the frame is not to be shown.
    void note_damaged(std::uint32_t sequence) noexcept;

    /// A frame has lost its picture on the way to the screen.
    void note_lost() noexcept { ++dropped_; }

    void note_shown(time_point when) noexcept;

    [[nodiscard]] std::uint64_t captured() const noexcept { return captured_; }

    /// "300 frames captured, 300 shown, 0 dropped, 0 damaged, 30.0 fps". A frame is dropped when the camera has no buffer
    /// for it, or a stage keeps it for longer than its lease.
    [[nodiscard]] std::string text() const;

private:
    void note_sequence(std::uint32_t sequence) noexcept;
    [[nodiscard]] double frames_per_second() const noexcept;

    std::uint64_t captured_ = 0;
    std::uint64_t dropped_ = 0;
    std::uint64_t damaged_ = 0;
    std::uint64_t shown_ = 0;
    std::optional<std::uint32_t> last_sequence_;
    time_point first_shown_;
    time_point last_shown_;
};

} // namespace camera_to_display
