// SPDX-License-Identifier: MIT
#pragma once
/// \file ffmpeg.hpp  Any video file as a YUV4MPEG2 stream, decoded by the program ffmpeg.

#include <dmasync/unique_fd.hpp>

#include <string>

#include <sys/types.h>

namespace pipeline {

/// A running ffmpeg. Started without a shell: a file may have any name.
class ffmpeg {
public:
    /// Errors: tool_missing, or the system's, as std::system_error.
    explicit ffmpeg(const std::string& file);
    ffmpeg(const ffmpeg&) = delete;
    ffmpeg& operator=(const ffmpeg&) = delete;
    /// Ends ffmpeg if it still runs: nobody wants its output any more.
    ~ffmpeg();

    /// Where its YUV4MPEG2 stream comes out.
    [[nodiscard]] int fd() const noexcept { return stream_.get(); }

    /// Waits until ffmpeg has ended. Errors: tool_failed, as std::system_error. A second call does nothing.
    void finish();

private:
    [[nodiscard]] int wait() noexcept;

    std::string file_;
    dmasync::unique_fd stream_;
    pid_t process_ = -1; // invariant: -1, or a child that has not been waited for
};

} // namespace pipeline
