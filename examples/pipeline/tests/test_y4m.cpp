// SPDX-License-Identifier: MIT
#include "y4m.hpp"

#include "support.hpp"

#include <doctest/doctest.h>

using namespace pipeline;

namespace {

const video_format odd = test::format_of(5, 3);

/// Reads all of `stream` and returns its frames; throws what the reader throws.
std::vector<std::string> frames_of(int fd) {
    y4m_reader reader{fd, "clip"};
    std::vector<std::byte> frame(frame_bytes(reader.format()));
    std::vector<std::string> frames;
    while (reader.read_frame(frame)) { frames.push_back(test::text_of(frame)); }
    return frames;
}

std::vector<std::string> frames_of(std::string_view stream) { return frames_of(test::file_with(stream).get()); }

std::error_code error_in(std::string_view stream) {
    return test::error_of([&] { frames_of(stream); });
}

std::string message_for(std::string_view stream) {
    return test::message_of([&] { frames_of(stream); });
}

} // namespace

TEST_CASE("frames are read in order until the end") {
    const auto frames = frames_of(test::stream_of(odd, 3));
    REQUIRE(frames.size() == 3);
    for (unsigned i = 0; i < 3; ++i) { CHECK(frames[i] == test::text_of(test::noise(frame_bytes(odd), i))); }
}

TEST_CASE("a stream may arrive in pieces of any size") {
    const std::string stream = test::stream_of(odd, 4);
    for (const std::size_t piece : {1UL, 7UL, 4096UL}) {
        const test::slow_pipe pipe{stream, piece};
        CHECK(frames_of(pipe.fd()) == frames_of(stream));
    }
}

TEST_CASE("frames larger than any buffer on the way are read whole") {
    const std::string stream = test::stream_of(test::format_of(641, 479), 2);
    const test::slow_pipe pipe{stream, 100'000};
    CHECK(frames_of(pipe.fd()) == frames_of(stream));
}

TEST_CASE("what is written is read back") {
    const test::temporary_folder folder;
    const std::string stream = test::stream_of(odd, 2);
    {
        const dmasync::unique_fd fd{::open((folder / "copy").c_str(), O_WRONLY | O_CREAT | O_CLOEXEC, 0600)};
        y4m_writer writer{fd.get(), "copy", odd};
        for (unsigned i = 0; i < 2; ++i) { writer.write_frame(test::noise(frame_bytes(odd), i)); }
    }
    CHECK(test::read_file(folder / "copy") == stream);
}

TEST_CASE("a frame may have parameters") {
    const std::string pixels(frame_bytes(odd), 'x');
    CHECK(frames_of(stream_header(odd) + "\nFRAME Ip Xnote\n" + pixels + "FRAME\n" + pixels).size() == 2);
}

TEST_CASE("a stream without frames just ends") { CHECK(frames_of(stream_header(odd) + "\n").empty()); }

TEST_CASE("an empty stream is no stream") { CHECK(error_in("") == video_errc::not_y4m); }

TEST_CASE("another kind of file is recognised by its first bytes") {
    CHECK(error_in("RIFF") == video_errc::not_y4m);
    CHECK(error_in(std::string(100'000, '\0')) == video_errc::not_y4m);
}

TEST_CASE("a header that ends too early is reported") {
    CHECK(error_in("YUV4") == video_errc::truncated_header);
    CHECK(error_in("YUV4MPEG2 W5 H3") == video_errc::truncated_header);
}

TEST_CASE("a header that never ends is refused") {
    CHECK(error_in("YUV4MPEG2 W5 H3 X" + std::string(100'000, 'x')) == video_errc::bad_header);
}

TEST_CASE("a truncated frame is reported with its number and what is missing") {
    std::string stream = test::stream_of(odd, 3);
    stream.resize(stream.size() - 4);
    CHECK(error_in(stream) == video_errc::truncated_frame);
    CHECK(message_for(stream).find("clip, frame 2 (4 of 27 bytes are missing)") != std::string::npos);
}

TEST_CASE("every possible truncation inside a frame is an error") {
    const std::string whole = test::stream_of(odd, 2);
    const std::size_t first_end = test::stream_of(odd, 1).size();
    for (std::size_t size = first_end + 1; size < whole.size(); ++size) {
        CHECK(error_in(std::string_view{whole}.substr(0, size)) == video_errc::truncated_frame);
    }
}

TEST_CASE("a frame that does not begin like one is refused") {
    for (const std::string bad : {"FRANE\n", "FRAMES\n", "\n", "FRA\n", "garbage"}) {
        CHECK(error_in(stream_header(odd) + "\n" + bad) == video_errc::bad_frame_header);
    }
    CHECK(error_in(stream_header(odd) + "\nFRAME " + std::string(100'000, 'x')) == video_errc::bad_frame_header);
}

TEST_CASE("reading from a descriptor that cannot be read says why") {
    CHECK(test::error_of([] { y4m_reader{-1, "clip"}; }) == std::errc::bad_file_descriptor);
}
