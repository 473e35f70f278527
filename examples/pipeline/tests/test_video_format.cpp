// SPDX-License-Identifier: MIT
#include "video_format.hpp"

#include "support.hpp"

#include <doctest/doctest.h>

using namespace pipeline;

namespace {

video_format parse(std::string_view line) { return parse_stream_header(line, "clip"); }

std::error_code error_in(std::string_view line) {
    return test::error_of([&] { static_cast<void>(parse(line)); });
}

} // namespace

TEST_CASE("a header tells the shape of the frames") {
    const video_format format = parse("YUV4MPEG2 W320 H136 F24000:1001 It A10:11 C422 XYSCSS=422");
    CHECK(format.width == 320);
    CHECK(format.height == 136);
    CHECK(format.frame_rate == rational{24000, 1001});
    CHECK(format.pixel_aspect == rational{10, 11});
    CHECK(format.interlacing == 't');
    CHECK(format.colour == colour_space::yuv422);
    CHECK(format.extensions == " XYSCSS=422");
}

TEST_CASE("a header without a colour space means 4:2:0") {
    CHECK(parse("YUV4MPEG2 W2 H2").colour == colour_space::yuv420jpeg);
}

TEST_CASE("several blanks separate parameters like one") {
    CHECK(parse("YUV4MPEG2  W4   H2 ") == parse("YUV4MPEG2 W4 H2"));
}

TEST_CASE("a header is written as it was read") {
    const std::string line = "YUV4MPEG2 W320 H136 F24:1 Ip A1:1 C420mpeg2 XYSCSS=420MPEG2 XCOLORRANGE=LIMITED";
    CHECK(stream_header(parse(line)) == line);
}

TEST_CASE("every 8-bit colour space without alpha is known") {
    for (const std::string name : {"420jpeg", "420mpeg2", "420paldv", "420", "422", "444", "mono"}) {
        CHECK(stream_header(parse("YUV4MPEG2 W2 H2 C" + name)).ends_with(" C" + name));
    }
}

TEST_CASE("high bit depths, alpha and unknown colour spaces are refused") {
    for (const std::string name : {"420p10", "444p16", "mono16", "444alpha", "411", "rgb", "", "420JPEG"}) {
        CHECK(error_in("YUV4MPEG2 W2 H2 C" + name) == video_errc::unsupported_colour);
    }
}

TEST_CASE("chroma of odd sizes rounds up") {
    CHECK(frame_bytes(test::format_of(3, 5)) == 15 + 2 * (2 * 3));
    CHECK(frame_bytes(test::format_of(3, 5, colour_space::yuv422)) == 15 + 2 * (2 * 5));
    CHECK(frame_bytes(test::format_of(3, 5, colour_space::yuv444)) == 3 * 15);
    CHECK(frame_bytes(test::format_of(3, 5, colour_space::mono)) == 15);
    CHECK(frame_bytes(test::format_of(1, 1)) == 3);
}

TEST_CASE("8K frames are possible") { CHECK(frame_bytes(parse("YUV4MPEG2 W7680 H4320")) == 7680 * 4320 * 3 / 2); }

TEST_CASE("sizes of zero, below, above and beyond all numbers are refused") {
    for (const std::string size :
         {"W0 H2", "W2 H0", "W-2 H2", "W16385 H2", "W2 H99999999999999999999", "W2x H2", "W H2"}) {
        CHECK(error_in("YUV4MPEG2 " + size) == video_errc::bad_size);
    }
}

TEST_CASE("a header without a width or a height is refused") {
    CHECK(error_in("YUV4MPEG2 W2") == video_errc::bad_size);
    CHECK(error_in("YUV4MPEG2 H2") == video_errc::bad_size);
    CHECK(error_in("YUV4MPEG2") == video_errc::bad_size);
}

TEST_CASE("malformed parameters are refused") {
    for (const std::string parameter :
         {"F24", "F24:0", "F:", "A1:x", "Iz", "I", "Q1", "F2147483648:1", "A1:2147483648"}) {
        CHECK(error_in("YUV4MPEG2 W2 H2 " + parameter) == video_errc::bad_header);
    }
}

TEST_CASE("mixed interlacing is refused: no player takes it") {
    CHECK(error_in("YUV4MPEG2 W2 H2 Im") == video_errc::mixed_interlacing);
}

TEST_CASE("extensions that make a header too long for players are left out, except the full range") {
    const std::string shape = "YUV4MPEG2 W320 H136 F24:1 Ip A1:1 C420jpeg";
    const std::string note = " X" + std::string(60, 'x');
    CHECK(stream_header(parse(shape + note)) == shape);
    CHECK(stream_header(parse(shape + note + " XCOLORRANGE=FULL")) == shape + " XCOLORRANGE=FULL");
    CHECK(stream_header(parse(shape + " Xnote XCOLORRANGE=FULL")) == shape + " Xnote XCOLORRANGE=FULL");
}

TEST_CASE("what does not begin with the magic word is no stream") {
    for (const std::string line : {"", "YUV4MPEG", "YUV4MPEG22 W2 H2", "RIFF", "yuv4mpeg2 W2 H2"}) {
        CHECK(error_in(line) == video_errc::not_y4m);
    }
}

TEST_CASE("an error names the stream and the parameter at fault") {
    const std::string message = test::message_of([] { static_cast<void>(parse("YUV4MPEG2 W2 H2 C420p10")); });
    CHECK(message.find("clip, parameter C420p10") != std::string::npos);
    CHECK(message.find("unsupported colour space") != std::string::npos);
}

TEST_CASE("full range is what the header says") {
    CHECK(full_range(parse("YUV4MPEG2 W2 H2 XCOLORRANGE=FULL")));
    CHECK_FALSE(full_range(parse("YUV4MPEG2 W2 H2 XCOLORRANGE=LIMITED")));
    CHECK_FALSE(full_range(parse("YUV4MPEG2 W2 H2")));
}
