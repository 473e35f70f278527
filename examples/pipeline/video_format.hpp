// SPDX-License-Identifier: MIT
#pragma once
/// \file video_format.hpp  The shape of a video's frames, and the YUV4MPEG2 stream header that tells it.

#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>

namespace pipeline {

struct rational {
    std::uint32_t numerator = 0; // 0:0 means unknown
    std::uint32_t denominator = 0;
    friend bool operator==(const rational&, const rational&) = default;
};

/// Which samples a frame has, 8 bits each. The three kinds of 4:2:0 differ in where chroma is sited, not in layout.
enum class colour_space { yuv420jpeg, yuv420mpeg2, yuv420paldv, yuv420, yuv422, yuv444, mono };

struct video_format {
    std::size_t width = 0;
    std::size_t height = 0;
    rational frame_rate;
    rational pixel_aspect;
    char interlacing = '?';                         // 'p', 't', 'b' or '?', as in the header
    colour_space colour = colour_space::yuv420jpeg; // what a header without a colour space means
    std::string extensions;                         // the header's X parameters, each with a leading blank

    friend bool operator==(const video_format&, const video_format&) = default;
};

inline constexpr std::size_t largest_side = 16384;

[[nodiscard]] bool has_chroma(const video_format& format) noexcept;
/// By how much chroma is coarser than luma, as a shift.
[[nodiscard]] unsigned chroma_shift_x(const video_format& format) noexcept;
[[nodiscard]] unsigned chroma_shift_y(const video_format& format) noexcept;
/// Odd sizes round up; 0 without chroma.
[[nodiscard]] std::size_t chroma_width(const video_format& format) noexcept;
[[nodiscard]] std::size_t chroma_height(const video_format& format) noexcept;
/// Bytes of one frame: the planes Y, Cb, Cr one after the other without padding.
[[nodiscard]] std::size_t frame_bytes(const video_format& format) noexcept;
/// Whether samples use 0..255 and not the 16..235 of television.
[[nodiscard]] bool full_range(const video_format& format) noexcept;

/// Parses "YUV4MPEG2 W... H... ..." without its newline. `name` is what errors call the stream.
/// Errors: not_y4m, bad_header, bad_size, unsupported_colour, mixed_interlacing, as std::system_error.
[[nodiscard]] video_format parse_stream_header(std::string_view line, const std::string& name);

/// The header line of `format`, without its newline. Extensions that make it too long for players are left out; only the
/// full range stays, which says what the samples mean.
[[nodiscard]] std::string stream_header(const video_format& format);

} // namespace pipeline
