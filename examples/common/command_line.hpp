// SPDX-License-Identifier: MIT
#pragma once
/// \file command_line.hpp  The words of a command line, one after the other.
///
/// Not getopt_long: that has global state, reorders its arguments, takes abbreviations that a later option makes ambiguous,
/// and prints its own messages; here an error is an exception, and parsing is a function that tests call.

#include <charconv>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <stdexcept>
#include <string>
#include <string_view>
#include <system_error>
#include <utility>

namespace common {

/// Throws std::invalid_argument with what is wrong.
class command_line {
public:
    explicit command_line(std::span<const char* const> arguments) : rest_{arguments} {}

    [[nodiscard]] bool empty() const noexcept { return rest_.empty(); }

    /// An option that has its value attached, as in "--lease=200", comes without it.
    std::string_view next() {
        std::string_view word = take();
        const std::size_t equals = word.starts_with("--") ? word.find('=') : word.npos;
        if (equals != word.npos) {
            attached_ = word.substr(equals + 1);
            word = word.substr(0, equals);
        }
        return word;
    }

    /// The next word as it is.
    std::string_view take() {
        const std::string_view word = rest_.front();
        rest_ = rest_.subspan(1);
        return word;
    }

    /// The value of an option: attached to it, or the next word.
    std::string_view value_of(std::string_view option) {
        if (attached_) { return *std::exchange(attached_, std::nullopt); }
        if (rest_.empty()) { throw std::invalid_argument{std::string{option} + " needs a value"}; }
        return take();
    }

    /// After all of an option has been taken.
    void refuse_value_of(std::string_view option) const {
        if (attached_) { throw std::invalid_argument{std::string{option} + " takes no value"}; }
    }

    /// A value that is a number.
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
    std::optional<std::string_view> attached_; // the value of the option that came last, until it is asked for
};

} // namespace common
