// SPDX-License-Identifier: MIT
#pragma once
/// \file escape.hpp  Text from outside inside of JSON and HTML: whatever its bytes are, it stays text.

#include <dmasync/version.hpp>

#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>

namespace dmasync::inline DMASYNC_ABI::detail {

/// Appends one after the other. (GCC 12 warns, without a reason, of a literal + a string that is about to die.)
template <class... Parts>
void append(std::string& out, const Parts&... parts) {
    ((out += parts), ...);
}

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

/// Appends `text` as a JSON string, quotes included. Bytes that are no UTF-8 become U+FFFD. The characters that mean
/// something in HTML or end a line in JavaScript are escaped, so that it may stand in a <script> as well.
inline void append_json_string(std::string& out, std::string_view text) {
    constexpr std::string_view digits = "0123456789abcdef";
    out += '"';
    for (std::size_t i = 0; i < text.size();) {
        const std::size_t n = utf8_length(text.substr(i));
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
        const std::size_t n = utf8_length(text.substr(i));
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

} // namespace dmasync::inline DMASYNC_ABI::detail
