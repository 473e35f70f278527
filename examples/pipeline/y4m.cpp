// SPDX-License-Identifier: MIT
#include "y4m.hpp"

#include "fd_io.hpp"
#include "video_error.hpp"

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
    const std::size_t wanted = frame_bytes(format_);
    if (!read_frame_header()) { return false; }
    const std::size_t buffered = take_buffered(frame.first(wanted));
    const std::size_t filled = buffered + read_full(fd_, frame.first(wanted).subspan(buffered), name_, stop_);
    if (filled < wanted) {
        fail(video_errc::truncated_frame, this_frame() + " (" + std::to_string(wanted - filled) + " of " +
                                              std::to_string(wanted) + " bytes are missing)");
    }
    ++frames_;
    return true;
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

/// False at the end of the stream. Parameters of single frames change nothing for us and are skipped.
bool y4m_reader::read_frame_header() {
    std::string line;
    char byte = 0;
    while (read_byte(byte)) {
        const bool complete = byte == '\n';
        if (!complete) { line += byte; }
        const std::string_view magic = std::string_view{line}.substr(0, frame_magic.size());
        const bool separated = line.size() <= frame_magic.size() || line[frame_magic.size()] == ' ';
        const bool plausible = frame_magic.starts_with(magic) && separated && line.size() <= longest_header;
        if (!plausible || (complete && magic != frame_magic)) { fail(video_errc::bad_frame_header, this_frame()); }
        if (complete) { return true; }
    }
    if (!line.empty()) { fail(video_errc::truncated_frame, this_frame() + " (inside its header)"); }
    return false;
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

std::size_t y4m_reader::take_buffered(std::span<std::byte> into) noexcept {
    const std::size_t count = std::min(into.size(), end_ - begin_);
    std::copy_n(buffer_.begin() + static_cast<std::ptrdiff_t>(begin_), count, into.begin());
    begin_ += count;
    return count;
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

} // namespace pipeline
