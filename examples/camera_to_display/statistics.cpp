// SPDX-License-Identifier: MIT
#include "statistics.hpp"

#include <array>
#include <cstdio>

namespace camera_to_display {

std::string rate_text(double frames_per_second) {
    std::array<char, 32> text{};
    std::snprintf(text.data(), text.size(), "%.1f fps", frames_per_second);
    return text.data();
}

void statistics::note_sequence(std::uint32_t sequence) noexcept {
    // Modulo 2^32, like the camera's count. A camera that is late may count a frame twice: nothing is missing then.
    const auto step = last_sequence_ ? static_cast<std::int32_t>(sequence - *last_sequence_) : 1;
    if (step > 1) { dropped_ += static_cast<std::uint64_t>(step) - 1; }
    last_sequence_ = sequence;
}

void statistics::note_captured(std::uint32_t sequence) noexcept {
    note_sequence(sequence);
    ++captured_;
}

void statistics::note_damaged(std::uint32_t sequence) noexcept {
    note_sequence(sequence);
    ++damaged_;
}

void statistics::note_shown(time_point when) noexcept {
    if (shown_ == 0) { first_shown_ = when; }
    last_shown_ = when;
    ++shown_;
}

double statistics::frames_per_second() const noexcept {
    const std::chrono::duration<double> time = last_shown_ - first_shown_;
    return time.count() > 0 ? static_cast<double>(shown_ - 1) / time.count() : 0;
}

std::string statistics::text() const {
    return std::to_string(captured_) + " frames captured, " + std::to_string(shown_) + " shown, " +
           std::to_string(dropped_) + " dropped, " + std::to_string(damaged_) + " damaged, " +
           rate_text(frames_per_second());
}

} // namespace camera_to_display
