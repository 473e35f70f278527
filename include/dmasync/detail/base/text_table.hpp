// SPDX-License-Identifier: MIT
#pragma once
/// \file text_table.hpp  Text for people: columns that line up, durations and sizes in their units, names made harmless.

#include <dmasync/call_site.hpp>
#include <dmasync/version.hpp>

#include <algorithm>
#include <array>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <cstdio>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace dmasync::inline DMASYNC_ABI::detail {

[[nodiscard]] inline std::string hexadecimal(std::uint64_t value) {
    std::array<char, 19> text{};
    std::snprintf(text.data(), text.size(), "0x%llx", static_cast<unsigned long long>(value));
    return text.data();
}

/// A name without what would change a terminal's state or a line's end.
[[nodiscard]] inline std::string printable(std::string_view name) {
    std::string text;
    for (const char c : name) {
        const auto byte = static_cast<unsigned char>(c);
        if (byte >= 0x20U && byte != 0x7fU) {
            text += c;
        } else {
            std::array<char, 5> code{};
            std::snprintf(code.data(), code.size(), "\\x%02x", static_cast<unsigned>(byte));
            text += code.data();
        }
    }
    return text;
}

[[nodiscard]] inline std::string printable_or(std::string_view name, const char* otherwise) {
    return name.empty() ? otherwise : printable(name);
}

[[nodiscard]] inline std::string quoted(std::string_view name) {
    if (name.empty()) { return "(no name)"; }
    std::string text{"'"}; // appended to: GCC 12 warns falsely, -Wrestrict at -O3, of what is put before a string
    text += printable(name);
    text += '\'';
    return text;
}

[[nodiscard]] inline std::string counted(std::size_t n, const char* what) {
    return std::to_string(n) + ' ' + what + (n == 1 ? "" : "s");
}

/// Three digits and a unit: "840 ns", "12.3 ms", "1.50 s", "4 min 05 s", "3 h 07 min".
[[nodiscard]] inline std::string duration_text(std::chrono::nanoseconds d) {
    const bool past = d.count() < 0;
    const auto ns = past ? -static_cast<double>(d.count()) : static_cast<double>(d.count());
    const char* sign = past ? "-" : "";
    std::array<char, 48> text{};
    const auto scaled = [&](double value, const char* unit) {
        const int digits = value < 9.995 ? 2 : value < 99.95 ? 1 : 0;
        std::snprintf(text.data(), text.size(), "%s%.*f %s", sign, digits, value, unit);
    };
    const auto seconds = static_cast<long long>(ns / 1e9);
    if (ns < 999.5) {
        std::snprintf(text.data(), text.size(), "%s%.0f ns", sign, ns);
    } else if (ns < 999.5e3) {
        scaled(ns / 1e3, "us");
    } else if (ns < 999.5e6) {
        scaled(ns / 1e6, "ms");
    } else if (ns < 60e9) {
        scaled(ns / 1e9, "s");
    } else if (seconds < 3600) {
        std::snprintf(text.data(), text.size(), "%s%lld min %02lld s", sign, seconds / 60, seconds % 60);
    } else {
        std::snprintf(text.data(), text.size(), "%s%lld h %02lld min", sign, seconds / 3600, seconds / 60 % 60);
    }
    return text.data();
}

/// "512 B", "4.0 KiB", "7.9 MiB".
[[nodiscard]] inline std::string size_text(std::size_t bytes) {
    constexpr std::array<const char*, 6> units{"KiB", "MiB", "GiB", "TiB", "PiB", "EiB"};
    if (bytes < 1024) { return std::to_string(bytes) + " B"; }
    auto value = static_cast<double>(bytes) / 1024;
    std::size_t unit = 0;
    for (; value >= 1023.95 && unit + 1 < units.size(); ++unit) { value /= 1024; }
    std::array<char, 32> text{};
    std::snprintf(text.data(), text.size(), "%.1f %s", value, units[unit]);
    return text.data();
}

/// A file without its folders, and a line: "main.cpp:42"; empty for nowhere.
[[nodiscard]] inline std::string place_text(const call_site& place) {
    if (place.line() == 0) { return {}; }
    const std::string_view path{place.file_name()};
    return std::string{path.substr(path.rfind('/') + 1)} + ':' + std::to_string(place.line());
}

/// Rows whose columns line up once all are there.
class text_table {
public:
    using row = std::vector<std::string>;

    text_table() = default;
    text_table(std::initializer_list<const char*> heading) : heading_{heading.begin(), heading.end()} {
        widen(heading_);
    }

    void add(row r) {
        widen(r);
        rows_.push_back(std::move(r));
    }

    [[nodiscard]] std::string heading() const { return line_of(heading_); }
    [[nodiscard]] std::string line(std::size_t i) const { return line_of(rows_[i]); }

private:
    /// Code points, not bytes: what continues one is not counted.
    [[nodiscard]] static std::size_t width(std::string_view text) {
        const auto begins = [](char c) { return (static_cast<unsigned char>(c) & 0xc0U) != 0x80U; };
        return static_cast<std::size_t>(std::count_if(text.begin(), text.end(), begins));
    }

    void widen(const row& r) {
        widths_.resize(std::max(widths_.size(), r.size()));
        for (std::size_t i = 0; i < r.size(); ++i) { widths_[i] = std::max(widths_[i], width(r[i])); }
    }

    [[nodiscard]] std::string line_of(const row& r) const {
        std::string line;
        for (std::size_t i = 0; i < r.size(); ++i) {
            if (widths_[i] == 0) { continue; }
            line += r[i];
            line.append(widths_[i] - width(r[i]) + 2, ' ');
        }
        line.erase(line.find_last_not_of(' ') + 1);
        return line + '\n';
    }

    row heading_;
    std::vector<row> rows_;
    std::vector<std::size_t> widths_;
};

} // namespace dmasync::inline DMASYNC_ABI::detail
