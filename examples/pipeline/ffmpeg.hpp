// SPDX-License-Identifier: MIT
#pragma once
/// \file ffmpeg.hpp  Any video file as a YUV4MPEG2 stream, decoded by the program ffmpeg.

#include <dmasync/unique_fd.hpp>

#include <string>

#include <sys/types.h>

namespace pipeline {

/// What to make of a video that is damaged: ffmpeg as such leaves out what it cannot decode, and calls that a success.
enum class on_damage { fail, tolerate };

/// A running ffmpeg. Started without a shell: a file may have any name.
class ffmpeg {
public:
    /// Errors: tool_missing, or the system's, as std::system_error.
    explicit ffmpeg(const std::string& file, on_damage what = on_damage::fail);
    ffmpeg(const ffmpeg&) = delete;
    ffmpeg& operator=(const ffmpeg&) = delete;
    /// Ends ffmpeg if it still runs: its output is not wanted any more.
    ~ffmpeg();

    /// Where its YUV4MPEG2 stream comes out.
    [[nodiscard]] int fd() const noexcept { return stream_.get(); }

    /// Waits until ffmpeg has ended. Errors: damaged when it has had anything to complain of, unless that is tolerated;
    /// tool_failed; as std::system_error. A second call does nothing.
    void finish();

private:
    [[nodiscard]] int wait() noexcept;

    std::string file_;
    dmasync::unique_fd stream_;
    dmasync::unique_fd messages_; // what ffmpeg writes as errors; empty when damage is tolerated: they are shown then
    pid_t process_ = -1;          // invariant: -1, or a child that has not been waited for
};

} // namespace pipeline
