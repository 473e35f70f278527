// SPDX-License-Identifier: MIT
#include "ffmpeg.hpp"

#include "video_error.hpp"

#include <fcntl.h>
#include <spawn.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <csignal>
#include <string_view>
#include <utility>
#include <vector>

namespace pipeline {
namespace {

/// What the child gets: the pipe as its standard output, a file for what it has to say, no input, and the signals that
/// we ignore as they are by default.
class child_setup {
public:
    child_setup(int output, int messages) {
        ::posix_spawn_file_actions_init(&files_);
        ::posix_spawn_file_actions_addopen(&files_, STDIN_FILENO, "/dev/null", O_RDONLY, 0);
        ::posix_spawn_file_actions_adddup2(&files_, output, STDOUT_FILENO);
        ::posix_spawn_file_actions_adddup2(&files_, messages, STDERR_FILENO);
        ::sigset_t signals;
        ::sigemptyset(&signals);
        ::sigaddset(&signals, SIGPIPE);
        ::sigaddset(&signals, SIGXFSZ);
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

std::vector<std::string> command_line(const std::string& file, on_damage what) {
    std::vector<std::string> words{"ffmpeg", "-nostdin", "-loglevel", "error"};
    if (what == on_damage::fail) { words.insert(words.end(), {"-xerror", "-err_detect", "explode"}); }
    // "file:" keeps ffmpeg from seeing an option or a network protocol in the name.
    words.insert(words.end(), {"-i", "file:" + file, "-f", "yuv4mpegpipe", "-pix_fmt", "yuv420p", "-"});
    return words;
}

/// Returns 0 or an errno, like posix_spawnp.
int spawn(std::vector<std::string> words, const child_setup& setup, pid_t& process) {
    std::vector<char*> arguments;
    for (std::string& word : words) { arguments.push_back(word.data()); }
    arguments.push_back(nullptr);
    return ::posix_spawnp(&process, "ffmpeg", setup.files(), setup.attributes(), arguments.data(), environ);
}

/// The beginning of what was written to `fd`, on one line.
std::string messages_in(int fd) {
    std::array<char, 400> text{};
    const ssize_t count = ::pread(fd, text.data(), text.size(), 0);
    std::string line{text.data(), static_cast<std::size_t>(std::max<ssize_t>(count, 0))};
    while (line.ends_with('\n')) { line.pop_back(); }
    for (std::size_t at = 0; (at = line.find('\n', at)) != line.npos;) { line.replace(at, 1, "; "); }
    return line;
}

std::string describe(int status) {
    return WIFEXITED(status) ? "exit status " + std::to_string(WEXITSTATUS(status))
                             : "signal " + std::to_string(WTERMSIG(status));
}

} // namespace

ffmpeg::ffmpeg(const std::string& file, on_damage what) : file_{file} {
    std::array<int, 2> ends{};
    if (::pipe2(ends.data(), O_CLOEXEC) != 0) { fail_errno("cannot make a pipe"); }
    stream_.reset(ends[0]);
    const dmasync::unique_fd output{ends[1]};
    if (what == on_damage::fail) {
        messages_.reset(::memfd_create("ffmpeg's messages", MFD_CLOEXEC));
        if (!messages_) { fail_errno("cannot make a file of memory"); }
    }
    const child_setup setup{output.get(), messages_ ? messages_.get() : STDERR_FILENO};
    const int error = spawn(command_line(file, what), setup, process_);
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
    const bool succeeded = WIFEXITED(status) && WEXITSTATUS(status) == 0;
    const std::string messages = messages_ ? messages_in(messages_.get()) : std::string{};
    if (succeeded && messages.empty()) { return; }
    const std::string who = "ffmpeg, decoding " + file_ + " (" + describe(status) + ")";
    if (messages.empty()) { fail(video_errc::tool_failed, who); }
    fail(video_errc::damaged, who + ": " + messages);
}

int ffmpeg::wait() noexcept {
    int status = 0;
    while (::waitpid(process_, &status, 0) < 0 && errno == EINTR) {}
    process_ = -1;
    return status;
}

} // namespace pipeline
