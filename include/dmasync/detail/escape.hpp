// SPDX-License-Identifier: MIT
#pragma once
/// \file escape.hpp  Text from outside inside of JSON and HTML: whatever its bytes are, it stays text.

#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>

namespace dmasync::detail {

/// Appends one after the other. (GCC 12 warns, without a reason, of a literal + a string that is about to die.)
template <class... Parts>
void append(std::string& out, const Parts&... parts) {
    ((out += parts), ...);
}

/// How many bytes of `text`, from `at` on, are one character of UTF-8; 0 when they are none (RFC 3629).
[[nodiscard]] inline std::size_t utf8_length(std::string_view text, std::size_t at) noexcept {
    const auto byte = [&](std::size_t i) {
        return at + i < text.size() ? static_cast<unsigned>(static_cast<unsigned char>(text[at + i])) : 0U;
    };
    const auto follows = [&](std::size_t i, unsigned least = 0x80, unsigned most = 0xbf) {
        return byte(i) >= least && byte(i) <= most;
    };
    const unsigned first = byte(0);
    if (first < 0x80) { return 1; }
    if (first >= 0xc2 && first <= 0xdf) { return follows(1) ? 2 : 0; }
    if (first >= 0xe0 && first <= 0xef) {
        const unsigned least = first == 0xe0 ? 0xa0 : 0x80; // no overlong form
        const unsigned most = first == 0xed ? 0x9f : 0xbf;  // no surrogate
        return follows(1, least, most) && follows(2) ? 3 : 0;
    }
    if (first >= 0xf0 && first <= 0xf4) {
        const unsigned least = first == 0xf0 ? 0x90 : 0x80;
        const unsigned most = first == 0xf4 ? 0x8f : 0xbf;
        return follows(1, least, most) && follows(2) && follows(3) ? 4 : 0;
    }
    return 0;
}

/// Appends `text` as a JSON string, quotes included. Bytes that are no UTF-8 become U+FFFD. The characters that mean
/// something in HTML or end a line in JavaScript are escaped, so that it may stand in a <script> as well.
inline void append_json_string(std::string& out, std::string_view text) {
    constexpr std::string_view digits = "0123456789abcdef";
    out += '"';
    for (std::size_t i = 0; i < text.size();) {
        const std::size_t n = utf8_length(text, i);
        const std::string_view character = text.substr(i, n);
        const char c = text[i];
        if (n == 0) {
            out += "\\ufffd";
        } else if (character == "\xe2\x80\xa8" || character == "\xe2\x80\xa9") {
            out += character[2] == '\xa8' ? "\\u2028" : "\\u2029";
        } else if (n > 1) {
            out += character;
        } else if (c == '"' || c == '\\') {
            out += '\\';
            out += c;
        } else if (static_cast<unsigned char>(c) < 0x20 || c == '<' || c == '>' || c == '&' || c == '\x7f') {
            out += "\\u00";
            out += digits[static_cast<unsigned char>(c) >> 4U];
            out += digits[static_cast<unsigned char>(c) & 15U];
        } else {
            out += c;
        }
        i += n == 0 ? 1 : n;
    }
    out += '"';
}

/// Appends `text` to HTML, as text or inside of a quoted attribute. Bytes that are no UTF-8 become U+FFFD.
inline void append_html(std::string& out, std::string_view text) {
    for (std::size_t i = 0; i < text.size();) {
        const std::size_t n = utf8_length(text, i);
        const char c = text[i];
        if (n == 0) {
            out += "\xef\xbf\xbd";
        } else if (c == '<') {
            out += "&lt;";
        } else if (c == '>') {
            out += "&gt;";
        } else if (c == '&') {
            out += "&amp;";
        } else if (c == '"') {
            out += "&quot;";
        } else if (c == '\'') {
            out += "&#39;";
        } else {
            out += text.substr(i, n);
        }
        i += n == 0 ? 1 : n;
    }
}

} // namespace dmasync::detail
