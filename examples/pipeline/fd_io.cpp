// SPDX-License-Identifier: MIT
#include "fd_io.hpp"

#include "video_error.hpp"

#include <unistd.h>

#include <cerrno>
#include <csignal>

namespace pipeline {

std::size_t read_some(int fd, std::span<std::byte> into, const std::string& name) {
    for (;;) {
        const ssize_t count = ::read(fd, into.data(), into.size());
        if (count >= 0) { return static_cast<std::size_t>(count); }
        if (errno != EINTR) { fail_errno("cannot read " + name); }
    }
}

std::size_t read_full(int fd, std::span<std::byte> into, const std::string& name) {
    std::size_t filled = 0;
    while (filled < into.size()) {
        const std::size_t count = read_some(fd, into.subspan(filled), name);
        if (count == 0) { break; }
        filled += count;
    }
    return filled;
}

void write_all(int fd, std::span<const std::byte> bytes, const std::string& name) {
    while (!bytes.empty()) {
        const ssize_t count = ::write(fd, bytes.data(), bytes.size());
        if (count >= 0) {
            bytes = bytes.subspan(static_cast<std::size_t>(count));
        } else if (errno != EINTR) {
            fail_errno("cannot write " + name);
        }
    }
}

void ignore_broken_pipe_signal() noexcept { std::signal(SIGPIPE, SIG_IGN); }

} // namespace pipeline
