// SPDX-License-Identifier: MIT
#include "overlay.hpp"

#include "support.hpp"
#include "text.hpp"

#include <doctest/doctest.h>

#include <algorithm>

using namespace pipeline;

namespace {

constexpr std::size_t guard_bytes = 4096;
constexpr std::byte guard_value{0xa5};

/// A frame of mid grey with guard bytes before and after it, on which an overlay has been drawn.
struct guarded_frame {
    explicit guarded_frame(const video_format& format)
        : bytes(frame_bytes(format) + 2 * guard_bytes, guard_value), size{frame_bytes(format)} {
        std::ranges::fill(pixels(), std::byte{128});
        draw_overlay(format, pixels(), analyse(format, test::noise(size, 1)), 1234567);
    }

    std::span<std::byte> pixels() { return std::span{bytes}.subspan(guard_bytes, size); }

    [[nodiscard]] bool guards_intact() const {
        const auto intact = [](std::byte byte) { return byte == guard_value; };
        return std::all_of(bytes.begin(), bytes.begin() + guard_bytes, intact) &&
               std::all_of(bytes.end() - guard_bytes, bytes.end(), intact);
    }

    std::vector<std::byte> bytes;
    std::size_t size;
};

const std::vector<std::pair<std::size_t, std::size_t>> sizes{{1, 1},   {1, 50},  {50, 1},    {2, 2},     {7, 9},
                                                             {16, 16}, {17, 15}, {320, 136}, {641, 479}, {1920, 1080}};
constexpr std::array colours{colour_space::yuv420jpeg, colour_space::yuv422, colour_space::yuv444, colour_space::mono};

bool inside(const rectangle& area, std::size_t x, std::size_t y) {
    return x >= area.x && x < area.x + area.width && y >= area.y && y < area.y + area.height;
}

} // namespace

TEST_CASE("an overlay never writes outside the frame, whatever its size and colour space") {
    for (const auto& [width, height] : sizes) {
        for (const colour_space colour : colours) {
            CHECK_UNARY(guarded_frame{test::format_of(width, height, colour)}.guards_intact());
        }
    }
}

TEST_CASE("an overlay lies within the picture") {
    for (const auto& [width, height] : sizes) {
        const rectangle area = overlay_area(test::format_of(width, height));
        CHECK(area.x + area.width <= width);
        CHECK(area.y + area.height <= height);
    }
}

TEST_CASE("an overlay changes luma within its area only") {
    for (const auto& [width, height] : sizes) {
        const video_format format = test::format_of(width, height);
        guarded_frame frame{format};
        const rectangle area = overlay_area(format);
        std::size_t strays = 0;
        for (std::size_t i = 0; i < width * height; ++i) {
            const bool changed = frame.pixels()[i] != std::byte{128};
            if (changed && !inside(area, i % width, i / width)) { ++strays; }
        }
        CHECK(strays == 0);
    }
}

TEST_CASE("an overlay changes no chroma that luma outside its area shares") {
    for (const auto& [width, height] : sizes) {
        const rectangle area = overlay_area(test::format_of(width, height));
        CHECK(area.x % 2 == 0);
        CHECK(area.y % 2 == 0);
        CHECK_UNARY(area.width % 2 == 0 || area.x + area.width == width);
        CHECK_UNARY(area.height % 2 == 0 || area.y + area.height == height);
    }
}

TEST_CASE("an overlay grows with the picture up to 8K") {
    CHECK(overlay_area(test::format_of(16, 16)).width == 8);
    CHECK(overlay_area(test::format_of(7680, 4320)).width == 3072);
}

TEST_CASE("the same frame and analysis give the same overlay") {
    const video_format format = test::format_of(160, 90);
    CHECK(guarded_frame{format}.bytes == guarded_frame{format}.bytes);
}

TEST_CASE("the overlay shows the frame number") {
    const video_format format = test::format_of(320, 180);
    const std::vector<std::byte> source = test::noise(frame_bytes(format), 1);
    std::vector<std::byte> one = source;
    std::vector<std::byte> other = source;
    draw_overlay(format, one, analyse(format, source), 1);
    draw_overlay(format, other, analyse(format, source), 2);
    CHECK(one != other);
}

TEST_CASE("an overlay is drawn for any luma at all") {
    const video_format format = test::format_of(64, 64);
    for (const int luma : {0, 128, 255}) {
        std::vector<std::byte> frame(frame_bytes(format), static_cast<std::byte>(luma));
        const analysis result = analyse(format, frame);
        CHECK_NOTHROW(draw_overlay(format, frame, result, 0));
    }
}

TEST_CASE("filling clips a rectangle that begins or ends outside") {
    const video_format format = test::format_of(8, 8, colour_space::mono);
    std::vector<std::byte> frame(frame_bytes(format));
    const canvas picture{view_frame(format, std::span{frame})};
    picture.fill({6, 6, 100, 100}, {255});
    picture.fill({8, 0, 1, 1}, {255});
    picture.fill({100, 100, 5, 5}, {255});
    CHECK(std::ranges::count(frame, std::byte{255}) == 4);
}

TEST_CASE("every character the pipeline writes has a shape") {
    for (const char character : std::string_view{"ABCXYZabcxyz0123456789.:-/#+,"}) {
        CHECK_UNARY(std::ranges::any_of(render_text({&character, 1}, 16).coverage, [](int c) { return c > 128; }));
    }
    CHECK(std::ranges::count(render_text(" ", 16).coverage, 0) == std::ssize(render_text(" ", 16).coverage));
}

TEST_CASE("a line of text is as wide as it says, and as high as any other of its size") {
    CHECK(text_width("", 16) == 0);
    CHECK(text_width("abc", 32) > text_width("abc", 16));
    CHECK(render_text("Frame 12", 16).width == text_width("Frame 12", 16));
    CHECK(render_text("a", 16).height == render_text("Qg", 16).height);
}

TEST_CASE("no letter is cut off at the top or the bottom") {
    const text_mask mask = render_text("Frame 0123456789 gjpqy", 24);
    const auto row = [&](std::size_t y) { return std::span{mask.coverage}.subspan(y * mask.width, mask.width); };
    CHECK(std::ranges::max(row(0)) == 0);
    CHECK(std::ranges::max(row(mask.height - 1)) < 255);
}
