// SPDX-License-Identifier: MIT
#include "video_format.hpp"

#include "video_error.hpp"

#include <algorithm>
#include <array>
#include <charconv>
#include <limits>

namespace pipeline {
namespace {

constexpr std::string_view magic = "YUV4MPEG2";
constexpr std::string_view full_range_extension = " XCOLORRANGE=FULL";

// What players take; measured with ffmpeg 5.1.
constexpr std::size_t longest_header = 95; // without its newline
constexpr std::uint32_t largest_in_ratio = std::numeric_limits<std::int32_t>::max();

struct colour_name {
    std::string_view text;
    colour_space colour;
};

constexpr std::array<colour_name, 7> colour_names{{
    {"420jpeg", colour_space::yuv420jpeg},
    {"420mpeg2", colour_space::yuv420mpeg2},
    {"420paldv", colour_space::yuv420paldv},
    {"420", colour_space::yuv420},
    {"422", colour_space::yuv422},
    {"444", colour_space::yuv444},
    {"mono", colour_space::mono},
}};

template <class Number>
bool parse_number(std::string_view text, Number& number) noexcept {
    const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), number);
    return error == std::errc{} && end == text.data() + text.size();
}

std::size_t parse_side(std::string_view value, const std::string& where) {
    std::size_t side = 0;
    if (!parse_number(value, side) || side == 0 || side > largest_side) {
        fail(video_errc::bad_size, where + " (1 to " + std::to_string(largest_side) + " are possible)");
    }
    return side;
}

rational parse_ratio(std::string_view value, const std::string& where) {
    const std::size_t colon = value.find(':');
    rational ratio;
    const bool numbers = colon != value.npos && parse_number(value.substr(0, colon), ratio.numerator) &&
                         parse_number(value.substr(colon + 1), ratio.denominator);
    const bool in_range = std::max(ratio.numerator, ratio.denominator) <= largest_in_ratio;
    if (!numbers || !in_range || (ratio.numerator == 0) != (ratio.denominator == 0)) {
        fail(video_errc::bad_header, where);
    }
    return ratio;
}

char parse_interlacing(std::string_view value, const std::string& where) {
    if (value.size() != 1 || std::string_view{"ptbm?"}.find(value[0]) == std::string_view::npos) {
        fail(video_errc::bad_header, where);
    }
    if (value[0] == 'm') { fail(video_errc::mixed_interlacing, where); }
    return value[0];
}

colour_space parse_colour(std::string_view value, const std::string& where) {
    const auto known = std::ranges::find(colour_names, value, &colour_name::text);
    if (known == colour_names.end()) {
        fail(video_errc::unsupported_colour, where + " (known are 8-bit 420, 422, 444 and mono)");
    }
    return known->colour;
}

void apply(video_format& format, std::string_view parameter, const std::string& name) {
    const std::string where = name + ", parameter " + std::string{parameter};
    const std::string_view value = parameter.substr(1);
    switch (parameter[0]) {
    case 'W': format.width = parse_side(value, where); break;
    case 'H': format.height = parse_side(value, where); break;
    case 'F': format.frame_rate = parse_ratio(value, where); break;
    case 'A': format.pixel_aspect = parse_ratio(value, where); break;
    case 'I': format.interlacing = parse_interlacing(value, where); break;
    case 'C': format.colour = parse_colour(value, where); break;
    case 'X': format.extensions.append(" ").append(parameter); break;
    default: fail(video_errc::bad_header, where);
    }
}

std::string text_of(const rational& ratio) {
    return std::to_string(ratio.numerator) + ':' + std::to_string(ratio.denominator);
}

std::size_t rounded_up(std::size_t size, unsigned shift) noexcept { return (size + (1U << shift) - 1) >> shift; }

} // namespace

bool has_chroma(const video_format& format) noexcept { return format.colour != colour_space::mono; }

unsigned chroma_shift_x(const video_format& format) noexcept {
    return format.colour == colour_space::yuv444 || !has_chroma(format) ? 0 : 1;
}

unsigned chroma_shift_y(const video_format& format) noexcept {
    return format.colour == colour_space::yuv422 ? 0 : chroma_shift_x(format);
}

std::size_t chroma_width(const video_format& format) noexcept {
    return has_chroma(format) ? rounded_up(format.width, chroma_shift_x(format)) : 0;
}

std::size_t chroma_height(const video_format& format) noexcept {
    return has_chroma(format) ? rounded_up(format.height, chroma_shift_y(format)) : 0;
}

std::size_t frame_bytes(const video_format& format) noexcept {
    return format.width * format.height + 2 * chroma_width(format) * chroma_height(format);
}

bool full_range(const video_format& format) noexcept {
    return format.extensions.find(full_range_extension) != std::string::npos;
}

video_format parse_stream_header(std::string_view line, const std::string& name) {
    if (!line.starts_with(magic) || (line.size() > magic.size() && line[magic.size()] != ' ')) {
        fail(video_errc::not_y4m, name);
    }
    line.remove_prefix(magic.size());
    video_format format;
    while (!line.empty()) {
        line.remove_prefix(1);
        const std::string_view parameter = line.substr(0, line.find(' '));
        if (!parameter.empty()) { apply(format, parameter, name); }
        line.remove_prefix(parameter.size());
    }
    if (format.width == 0 || format.height == 0) { fail(video_errc::bad_size, name); }
    return format;
}

std::string stream_header(const video_format& format) {
    const auto colour = std::ranges::find(colour_names, format.colour, &colour_name::colour);
    const std::string header = std::string{magic} + " W" + std::to_string(format.width) + " H" +
                               std::to_string(format.height) + " F" + text_of(format.frame_rate) + " I" +
                               format.interlacing + " A" + text_of(format.pixel_aspect) + " C" +
                               std::string{colour->text};
    if (header.size() + format.extensions.size() <= longest_header) { return header + format.extensions; }
    return full_range(format) ? header + std::string{full_range_extension} : header;
}

} // namespace pipeline
