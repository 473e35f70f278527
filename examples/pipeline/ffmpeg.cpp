// SPDX-License-Identifier: MIT
#include "ffmpeg.hpp"

#include "video_error.hpp"

#include <fcntl.h>
#include <spawn.h>
#include <sys/wait.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <csignal>
#include <utility>

namespace pipeline {
namespace {

/// What the child gets: the pipe as its standard output, no input, and SIGPIPE as it is by default.
class child_setup {
public:
    explicit child_setup(int output) {
        ::posix_spawn_file_actions_init(&files_);
        ::posix_spawn_file_actions_addopen(&files_, STDIN_FILENO, "/dev/null", O_RDONLY, 0);
        ::posix_spawn_file_actions_adddup2(&files_, output, STDOUT_FILENO);
        ::sigset_t signals;
        ::sigemptyset(&signals);
        ::sigaddset(&signals, SIGPIPE);
        ::posix_spawnattr_init(&attributes_);
        ::posix_spawnattr_setsigdefault(&attributes_, &signals);
        ::posix_spawnattr_setflags(&attributes_, POSIX_SPAWN_SETSIGDEF);
    }
    child_setup(const child_setup&) = delete;
    child_setup& operator=(const child_setup&) = delete;
    ~child_setup() {
        ::posix_spawnattr_destroy(&attributes_);
        ::posix_spawn_file_actions_destroy(&files_);
    }

    [[nodiscard]] const posix_spawn_file_actions_t* files() const noexcept { return &files_; }
    [[nodiscard]] const posix_spawnattr_t* attributes() const noexcept { return &attributes_; }

private:
    posix_spawn_file_actions_t files_;
    posix_spawnattr_t attributes_;
};

/// Returns 0 or an errno, like posix_spawnp.
int spawn(std::string file_url, int output, pid_t& process) {
    std::array<std::string, 11> words{"ffmpeg", "-nostdin",     "-loglevel", "error",   "-i", std::move(file_url),
                                      "-f",     "yuv4mpegpipe", "-pix_fmt",  "yuv420p", "-"};
    std::array<char*, words.size() + 1> arguments{};
    for (std::size_t i = 0; i < words.size(); ++i) { arguments[i] = words[i].data(); }
    const child_setup setup{output};
    return ::posix_spawnp(&process, "ffmpeg", setup.files(), setup.attributes(), arguments.data(), environ);
}

} // namespace

ffmpeg::ffmpeg(const std::string& file) : file_{file} {
    std::array<int, 2> ends{};
    if (::pipe2(ends.data(), O_CLOEXEC) != 0) { fail_errno("cannot make a pipe"); }
    stream_.reset(ends[0]);
    const dmasync::unique_fd output{ends[1]};
    // "file:" keeps ffmpeg from seeing an option or a network protocol in the name.
    const int error = spawn("file:" + file, output.get(), process_);
    if (error == ENOENT) {
        fail(video_errc::tool_missing, file + " is not a YUV4MPEG2 file; decoding it takes ffmpeg (package ffmpeg)");
    }
    if (error != 0) { throw std::system_error{error, std::generic_category(), "cannot start ffmpeg"}; }
}

ffmpeg::~ffmpeg() {
    if (process_ > 0) {
        ::kill(process_, SIGKILL);
        static_cast<void>(wait());
    }
}

void ffmpeg::finish() {
    if (process_ < 0) { return; }
    stream_.reset(); // an ffmpeg that still writes must not wait for us
    const int status = wait();
    if (!WIFEXITED(status) || WEXITSTATUS(status) != 0) {
        const std::string how = WIFEXITED(status) ? "exit status " + std::to_string(WEXITSTATUS(status))
                                                  : "signal " + std::to_string(WTERMSIG(status));
        fail(video_errc::tool_failed, "ffmpeg, decoding " + file_ + " (" + how + ")");
    }
}

int ffmpeg::wait() noexcept {
    int status = 0;
    while (::waitpid(process_, &status, 0) < 0 && errno == EINTR) {}
    process_ = -1;
    return status;
}

} // namespace pipeline
