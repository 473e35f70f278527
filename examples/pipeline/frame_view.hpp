// SPDX-License-Identifier: MIT
#pragma once
/// \file frame_view.hpp  The planes of a frame that lies somewhere in memory.

#include "video_format.hpp"

#include <cstddef>
#include <cstdint>
#include <span>
#include <stdexcept>
#include <type_traits>

namespace pipeline {

/// One plane. `Sample` is std::uint8_t, const for frames that are only read.
template <class Sample>
struct plane_view {
    Sample* samples = nullptr;
    std::size_t width = 0;
    std::size_t height = 0;

    [[nodiscard]] std::span<Sample> row(std::size_t y) const noexcept { return {samples + y * width, width}; }
    [[nodiscard]] std::span<Sample> all() const noexcept { return {samples, width * height}; }
};

/// The planes of one frame; cb and cr are empty without chroma.
template <class Sample>
struct frame_view {
    plane_view<Sample> luma;
    plane_view<Sample> cb;
    plane_view<Sample> cr;
    unsigned chroma_shift_x = 0;
    unsigned chroma_shift_y = 0;
};

/// `Byte` is std::byte or const std::byte. Throws std::invalid_argument if `frame` is too short for `format`.
template <class Byte>
[[nodiscard]] auto view_frame(const video_format& format, std::span<Byte> frame) {
    using sample = std::conditional_t<std::is_const_v<Byte>, const std::uint8_t, std::uint8_t>;
    if (frame.size() < frame_bytes(format)) { throw std::invalid_argument{"a frame buffer is too small"}; }
    auto* const luma = reinterpret_cast<sample*>(frame.data());
    const std::size_t width = chroma_width(format);
    const std::size_t height = chroma_height(format);
    auto* const cb = luma + format.width * format.height;
    return frame_view<sample>{.luma = {luma, format.width, format.height},
                              .cb = {cb, width, height},
                              .cr = {cb + width * height, width, height},
                              .chroma_shift_x = chroma_shift_x(format),
                              .chroma_shift_y = chroma_shift_y(format)};
}

} // namespace pipeline
