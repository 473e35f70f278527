// SPDX-License-Identifier: MIT
#pragma once
/// \file y4m.hpp  Reading and writing YUV4MPEG2 streams.

#include "video_format.hpp"

#include <dmasync/event_loop.hpp>
#include <dmasync/task.hpp>

#include <array>
#include <cstddef>
#include <cstdint>
#include <span>
#include <stop_token>
#include <string>

namespace pipeline {

/// Reads a stream from a descriptor it does not own: a file, a terminal or a pipe. A stop request ends it, with
/// std::errc::operation_canceled.
class y4m_reader {
public:
    /// Reads the stream header, blocking. `name` is what errors call the stream.
    /// Errors: those of parse_stream_header, truncated_header, or the system's, as std::system_error.
    y4m_reader(int fd, std::string name, std::stop_token stop = {});

    [[nodiscard]] const video_format& format() const noexcept { return format_; }
    [[nodiscard]] std::uint64_t frames_read() const noexcept { return frames_; }

    /// How many bytes after the stream header, or after the last frame, have been read already.
    [[nodiscard]] std::size_t bytes_ahead() const noexcept { return end_ - begin_; }

    /// Reads the next frame into the first frame_bytes(format()) bytes of `frame`; false at the end of the stream.
    /// Errors: bad_frame_header, truncated_frame, or the system's, as std::system_error.
    [[nodiscard]] bool read_frame(std::span<std::byte> frame);

    /// The same, leaving the loop to others while there is nothing to read. On the loop's thread.
    [[nodiscard]] dmasync::task<bool> read_frame(dmasync::event_loop& loop, std::span<std::byte> frame);

private:
    [[nodiscard]] std::string read_stream_header();
    [[nodiscard]] bool read_byte(char& byte);
    [[nodiscard]] bool take_buffered(std::span<std::byte> frame);
    [[nodiscard]] bool take_header();
    [[nodiscard]] bool read_more(std::span<std::byte> frame);
    [[noreturn]] void fail_truncated() const;
    [[nodiscard]] std::string this_frame() const;

    int fd_;
    std::string name_;
    std::stop_token stop_;
    std::array<std::byte, 4096> buffer_;
    std::size_t begin_ = 0; // invariant: [begin_, end_) of buffer_ is read from the descriptor, but not consumed
    std::size_t end_ = 0;
    std::string frame_header_; // of the frame that is being read, as far as it has come
    bool in_pixels_ = false;   // its header is complete
    std::size_t filled_ = 0;   // how many of its pixels' bytes have come
    std::uint64_t frames_ = 0;
    video_format format_; // last: its initialiser reads through the members above
};

/// Writes a stream to a descriptor it does not own. A stop request ends it, with std::errc::operation_canceled.
class y4m_writer {
public:
    /// Writes the stream header, blocking. `name` is what errors call the stream.
    y4m_writer(int fd, std::string name, const video_format& format, std::stop_token stop = {});

    /// Writes the first frame_bytes(format) bytes of `frame`.
    void write_frame(std::span<const std::byte> frame);

    /// The same, leaving the loop to others while there is no room. On the loop's thread.
    [[nodiscard]] dmasync::task<> write_frame(dmasync::event_loop& loop, std::span<const std::byte> frame);

private:
    [[nodiscard]] dmasync::task<> write(dmasync::event_loop& loop, std::span<const std::byte> bytes);

    int fd_;
    std::string name_;
    std::stop_token stop_;
    std::size_t frame_bytes_;
};

} // namespace pipeline
