// SPDX-License-Identifier: MIT
#include "timestamp.hpp"

namespace pipeline {
namespace {

std::string padded(std::uint64_t value, std::size_t digits) {
    const std::string text = std::to_string(value);
    return text.size() < digits ? std::string(digits - text.size(), '0') + text : text;
}

} // namespace

std::string timestamp(std::uint64_t frame_number, const rational& frame_rate) {
    if (frame_rate.numerator == 0) { return '#' + std::to_string(frame_number); }
    const std::uint64_t milliseconds = frame_number * 1000 * frame_rate.denominator / frame_rate.numerator;
    return std::to_string(milliseconds / 60'000) + ':' + padded(milliseconds / 1000 % 60, 2) + '.' +
           padded(milliseconds % 1000, 3);
}

std::string duration_text(double seconds) {
    const auto whole = static_cast<std::uint64_t>(seconds + 0.5);
    const std::string minutes_and_seconds = ':' + padded(whole % 60, 2);
    if (whole < 3600) { return std::to_string(whole / 60) + minutes_and_seconds; }
    return std::to_string(whole / 3600) + ':' + padded(whole / 60 % 60, 2) + minutes_and_seconds;
}

} // namespace pipeline
