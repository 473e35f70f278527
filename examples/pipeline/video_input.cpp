// SPDX-License-Identifier: MIT
#include "video_input.hpp"

#include "printable.hpp"
#include "video_error.hpp"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <string_view>
#include <system_error>
#include <utility>

namespace pipeline {
namespace {

bool is_regular(int fd) noexcept {
    struct stat status {};
    return ::fstat(fd, &status) == 0 && S_ISREG(status.st_mode);
}

bool begins_with(std::string_view magic, int fd) noexcept {
    std::array<char, 16> head{};
    const ssize_t count = ::pread(fd, head.data(), head.size(), 0);
    return count > 0 && std::string_view{head.data(), static_cast<std::size_t>(count)}.starts_with(magic);
}

bool is_gzipped(int fd) noexcept { return is_regular(fd) && begins_with("\x1f\x8b", fd); }

bool needs_decoder(const std::string& path, int fd) {
    return is_regular(fd) && !path.ends_with(".y4m") && !begins_with("YUV4MPEG2", fd);
}

} // namespace

video_input::video_input(const std::string& path, std::stop_token stop, on_damage what)
    : name_{path == "-" ? "standard input" : path}, stop_{std::move(stop)} {
    file_.reset(path == "-" ? ::fcntl(STDIN_FILENO, F_DUPFD_CLOEXEC, 0) : ::open(path.c_str(), O_RDONLY | O_CLOEXEC));
    if (!file_) { fail_errno("cannot open " + name_); }
    if (path != "-" && is_gzipped(file_.get())) {
        fail(video_errc::not_y4m,
             name_ + " is compressed: gunzip -c " + shell_word(path) + " | dmasync_pipeline - ...");
    }
    if (path != "-" && needs_decoder(path, file_.get())) { decoder_ = std::make_unique<ffmpeg>(path, what); }
    open_reader(path == "-");
    if (!decoder_ && is_regular(file_.get())) { refuse_short_file(); }
}

std::optional<std::uint64_t> video_input::frames_expected() const {
    struct stat status {};
    if (decoder_ || ::fstat(file_.get(), &status) != 0 || !S_ISREG(status.st_mode)) { return std::nullopt; }
    const std::size_t frame = frame_bytes(format()) + std::string_view{"FRAME\n"}.size();
    return static_cast<std::uint64_t>(status.st_size) / frame;
}

bool video_input::read_frame(std::span<std::byte> frame) {
    bool more = false;
    try {
        more = reader_->read_frame(frame);
    } catch (const std::system_error& error) {
        explain(error);
        throw;
    }
    if (!more) { finish_at_end(); }
    return more;
}

dmasync::task<bool> video_input::read_frame(dmasync::event_loop& loop, std::span<std::byte> frame) {
    bool more = false;
    try {
        more = co_await reader_->read_frame(loop, frame);
    } catch (const std::system_error& error) {
        explain(error);
        throw;
    }
    if (!more) { finish_at_end(); }
    co_return more;
}

void video_input::open_reader(bool from_stdin) {
    try {
        reader_.emplace(fd(), name_, stop_);
    } catch (const std::system_error& error) {
        explain(error);
        if (!from_stdin || error.code() != video_errc::not_y4m) { throw; }
        fail(video_errc::not_y4m, name_ + " (other videos: ffmpeg -i FILE -f yuv4mpegpipe -pix_fmt yuv420p - | " +
                                      "dmasync_pipeline - ...)");
    }
}

void video_input::refuse_short_file() const {
    struct stat status {};
    const off_t position = ::lseek(file_.get(), 0, SEEK_CUR);
    if (position < 0 || ::fstat(file_.get(), &status) != 0) { return; }
    const std::size_t left =
        static_cast<std::size_t>(std::max<off_t>(0, status.st_size - position)) + reader_->bytes_ahead();
    if (left == 0) { fail(video_errc::no_frames, name_); }
    if (left < frame_bytes(format())) {
        fail(video_errc::truncated_frame, name_ + ", frame 0 (" + std::to_string(left) + " bytes of more than " +
                                              std::to_string(frame_bytes(format())) + ")");
    }
}

void video_input::explain(const std::system_error& error) {
    if (error.code() != std::errc::operation_canceled) { finish(); } // else ffmpeg is going to be ended: no wait for it
}

void video_input::finish() {
    if (decoder_) { decoder_->finish(); }
}

void video_input::finish_at_end() {
    finish();
    if (frames_read() == 0) { fail(video_errc::no_frames, name_); }
}

} // namespace pipeline
