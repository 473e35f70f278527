// SPDX-License-Identifier: MIT
#pragma once
/// \file progress.hpp  One line that says how far the work is.

#include <chrono>
#include <cstdint>
#include <mutex>
#include <optional>
#include <string>

namespace pipeline {

struct progress_state {
    std::uint64_t frames = 0;
    std::optional<std::uint64_t> frames_total; // empty when not known
    std::uint64_t leases_expired = 0;
    std::chrono::duration<double> elapsed{};
};

/// "frame 48 of 54 (88%), 120.0 fps, ETA 0:00, 0 leases expired"; without a total no share and no ETA.
[[nodiscard]] std::string progress_text(const progress_state& state);

/// "54 frames in 0.5 s (120.0 fps), 0 leases expired".
[[nodiscard]] std::string summary_text(const progress_state& state);

/// Redraws the line on the standard error output. Threads: any.
class progress_line {
public:
    enum class when { on_a_terminal, always, never };

    explicit progress_line(when show = when::on_a_terminal);
    progress_line(const progress_line&) = delete;
    progress_line& operator=(const progress_line&) = delete;
    /// Removes the line: an error message or the summary takes its place.
    ~progress_line() { clear(); }

    void update(const progress_state& state);
    void clear();
    /// Prints a line of its own; the next update draws the progress below it.
    void print_above(const std::string& text);

private:
    void erase();

    std::mutex mutex_;
    bool shown_;
    bool drawn_ = false;
};

} // namespace pipeline
