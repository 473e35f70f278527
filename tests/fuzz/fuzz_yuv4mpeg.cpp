// SPDX-License-Identifier: MIT
// The video files of the example: any bytes as a YUV4MPEG2 stream, in pieces of any size. Input: the stream.
#include "y4m.hpp"

#include "input.hpp"
#include "printable.hpp"
#include "video_error.hpp"

#include <dmasync/manual_loop.hpp>
#include <dmasync/task.hpp>

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <span>
#include <string>
#include <string_view>
#include <system_error>
#include <utility>
#include <vector>

#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>

namespace {

/// What read(2) gives for the descriptor of the stream: pieces of pseudo-random sizes.
struct pieces {
    int fd = -1;
    std::span<const std::byte> left;
    std::size_t largest = 0;
    std::uint32_t state = 1;

    ssize_t next(void* to, std::size_t room) {
        state = state * 1664525U + 1013904223U;
        const std::size_t piece = largest == 1 ? 1 : 1 + (state >> 8U) % largest;
        if (largest > 1 && state >> 29U == 0) {
            errno = EINTR;
            return -1;
        }
        const std::size_t n = std::min({room, piece, left.size()});
        std::copy_n(left.data(), n, static_cast<std::byte*>(to));
        left = left.subspan(n);
        return static_cast<ssize_t>(n);
    }
};

pieces stream;

} // namespace

// What the reader calls instead of the C library.
extern "C" ssize_t read(int fd, void* to, std::size_t room) { // NOLINT: the C library's declaration has other names
    return fd == stream.fd && fd >= 0 ? stream.next(to, room) : ::syscall(SYS_read, fd, to, room);
}

namespace {

using namespace pipeline;

constexpr std::size_t largest_frame = largest_side * largest_side * 3;
constexpr std::size_t small_frame = 1U << 16U;

/// Room for the largest frame there can be, of which only what is written to takes memory.
std::span<std::byte> room_for_any_frame() {
    static const std::span<std::byte> room = [] {
        void* p =
            ::mmap(nullptr, largest_frame, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
        FUZZ_REQUIRE(p != MAP_FAILED);
        return std::span{static_cast<std::byte*>(p), largest_frame};
    }();
    return room;
}

/// What reading a stream has come to.
struct outcome {
    video_format format;
    std::vector<std::vector<std::byte>> frames; // the small ones
    std::uint64_t count = 0;
    std::size_t ahead = 0;
    std::error_code error;
    std::string message;
    bool operator==(const outcome&) const = default;
};

dmasync::task<bool> next_frame(y4m_reader& reader, dmasync::event_loop& loop, std::span<std::byte> frame) {
    co_return co_await reader.read_frame(loop, frame);
}

/// With a loop, frames are read by a coroutine on it.
void read_frames(outcome& o, y4m_reader& reader, dmasync::manual_loop* loop) {
    std::vector<std::byte> exact(std::min(frame_bytes(o.format), small_frame)); // whose bounds are watched
    const bool small = frame_bytes(o.format) <= small_frame;
    const std::span<std::byte> frame = small ? std::span{exact} : room_for_any_frame();
    while (loop == nullptr ? reader.read_frame(frame) : loop->run(next_frame(reader, *loop, frame))) {
        if (small) { o.frames.push_back(exact); }
        ++o.count;
        FUZZ_REQUIRE(reader.frames_read() == o.count);
    }
    FUZZ_REQUIRE(!reader.read_frame(frame)); // an end is an end
}

outcome read_all(std::span<const std::byte> bytes, std::size_t largest, dmasync::manual_loop* loop) {
    static const int fd = ::memfd_create("stream", MFD_CLOEXEC); // always readable for poll(2)
    stream = {.fd = fd, .left = bytes, .largest = largest};
    outcome o;
    try {
        y4m_reader reader{fd, "clip"};
        o.format = reader.format();
        read_frames(o, reader, loop);
        FUZZ_REQUIRE(reader.bytes_ahead() == 0 && stream.left.empty());
    } catch (const std::system_error& error) {
        o.error = error.code();
        o.message = error.what();
    }
    stream.fd = -1;
    return o;
}

/// Nothing but what a video can be refused for; and the text says it without doing anything to a terminal.
void check_error(const outcome& o) {
    if (!o.error) { return; }
    constexpr std::array documented{video_errc::not_y4m,           video_errc::bad_header,
                                    video_errc::bad_size,          video_errc::unsupported_colour,
                                    video_errc::mixed_interlacing, video_errc::truncated_header,
                                    video_errc::bad_frame_header,  video_errc::truncated_frame};
    FUZZ_REQUIRE(std::any_of(documented.begin(), documented.end(), [&](video_errc e) { return o.error == e; }));
    const std::string shown = printable(o.message);
    FUZZ_REQUIRE(std::none_of(shown.begin(), shown.end(), [](char c) { return c >= 0 && (c < 0x20 || c == 0x7f); }));
    FUZZ_REQUIRE(printable(shown) == shown);
    FUZZ_REQUIRE(shell_word(o.message).size() >= o.message.size());
}

bool is_in_range(const rational& r) { return (r.numerator == 0) == (r.denominator == 0) && r.numerator <= 0x7fff'ffff; }

/// A format that was accepted is one of those there are, and is read back as it is written.
void check_format(const video_format& f) {
    FUZZ_REQUIRE(f.width >= 1 && f.width <= largest_side && f.height >= 1 && f.height <= largest_side);
    FUZZ_REQUIRE(frame_bytes(f) >= f.width * f.height && frame_bytes(f) <= largest_frame);
    FUZZ_REQUIRE(is_in_range(f.frame_rate) && is_in_range(f.pixel_aspect));
    const std::string header = stream_header(f);
    FUZZ_REQUIRE(header.size() <= 95 || full_range(f)); // what players take
    video_format again = parse_stream_header(header, "header");
    FUZZ_REQUIRE(full_range(again) == full_range(f));
    if (again.extensions != f.extensions) {
        FUZZ_REQUIRE(header.size() + f.extensions.size() > 95);
        again.extensions = f.extensions;
    }
    FUZZ_REQUIRE(again == f);
}

/// What is written of a stream reads as the same frames.
void check_written(const outcome& o) {
    if (o.frames.empty()) { return; }
    const dmasync::unique_fd file{::memfd_create("copy", MFD_CLOEXEC)};
    y4m_writer writer{file.get(), "copy", o.format};
    for (const auto& frame : o.frames) { writer.write_frame(frame); }
    const auto size = static_cast<std::size_t>(::lseek(file.get(), 0, SEEK_END));
    std::vector<std::byte> copy(size);
    FUZZ_REQUIRE(::pread(file.get(), copy.data(), size, 0) == static_cast<ssize_t>(size));
    FUZZ_REQUIRE(read_all(copy, size, nullptr).frames == o.frames);
}

} // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
    const std::span<const std::byte> bytes = std::as_bytes(std::span{data, size});
    dmasync::manual_loop loop;
    const outcome whole = read_all(bytes, std::max<std::size_t>(size, 2), nullptr);
    FUZZ_REQUIRE(read_all(bytes, 1, nullptr) == whole);
    FUZZ_REQUIRE(read_all(bytes, 7, &loop) == whole);
    check_error(whole);
    if (whole.format.width != 0) {
        check_format(whole.format);
        check_written(whole);
    }
    return 0;
}
