// SPDX-License-Identifier: MIT
#pragma once
/// \file running_program.hpp  Another program, which runs beside the test.

#include <doctest/doctest.h>

#include <array>
#include <csignal>
#include <cstddef>
#include <filesystem>
#include <iterator>
#include <string>
#include <utility>
#include <vector>

#include <dmasync/unique_fd.hpp>
#include <fcntl.h>
#include <spawn.h>
#include <sys/wait.h>
#include <unistd.h>

namespace support {

struct program_outcome {
    int exit_code = -1; ///< -1 when a signal ended it
    std::string output; ///< what it wrote to the standard output and error
};

/// Is killed if it is not waited for.
class running_program {
public:
    running_program(std::string path, std::vector<std::string> arguments) {
        arguments.insert(arguments.begin(), std::move(path));
        std::array<int, 2> ends{};
        REQUIRE(::pipe2(ends.data(), O_CLOEXEC) == 0);
        output_.reset(ends[0]);
        const dmasync::unique_fd input{ends[1]};
        posix_spawn_file_actions_t files;
        ::posix_spawn_file_actions_init(&files);
        ::posix_spawn_file_actions_adddup2(&files, input.get(), STDOUT_FILENO);
        ::posix_spawn_file_actions_adddup2(&files, input.get(), STDERR_FILENO);
        const int error = ::posix_spawn(&process_, arguments.front().c_str(), &files, nullptr,
                                        pointers_to(arguments).data(), environ);
        ::posix_spawn_file_actions_destroy(&files);
        REQUIRE(error == 0);
    }
    running_program(const running_program&) = delete;
    running_program& operator=(const running_program&) = delete;
    ~running_program() {
        if (process_ > 0) {
            send(SIGKILL);
            ::waitpid(process_, nullptr, 0);
        }
    }

    void send(int signal) const { ::kill(process_, signal); }

    /// Whether it has not ended yet.
    [[nodiscard]] bool runs() const {
        siginfo_t info{};
        return ::waitid(P_PID, static_cast<id_t>(process_), &info, WEXITED | WNOHANG | WNOWAIT) == 0 &&
               info.si_pid == 0;
    }

    [[nodiscard]] std::size_t open_descriptors() const {
        const std::filesystem::directory_iterator all{"/proc/" + std::to_string(process_) + "/fd"};
        return static_cast<std::size_t>(std::distance(begin(all), end(all)));
    }

    /// Waits for its end; what it writes must fit into a pipe.
    program_outcome wait() {
        int status = 0;
        REQUIRE(::waitpid(std::exchange(process_, -1), &status, 0) > 0);
        program_outcome result;
        if (WIFEXITED(status)) { result.exit_code = WEXITSTATUS(status); }
        std::array<char, 512> text{};
        for (ssize_t n = 0; (n = ::read(output_.get(), text.data(), text.size())) > 0;) {
            result.output.append(text.data(), static_cast<std::size_t>(n));
        }
        return result;
    }

private:
    static std::vector<char*> pointers_to(std::vector<std::string>& words) {
        std::vector<char*> pointers;
        pointers.reserve(words.size() + 1);
        for (std::string& word : words) { pointers.push_back(word.data()); }
        pointers.push_back(nullptr);
        return pointers;
    }

    dmasync::unique_fd output_;
    pid_t process_ = -1; // invariant: -1, or a child that has not been waited for
};

} // namespace support
