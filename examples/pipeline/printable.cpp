// SPDX-License-Identifier: MIT
#include "printable.hpp"

#include <cstddef>

namespace pipeline {
namespace {

unsigned char byte_of(char c) noexcept { return static_cast<unsigned char>(c); }

std::size_t length_by_first(unsigned char first) noexcept {
    if (first < 0x80) { return 1; }
    if (first >= 0xc2 && first < 0xe0) { return 2; }
    if (first >= 0xe0 && first < 0xf0) { return 3; }
    return first >= 0xf0 && first < 0xf5 ? 4 : 0;
}

/// The length of the UTF-8 sequence at the beginning of `text`; 0 if there is none, or a control character.
std::size_t printable_length(std::string_view text) noexcept {
    const unsigned char first = byte_of(text[0]);
    const std::size_t length = length_by_first(first);
    if (length == 0 || length > text.size() || first < 0x20 || first == 0x7f) { return 0; }
    for (const char c : text.substr(1, length - 1)) {
        if ((byte_of(c) & 0xc0) != 0x80) { return 0; }
    }
    const bool second_set_of_controls = first == 0xc2 && byte_of(text[1]) < 0xa0;
    return second_set_of_controls ? 0 : length;
}

std::string escaped(char c) {
    constexpr std::string_view digits = "0123456789abcdef";
    return {'\\', 'x', digits[byte_of(c) >> 4], digits[byte_of(c) & 15]};
}

} // namespace

std::string printable(std::string_view text) {
    std::string result;
    while (!text.empty()) {
        const std::size_t length = printable_length(text);
        result += length == 0 ? escaped(text[0]) : std::string{text.substr(0, length)};
        text.remove_prefix(length == 0 ? 1 : length);
    }
    return result;
}

std::string shell_word(std::string_view text) {
    constexpr std::string_view harmless = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_-+=./:,@%";
    if (!text.empty() && text.find_first_not_of(harmless) == text.npos) { return std::string{text}; }
    std::string word = "'";
    for (const char c : text) { word += c == '\'' ? std::string{"'\\''"} : std::string{c}; }
    return word + "'";
}

} // namespace pipeline
