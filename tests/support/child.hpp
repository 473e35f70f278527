// SPDX-License-Identifier: MIT
#pragma once
/// \file child.hpp  Does something in a child process, for what ends a process or cannot be taken back.

#include <support/pipe.hpp>

#include <doctest/doctest.h>

#include <array>
#include <csignal>
#include <cstddef>
#include <string>

#include <sys/wait.h>
#include <unistd.h>

namespace support {

struct child_outcome {
    int exit_code = -1; ///< -1 when a signal ended it
    int signal = 0;
    std::string messages; ///< what it wrote to the standard error output
};

/// Runs `body()` in a child, which ends with what it returns as its exit code.
template <class Body>
child_outcome in_child(Body body) {
    pipe messages;
    const pid_t child = ::fork();
    if (child == 0) {
        std::signal(SIGABRT, SIG_DFL); // doctest would report it
        ::dup2(messages.write_end.get(), STDERR_FILENO);
        ::_exit(body());
    }
    int status = 0;
    REQUIRE(::waitpid(child, &status, 0) == child);
    child_outcome result;
    if (WIFEXITED(status)) { result.exit_code = WEXITSTATUS(status); }
    if (WIFSIGNALED(status)) { result.signal = WTERMSIG(status); }
    std::array<char, 512> text{};
    for (ssize_t n = 0; (n = ::read(messages.read_end.get(), text.data(), text.size())) > 0;) {
        result.messages.append(text.data(), static_cast<std::size_t>(n));
    }
    return result;
}

/// Expects `body` to end the process as misuse does, and to say `what`.
template <class Body>
void check_misuse(const std::string& what, Body body) {
    const child_outcome result = in_child([&body] {
        body();
        return 0;
    });
    CHECK(result.signal == SIGABRT);
    CHECK(result.messages == "dmasync: misuse: " + what + "\n");
}

} // namespace support
