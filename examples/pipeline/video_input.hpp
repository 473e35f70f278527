// SPDX-License-Identifier: MIT
#pragma once
/// \file video_input.hpp  Where frames come from: a YUV4MPEG2 file, the standard input, or any video by way of ffmpeg.

#include "ffmpeg.hpp"
#include "y4m.hpp"

#include <dmasync/event_loop.hpp>
#include <dmasync/task.hpp>
#include <dmasync/unique_fd.hpp>

#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <stop_token>
#include <string>
#include <system_error>

namespace pipeline {

class video_input {
public:
    /// "-" is the standard input. A regular file that neither begins like YUV4MPEG2 nor is called *.y4m goes to ffmpeg.
    /// Errors: as y4m_reader and ffmpeg; no_frames and truncated_frame for a file that is too short for its first frame,
    /// whatever size it claims: no room should be made for that; as std::system_error.
    explicit video_input(const std::string& path, std::stop_token stop = {}, on_damage what = on_damage::fail);

    [[nodiscard]] const video_format& format() const noexcept { return reader_->format(); }
    [[nodiscard]] std::uint64_t frames_read() const noexcept { return reader_->frames_read(); }

    /// How many frames a file has by its size, where that can be told.
    [[nodiscard]] std::optional<std::uint64_t> frames_expected() const;

    /// Reads the next frame; false at the end.
    /// Errors: as y4m_reader::read_frame, tool_failed, damaged, and no_frames when the first frame is missing.
    [[nodiscard]] bool read_frame(std::span<std::byte> frame);

    /// The same, leaving the loop to others while there is nothing to read. On the loop's thread.
    [[nodiscard]] dmasync::task<bool> read_frame(dmasync::event_loop& loop, std::span<std::byte> frame);

private:
    [[nodiscard]] int fd() const noexcept { return decoder_ ? decoder_->fd() : file_.get(); }
    void open_reader(bool from_stdin);
    void refuse_short_file() const;
    /// Throws when ffmpeg has failed: that is the cause to report then.
    void explain(const std::system_error& error);
    void finish();
    void finish_at_end();

    std::string name_;
    std::stop_token stop_;
    dmasync::unique_fd file_;
    std::unique_ptr<ffmpeg> decoder_;  // empty unless ffmpeg is needed
    std::optional<y4m_reader> reader_; // invariant: has a value once constructed
};

} // namespace pipeline
