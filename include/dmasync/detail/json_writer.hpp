// SPDX-License-Identifier: MIT
#pragma once
/// \file json_writer.hpp  Writes JSON (RFC 8259) to a string, value by value.

#include <array>
#include <cstddef>
#include <cstdint>
#include <cstdio>
#include <string>
#include <string_view>
#include <utility>

namespace dmasync::detail {

/// How many bytes a well-formed UTF-8 sequence at the beginning of `text` has; 0 when there is none.
/// Source: Unicode, table 3-7.
[[nodiscard]] constexpr std::size_t utf8_length(std::string_view text) noexcept {
    const auto byte = [text](std::size_t i) { return static_cast<unsigned char>(i < text.size() ? text[i] : 0); };
    const auto is_between = [](unsigned b, unsigned low, unsigned high) { return b >= low && b <= high; };
    const auto continues = [&](std::size_t i) { return is_between(byte(i), 0x80, 0xbf); };
    const unsigned b = byte(0);
    if (b < 0x80) { return text.empty() ? 0 : 1; }
    if (is_between(b, 0xc2, 0xdf)) { return continues(1) ? 2 : 0; }
    const unsigned low = b == 0xe0 ? 0xa0 : b == 0xf0 ? 0x90 : 0x80;  // no longer than need be,
    const unsigned high = b == 0xed ? 0x9f : b == 0xf4 ? 0x8f : 0xbf; // no surrogates, nothing beyond U+10FFFF
    const bool second = is_between(byte(1), low, high);
    if (is_between(b, 0xe0, 0xef)) { return second && continues(2) ? 3 : 0; }
    if (is_between(b, 0xf0, 0xf4)) { return second && continues(2) && continues(3) ? 4 : 0; }
    return 0;
}

/// Whoever calls sees to the order of calls: a value for each key, an end for each beginning. Commas come by themselves.
class json_writer {
public:
    json_writer& begin_object() { return begin('{'); }
    json_writer& begin_array() { return begin('['); }
    void end_object() { end('}'); }
    void end_array() { end(']'); }

    json_writer& key(std::string_view name) {
        separate();
        put_string(name);
        text_ += ':';
        first_ = true;
        return *this;
    }

    void string(std::string_view value) {
        separate();
        put_string(value);
    }

    template <class Integer>
    void number(Integer value) {
        separate();
        text_ += std::to_string(value);
    }

    void boolean(bool value) {
        separate();
        text_ += value ? "true" : "false";
    }

    void null() {
        separate();
        text_ += "null";
    }

    [[nodiscard]] std::string take() { return std::move(text_); }

private:
    void separate() {
        if (!std::exchange(first_, false)) { text_ += ','; }
    }

    json_writer& begin(char bracket) {
        separate();
        text_ += bracket;
        first_ = true;
        return *this;
    }

    void end(char bracket) {
        text_ += bracket;
        first_ = false;
    }

    void put_string(std::string_view value) {
        text_ += '"';
        while (!value.empty()) {
            const std::size_t length = utf8_length(value);
            if (length == 1) {
                put_ascii(value.front());
            } else {
                text_ += length == 0 ? std::string_view{"\xef\xbf\xbd"} : value.substr(0, length); // U+FFFD
            }
            value.remove_prefix(length == 0 ? 1 : length);
        }
        text_ += '"';
    }

    void put_ascii(char c) {
        if (c == '"' || c == '\\') {
            text_ += '\\';
            text_ += c;
        } else if (static_cast<unsigned char>(c) >= 0x20) {
            text_ += c;
        } else {
            std::array<char, 7> code{};
            std::snprintf(code.data(), code.size(), "\\u%04x", static_cast<unsigned>(c));
            text_ += code.data();
        }
    }

    std::string text_;
    bool first_ = true; // nothing stands before the next value that it has to be told from
};

} // namespace dmasync::detail
