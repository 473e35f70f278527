// SPDX-License-Identifier: MIT
#pragma once
/// \file image.hpp  Small RGB pictures made from frames, and PNG files made from pictures.

#include "video_format.hpp"

#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace pipeline {

struct rgb {
    std::uint8_t red = 0;
    std::uint8_t green = 0;
    std::uint8_t blue = 0;
    friend bool operator==(const rgb&, const rgb&) = default;
};

/// Drawing on it is clipped to it.
class image {
public:
    image(std::size_t width, std::size_t height, const rgb& background);

    [[nodiscard]] std::size_t width() const noexcept { return width_; }
    [[nodiscard]] std::size_t height() const noexcept { return height_; }
    [[nodiscard]] const rgb& at(std::size_t x, std::size_t y) const { return pixels_[y * width_ + x]; }

    void set(std::size_t x, std::size_t y, const rgb& paint) noexcept;
    void draw(std::size_t x, std::size_t y, const image& other) noexcept;
    /// A line of text (text.hpp) of that size, its top left at (x, y).
    void draw_text(std::size_t x, std::size_t y, std::size_t size, std::string_view text, const rgb& paint);

    /// The picture as a PNG file. Throws std::runtime_error.
    [[nodiscard]] std::vector<std::byte> to_png() const;

private:
    std::size_t width_;
    std::size_t height_;
    std::vector<rgb> pixels_;
};

/// A Y'CbCr sample as the screen shows it: BT.601, or BT.709 for more than 576 lines, as players guess it.
[[nodiscard]] rgb to_rgb(const video_format& format, std::uint8_t luma, std::uint8_t cb, std::uint8_t cr) noexcept;

/// How large a frame appears in a box of that width and at most that height, with its pixel aspect corrected.
struct image_size {
    std::size_t width = 0;
    std::size_t height = 0;
};
[[nodiscard]] image_size fit(const video_format& format, const image_size& box) noexcept;

/// `frame` scaled to `size`.
[[nodiscard]] image make_thumbnail(const video_format& format, std::span<const std::byte> frame,
                                   const image_size& size);

} // namespace pipeline
