// SPDX-License-Identifier: MIT
#include "contact_sheet.hpp"

#include "support.hpp"
#include "text.hpp"

#include <doctest/doctest.h>

#include <png.h>

#include <algorithm>

using namespace pipeline;

namespace {

struct decoded_png {
    std::size_t width;
    std::size_t height;
    std::vector<std::uint8_t> pixels;
};

decoded_png decode(const std::string& file) {
    png_image description{};
    description.version = PNG_IMAGE_VERSION;
    REQUIRE(png_image_begin_read_from_memory(&description, file.data(), file.size()) != 0);
    description.format = PNG_FORMAT_RGB;
    std::vector<std::uint8_t> pixels(PNG_IMAGE_SIZE(description));
    REQUIRE(png_image_finish_read(&description, nullptr, pixels.data(), 0, nullptr) != 0);
    return {description.width, description.height, std::move(pixels)};
}

contact_sheet sheet_of(const video_format& format, std::uint64_t frames) {
    contact_sheet sheet{format};
    const std::vector<std::byte> frame(frame_bytes(format), std::byte{128});
    for (std::uint64_t i = 0; i < frames; ++i) { sheet.add(i, frame, frame); }
    return sheet;
}

} // namespace

TEST_CASE("a contact sheet is a valid PNG with the picture in it") {
    const contact_sheet sheet = sheet_of(test::format_of(64, 48), 5);
    const decoded_png png = decode(test::text_of(sheet.draw().to_png()));
    const image drawn = sheet.draw();
    CHECK(png.width == drawn.width());
    CHECK(png.height == drawn.height());
    const rgb corner = drawn.at(drawn.width() - 1, drawn.height() - 1);
    CHECK(rgb{png.pixels[png.pixels.size() - 3], png.pixels[png.pixels.size() - 2], png.pixels.back()} == corner);
}

TEST_CASE("a contact sheet has two pairs in a row and at most six rows") {
    const video_format format = test::format_of(32, 32);
    const std::size_t one_row = sheet_of(format, 1).draw().height();
    CHECK(sheet_of(format, 2).draw().height() == one_row);
    const std::size_t row = sheet_of(format, 3).draw().height() - one_row;
    CHECK(sheet_of(format, 12).draw().height() == one_row + 5 * row);
    CHECK(sheet_of(format, 500).draw().height() == one_row + 5 * row);
}

TEST_CASE("a contact sheet of narrow frames has room for its texts") {
    video_format format = test::format_of(8, 360);
    format.frame_rate = {24, 1};
    const std::size_t label = text_width("0:00.000  source", 15);
    const std::size_t result = text_width("result", 15);
    CHECK(sheet_of(format, 1).draw().width() >= 2 * (label + result));
    CHECK(sheet_of(test::format_of(1, 16384), 1).draw().width() >= text_width("dmasync pipeline", 26));
}

TEST_CASE("a contact sheet of no frames is still a picture") {
    CHECK(sheet_of(test::format_of(32, 32), 0).draw().width() > 0);
}

TEST_CASE("a contact sheet wants fewer frames the longer the video gets") {
    const contact_sheet sheet = sheet_of(test::format_of(2, 2), 1000);
    std::uint64_t wanted = 0;
    for (std::uint64_t i = 0; i < 1000; ++i) { wanted += sheet.wants(i) ? 1 : 0; }
    CHECK(wanted >= 12);
    CHECK(wanted <= 48);
}

TEST_CASE("black, white and grey of television look like that") {
    const video_format format = test::format_of(2, 2);
    CHECK(to_rgb(format, 16, 128, 128) == rgb{0, 0, 0});
    CHECK(to_rgb(format, 235, 128, 128) == rgb{255, 255, 255});
    CHECK(to_rgb(format, 0, 128, 128) == rgb{0, 0, 0});
    CHECK(to_rgb(format, 255, 128, 128) == rgb{255, 255, 255});
}

TEST_CASE("full range samples are shown as they are") {
    video_format format = test::format_of(2, 2);
    format.extensions = " XCOLORRANGE=FULL";
    CHECK(to_rgb(format, 77, 128, 128) == rgb{77, 77, 77});
}

TEST_CASE("red is red in both standards") {
    CHECK(to_rgb(test::format_of(720, 576), 81, 90, 240) == rgb{254, 0, 0});
    CHECK(to_rgb(test::format_of(1280, 720), 63, 102, 240) == rgb{255, 1, 0});
}

TEST_CASE("pixels that are not square are corrected") {
    video_format format = test::format_of(720, 576);
    format.pixel_aspect = {16, 15};
    const image_size size = fit(format, {400, 400});
    CHECK(size.width == 400);
    CHECK(size.height == 300);
}

TEST_CASE("extreme shapes still fit the box") {
    for (const auto& [width, height] : {std::pair{16384, 1}, std::pair{1, 16384}}) {
        const image_size size =
            fit(test::format_of(static_cast<std::size_t>(width), static_cast<std::size_t>(height)), {360, 360});
        CHECK(std::max(size.width, size.height) == 360);
        CHECK(std::min(size.width, size.height) == 1);
    }
}

TEST_CASE("a thumbnail averages what it leaves out") {
    const video_format format = test::format_of(2, 2, colour_space::mono);
    const std::vector<std::byte> frame{std::byte{16}, std::byte{235}, std::byte{235}, std::byte{16}};
    const rgb pixel = make_thumbnail(format, frame, {1, 1}).at(0, 0);
    CHECK(pixel == to_rgb(format, 126, 128, 128));
}

TEST_CASE("drawing on an image is clipped to it") {
    image picture{4, 4, {}};
    picture.draw(3, 3, image{10, 10, {255, 255, 255}});
    picture.draw_text(2, 2, 16, "A", {255, 255, 255});
    picture.draw_text(100, 0, 16, "A", {255, 255, 255});
    CHECK(picture.at(3, 3) == rgb{255, 255, 255});
    CHECK(picture.at(2, 3) == rgb{});
}
