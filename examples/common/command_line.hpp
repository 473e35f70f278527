// SPDX-License-Identifier: MIT
#pragma once
/// \file command_line.hpp  The words of a command line, one after the other.

#include <charconv>
#include <cstdint>
#include <span>
#include <stdexcept>
#include <string>
#include <string_view>
#include <system_error>

namespace common {

/// Throws std::invalid_argument with what is wrong.
class command_line {
public:
    explicit command_line(std::span<const char* const> arguments) : rest_{arguments} {}

    [[nodiscard]] bool empty() const noexcept { return rest_.empty(); }

    std::string_view next() {
        const std::string_view word = rest_.front();
        rest_ = rest_.subspan(1);
        return word;
    }

    /// The word after an option.
    std::string_view value_of(std::string_view option) {
        if (rest_.empty()) { throw std::invalid_argument{std::string{option} + " needs a value"}; }
        return next();
    }

    /// The number after an option.
    std::uint64_t number_of(std::string_view option) {
        const std::string_view text = value_of(option);
        std::uint64_t number = 0;
        const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), number);
        if (error != std::errc{} || end != text.data() + text.size()) {
            throw std::invalid_argument{std::string{option} + ": " + std::string{text} + " is not a number"};
        }
        return number;
    }

private:
    std::span<const char* const> rest_;
};

} // namespace common
