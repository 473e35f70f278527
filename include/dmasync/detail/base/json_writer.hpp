// SPDX-License-Identifier: MIT
#pragma once
/// \file json_writer.hpp  Writes JSON (RFC 8259) to a string, value by value.

#include <dmasync/detail/base/escape.hpp>
#include <dmasync/version.hpp>

#include <array>
#include <cstddef>
#include <cstdint>
#include <cstdio>
#include <string>
#include <string_view>
#include <utility>

namespace dmasync::inline DMASYNC_ABI::detail {

/// The caller sees to the order of calls: a value for each key, an end for each beginning. Commas come by themselves.
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

} // namespace dmasync::inline DMASYNC_ABI::detail
