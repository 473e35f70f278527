// SPDX-License-Identifier: MIT
#include "y4m.hpp"

#include "fd_io.hpp"
#include "ready.hpp"
#include "video_error.hpp"

#include <poll.h>

#include <algorithm>
#include <string_view>
#include <utility>

namespace pipeline {
namespace {

constexpr std::size_t longest_header = 4096;
constexpr std::string_view stream_magic = "YUV4MPEG2";
constexpr std::string_view frame_magic = "FRAME";

std::span<const std::byte> bytes_of(std::string_view text) noexcept { return std::as_bytes(std::span{text}); }

} // namespace

y4m_reader::y4m_reader(int fd, std::string name, std::stop_token stop)
    : fd_{fd},
      name_{std::move(name)},
      stop_{std::move(stop)},
      format_{parse_stream_header(read_stream_header(), name_)} {}

bool y4m_reader::read_frame(std::span<std::byte> frame) {
    while (!take_buffered(frame)) {
        if (!read_more(frame)) { return false; }
    }
    return true;
}

dmasync::task<bool> y4m_reader::read_frame(dmasync::event_loop& loop, std::span<std::byte> frame) {
    while (!take_buffered(frame)) {
        co_await ready(loop, fd_, POLLIN, name_, stop_);
        if (!read_more(frame)) { co_return false; }
    }
    co_return true;
}

std::string y4m_reader::read_stream_header() {
    std::string line;
    char byte = 0;
    while (read_byte(byte)) {
        if (byte == '\n') { return line; }
        line += byte;
        // Any other kind of file need not have a newline soon: say at once that it is not one of ours.
        if (line.size() <= stream_magic.size() && !stream_magic.starts_with(line)) { fail(video_errc::not_y4m, name_); }
        if (line.size() > longest_header) { fail(video_errc::bad_header, name_); }
    }
    fail(line.empty() ? video_errc::not_y4m : video_errc::truncated_header, name_);
}

bool y4m_reader::read_byte(char& byte) {
    if (begin_ == end_) {
        begin_ = 0;
        end_ = read_some(fd_, buffer_, name_, stop_);
        if (end_ == 0) { return false; }
    }
    byte = static_cast<char>(buffer_[begin_++]);
    return true;
}

/// Returns: whether the frame is complete; the next call begins the next one.
bool y4m_reader::take_buffered(std::span<std::byte> frame) {
    if (!take_header()) { return false; }
    const std::size_t wanted = frame_bytes(format_);
    const std::size_t count = std::min(wanted - filled_, end_ - begin_);
    std::copy_n(buffer_.data() + begin_, count, frame.data() + filled_);
    begin_ += count;
    filled_ += count;
    if (filled_ < wanted) { return false; }
    frame_header_.clear();
    in_pixels_ = false;
    filled_ = 0;
    ++frames_;
    return true;
}

/// Returns: whether the frame's header is complete. Parameters of single frames change nothing for us and are skipped.
bool y4m_reader::take_header() {
    while (!in_pixels_ && begin_ < end_) {
        const char byte = static_cast<char>(buffer_[begin_++]);
        in_pixels_ = byte == '\n';
        if (!in_pixels_) { frame_header_ += byte; }
        const std::string_view line = frame_header_;
        const std::string_view magic = line.substr(0, frame_magic.size());
        const bool separated = line.size() <= frame_magic.size() || line[frame_magic.size()] == ' ';
        const bool plausible = frame_magic.starts_with(magic) && separated && line.size() <= longest_header;
        if (!plausible || (in_pixels_ && magic != frame_magic)) { fail(video_errc::bad_frame_header, this_frame()); }
    }
    return in_pixels_;
}

/// Reads once, when what is buffered is used up; false at the end of the stream.
bool y4m_reader::read_more(std::span<std::byte> frame) {
    if (in_pixels_) {
        const std::size_t count = read_some(fd_, frame.first(frame_bytes(format_)).subspan(filled_), name_, stop_);
        if (count == 0) { fail_truncated(); }
        filled_ += count;
        return true;
    }
    begin_ = 0;
    end_ = read_some(fd_, buffer_, name_, stop_);
    if (end_ == 0 && !frame_header_.empty()) { fail_truncated(); }
    return end_ != 0;
}

void y4m_reader::fail_truncated() const {
    if (!in_pixels_) { fail(video_errc::truncated_frame, this_frame() + " (inside its header)"); }
    const std::size_t wanted = frame_bytes(format_);
    fail(video_errc::truncated_frame, this_frame() + " (" + std::to_string(wanted - filled_) + " of " +
                                          std::to_string(wanted) + " bytes are missing)");
}

std::string y4m_reader::this_frame() const { return name_ + ", frame " + std::to_string(frames_); }

y4m_writer::y4m_writer(int fd, std::string name, const video_format& format, std::stop_token stop)
    : fd_{fd}, name_{std::move(name)}, stop_{std::move(stop)}, frame_bytes_{frame_bytes(format)} {
    write_all(fd_, bytes_of(stream_header(format) + '\n'), name_, stop_);
}

void y4m_writer::write_frame(std::span<const std::byte> frame) {
    write_all(fd_, bytes_of("FRAME\n"), name_, stop_);
    write_all(fd_, frame.first(frame_bytes_), name_, stop_);
}

dmasync::task<> y4m_writer::write_frame(dmasync::event_loop& loop, std::span<const std::byte> frame) {
    co_await write(loop, bytes_of("FRAME\n"));
    co_await write(loop, frame.first(frame_bytes_));
}

dmasync::task<> y4m_writer::write(dmasync::event_loop& loop, std::span<const std::byte> bytes) {
    while (!bytes.empty()) {
        co_await ready(loop, fd_, POLLOUT, name_, stop_);
        bytes = bytes.subspan(write_some(fd_, bytes, name_));
    }
}

} // namespace pipeline
