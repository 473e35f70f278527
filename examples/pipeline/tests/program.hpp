// SPDX-License-Identifier: MIT
#pragma once
/// \file program.hpp  Runs the program under test.

#include "support.hpp"

#include <fcntl.h>
#include <poll.h>
#include <spawn.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <chrono>
#include <csignal>
#include <cstddef>
#include <span>
#include <string>
#include <string_view>
#include <thread>
#include <utility>
#include <vector>

namespace test {

/// In place of a path: the descriptor is closed.
inline const std::string closed = "(closed)";

struct surroundings {
    std::string input = "/dev/null";
    std::string output = "/dev/null";
    std::string messages{}; // empty: captured
    std::vector<std::string> environment{};
};

struct outcome {
    int exit_code = -1; // -1 when a signal killed it
    std::string messages;
};

/// A named pipe, open at both ends.
class pipe_file {
public:
    explicit pipe_file(std::string path) : path_{std::move(path)} {
        if (::mkfifo(path_.c_str(), 0600) != 0) { pipeline::fail_errno(path_); }
        fd_.reset(::open(path_.c_str(), O_RDWR | O_CLOEXEC));
    }
    [[nodiscard]] const std::string& path() const noexcept { return path_; }

    void put(std::string_view content) const {
        pipeline::write_all(fd_.get(), std::as_bytes(std::span{content}), path_);
    }

    /// Takes `size` bytes out; fewer when they do not come within ten seconds. Returns how many came.
    [[nodiscard]] std::size_t take(std::size_t size) const {
        std::vector<std::byte> content(size);
        std::size_t taken = 0;
        for (pollfd entry{fd_.get(), POLLIN, 0}; taken<size&& ::poll(&entry, 1, 10'000)> 0;) {
            taken += pipeline::read_some(fd_.get(), std::span{content}.subspan(taken), path_);
        }
        return taken;
    }

private:
    std::string path_;
    dmasync::unique_fd fd_;
};

/// A running program; it is killed if it is not waited for.
class program {
public:
    explicit program(std::vector<std::string> arguments, surroundings around = {}) {
        if (around.messages.empty()) { around.messages = folder_ / "messages"; }
        arguments.insert(arguments.begin(), PIPELINE_PROGRAM);
        posix_spawn_file_actions_t files;
        ::posix_spawn_file_actions_init(&files);
        redirect(files, STDIN_FILENO, around.input, O_RDONLY);
        redirect(files, STDOUT_FILENO, around.output, O_WRONLY | O_CREAT);
        redirect(files, STDERR_FILENO, around.messages, O_WRONLY | O_CREAT);
        const int error = ::posix_spawn(&process_, PIPELINE_PROGRAM, &files, nullptr, pointers_to(arguments).data(),
                                        around.environment.empty() ? environ : pointers_to(around.environment).data());
        ::posix_spawn_file_actions_destroy(&files);
        if (error != 0) { throw std::system_error{error, std::generic_category(), PIPELINE_PROGRAM}; }
    }
    program(const program&) = delete;
    program& operator=(const program&) = delete;
    ~program() {
        if (process_ > 0) {
            send(SIGKILL);
            static_cast<void>(wait());
        }
    }

    void send(int signal) const { ::kill(process_, signal); }

    /// Sends it once the program has blocked it, which it does to take care of it.
    void interrupt(int signal) const {
        while (((blocked_signals() >> (signal - 1)) & 1) == 0) {
            std::this_thread::sleep_for(std::chrono::milliseconds{1});
        }
        send(signal);
    }

    outcome wait() {
        int status = 0;
        ::waitpid(std::exchange(process_, -1), &status, 0);
        return {WIFEXITED(status) ? WEXITSTATUS(status) : -1, read_file(folder_ / "messages")};
    }

private:
    static void redirect(posix_spawn_file_actions_t& files, int fd, const std::string& path, int flags) {
        if (path == closed) {
            ::posix_spawn_file_actions_addclose(&files, fd);
        } else {
            ::posix_spawn_file_actions_addopen(&files, fd, path.c_str(), flags, 0600);
        }
    }

    [[nodiscard]] unsigned long blocked_signals() const {
        const std::string status = read_file("/proc/" + std::to_string(process_) + "/status");
        const std::size_t at = status.find("SigBlk:");
        return at == status.npos ? 0 : std::stoul(status.substr(at + 8), nullptr, 16);
    }

    static std::vector<char*> pointers_to(std::vector<std::string>& words) {
        std::vector<char*> pointers;
        for (std::string& word : words) { pointers.push_back(word.data()); }
        pointers.push_back(nullptr);
        return pointers;
    }

    temporary_folder folder_;
    pid_t process_ = -1; // invariant: -1, or a child that has not been waited for
};

} // namespace test
