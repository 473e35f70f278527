// SPDX-License-Identifier: MIT
#include "progress.hpp"

#include "timestamp.hpp"

#include <unistd.h>

#include <algorithm>
#include <array>
#include <cstdio>

namespace pipeline {
namespace {

constexpr const char* erase_line = "\r\x1b[K";

std::string one_decimal(double value) {
    std::array<char, 64> text{};
    std::snprintf(text.data(), text.size(), "%.1f", value);
    return text.data();
}

double frames_per_second(const progress_state& state) noexcept {
    return state.elapsed.count() > 0 ? static_cast<double>(state.frames) / state.elapsed.count() : 0;
}

std::string leases_text(std::uint64_t expired) {
    return std::to_string(expired) + (expired == 1 ? " lease expired" : " leases expired");
}

} // namespace

std::string progress_text(const progress_state& state) {
    const double speed = frames_per_second(state);
    std::string text = "frame " + std::to_string(state.frames);
    if (state.frames_total && *state.frames_total > 0) {
        const std::uint64_t percent = std::min<std::uint64_t>(100, state.frames * 100 / *state.frames_total);
        text += " of " + std::to_string(*state.frames_total) + " (" + std::to_string(percent) + "%)";
    }
    text += ", " + one_decimal(speed) + " fps";
    if (state.frames_total && speed > 0) {
        const std::uint64_t left = *state.frames_total - std::min(state.frames, *state.frames_total);
        text += ", ETA " + duration_text(static_cast<double>(left) / speed);
    }
    return text + ", " + leases_text(state.leases_expired);
}

std::string summary_text(const progress_state& state) {
    return std::to_string(state.frames) + (state.frames == 1 ? " frame in " : " frames in ") +
           one_decimal(state.elapsed.count()) + " s (" + one_decimal(frames_per_second(state)) + " fps), " +
           leases_text(state.leases_expired);
}

progress_line::progress_line(when show)
    : shown_{show == when::always || (show == when::on_a_terminal && ::isatty(STDERR_FILENO) == 1)} {}

void progress_line::update(const progress_state& state) {
    const std::lock_guard lock{mutex_};
    if (!shown_) { return; }
    drawn_ = true;
    std::fprintf(stderr, "%s%s", erase_line, progress_text(state).c_str());
    std::fflush(stderr);
}

void progress_line::clear() {
    const std::lock_guard lock{mutex_};
    erase();
}

void progress_line::print_above(const std::string& text) {
    const std::lock_guard lock{mutex_};
    erase();
    std::fprintf(stderr, "%s\n", text.c_str());
}

void progress_line::erase() {
    if (drawn_) { std::fputs(erase_line, stderr); }
    drawn_ = false;
}

} // namespace pipeline
