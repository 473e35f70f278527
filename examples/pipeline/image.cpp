// SPDX-License-Identifier: MIT
#include "image.hpp"

#include "frame_view.hpp"
#include "text.hpp"

#include <png.h>

#include <algorithm>
#include <stdexcept>

namespace pipeline {
namespace {

/// What differs between the two standards: the weights of red and blue in luma.
struct matrix {
    double red;
    double blue;
};

constexpr matrix bt601{.red = 0.299, .blue = 0.114};
constexpr matrix bt709{.red = 0.2126, .blue = 0.0722};
constexpr std::size_t most_lines_of_bt601 = 576;

std::uint8_t to_sample(double value) noexcept { return static_cast<std::uint8_t>(std::clamp(value, 0.0, 255.0) + 0.5); }

std::uint8_t mean_of_box(const plane_view<const std::uint8_t>& plane, std::size_t left, std::size_t top,
                         std::size_t right, std::size_t bottom) noexcept {
    std::uint64_t sum = 0;
    for (std::size_t y = top; y < bottom; ++y) {
        for (const std::uint8_t sample : plane.row(y).subspan(left, right - left)) { sum += sample; }
    }
    const std::uint64_t count = (right - left) * (bottom - top);
    return static_cast<std::uint8_t>((sum + count / 2) / count);
}

/// Each new sample is the mean of the box of old samples it covers, or its nearest old sample when there are fewer.
std::vector<std::uint8_t> scale(const plane_view<const std::uint8_t>& plane, const image_size& size) {
    std::vector<std::uint8_t> scaled;
    scaled.reserve(size.width * size.height);
    for (std::size_t y = 0; y < size.height; ++y) {
        const std::size_t top = y * plane.height / size.height;
        const std::size_t bottom = std::max(top + 1, (y + 1) * plane.height / size.height);
        for (std::size_t x = 0; x < size.width; ++x) {
            const std::size_t left = x * plane.width / size.width;
            const std::size_t right = std::max(left + 1, (x + 1) * plane.width / size.width);
            scaled.push_back(mean_of_box(plane, left, top, right, bottom));
        }
    }
    return scaled;
}

/// Mono frames get the chroma of grey.
std::vector<std::uint8_t> scale_chroma(const plane_view<const std::uint8_t>& plane, const image_size& size) {
    return plane.width == 0 ? std::vector<std::uint8_t>(size.width * size.height, 128) : scale(plane, size);
}

} // namespace

image::image(std::size_t width, std::size_t height, const rgb& background)
    : width_{width}, height_{height}, pixels_(width * height, background) {}

void image::set(std::size_t x, std::size_t y, const rgb& paint) noexcept {
    if (x < width_ && y < height_) { pixels_[y * width_ + x] = paint; }
}

void image::draw(std::size_t x, std::size_t y, const image& other) noexcept {
    for (std::size_t row = 0; row < other.height_; ++row) {
        for (std::size_t column = 0; column < other.width_; ++column) {
            set(x + column, y + row, other.at(column, row));
        }
    }
}

void image::draw_text(std::size_t x, std::size_t y, std::size_t size, std::string_view text, const rgb& paint) {
    const auto mix = [](std::uint8_t from, std::uint8_t to, unsigned coverage) {
        return static_cast<std::uint8_t>((from * (255U - coverage) + to * coverage + 127U) / 255U);
    };
    render_text(text, size).for_each_dot([&](std::size_t column, std::size_t row, unsigned coverage) {
        if (x + column >= width_ || y + row >= height_) { return; }
        rgb& pixel = pixels_[(y + row) * width_ + x + column];
        pixel = {mix(pixel.red, paint.red, coverage), mix(pixel.green, paint.green, coverage),
                 mix(pixel.blue, paint.blue, coverage)};
    });
}

std::vector<std::byte> image::to_png() const {
    static_assert(sizeof(rgb) == 3, "libpng reads pixels as packed bytes");
    png_image description{};
    description.version = PNG_IMAGE_VERSION;
    description.width = static_cast<png_uint_32>(width_);
    description.height = static_cast<png_uint_32>(height_);
    description.format = PNG_FORMAT_RGB;
    std::vector<std::byte> file(PNG_IMAGE_PNG_SIZE_MAX(description));
    png_alloc_size_t size = file.size();
    if (png_image_write_to_memory(&description, file.data(), &size, 0, pixels_.data(), 0, nullptr) == 0) {
        throw std::runtime_error{std::string{"cannot encode a PNG: "} + description.message};
    }
    file.resize(size);
    return file;
}

rgb to_rgb(const video_format& format, std::uint8_t luma, std::uint8_t cb, std::uint8_t cr) noexcept {
    const matrix& weights = format.height > most_lines_of_bt601 ? bt709 : bt601;
    const bool full = full_range(format);
    const double y = full ? luma : (luma - 16) * 255.0 / 219;
    const double chroma_scale = full ? 1.0 : 255.0 / 224;
    const double blue = y + 2 * (1 - weights.blue) * (cb - 128) * chroma_scale;
    const double red = y + 2 * (1 - weights.red) * (cr - 128) * chroma_scale;
    const double green = (y - weights.red * red - weights.blue * blue) / (1 - weights.red - weights.blue);
    return {to_sample(red), to_sample(green), to_sample(blue)};
}

image_size fit(const video_format& format, const image_size& box) noexcept {
    const bool square = format.pixel_aspect.numerator == 0;
    const double aspect =
        square ? 1.0 : static_cast<double>(format.pixel_aspect.numerator) / format.pixel_aspect.denominator;
    const double shape = static_cast<double>(format.width) * aspect / static_cast<double>(format.height);
    const double width = std::min(static_cast<double>(box.width), static_cast<double>(box.height) * shape);
    return {static_cast<std::size_t>(std::max(1.0, width)),
            static_cast<std::size_t>(std::clamp(width / shape, 1.0, static_cast<double>(box.height)))};
}

image make_thumbnail(const video_format& format, std::span<const std::byte> frame, const image_size& size) {
    const auto planes = view_frame(format, frame);
    const std::vector<std::uint8_t> luma = scale(planes.luma, size);
    const std::vector<std::uint8_t> cb = scale_chroma(planes.cb, size);
    const std::vector<std::uint8_t> cr = scale_chroma(planes.cr, size);
    image thumbnail{size.width, size.height, {}};
    for (std::size_t i = 0; i < luma.size(); ++i) {
        thumbnail.set(i % size.width, i / size.width, to_rgb(format, luma[i], cb[i], cr[i]));
    }
    return thumbnail;
}

} // namespace pipeline
