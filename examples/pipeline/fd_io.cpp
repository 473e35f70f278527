// SPDX-License-Identifier: MIT
#include "fd_io.hpp"

#include "video_error.hpp"

#include <fcntl.h>
#include <poll.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <climits>
#include <csignal>
#include <system_error>

namespace pipeline {
namespace {

constexpr int milliseconds_between_looks = 100; // at the stop token

/// Returns once a transfer would not block; a stop request ends the wait.
void wait_until_ready(int fd, short events, const std::string& name, const std::stop_token& stop) {
    for (pollfd entry{fd, events, 0}; stop.stop_possible();) {
        throw_if_stopped(stop, name);
        if (::poll(&entry, 1, milliseconds_between_looks) > 0) { return; } // errors too: the transfer tells which
    }
}

/// How much may be written at once without blocking where poll(2) says that something may: PIPE_BUF is what it means.
std::size_t largest_write(int fd) noexcept {
    struct stat status {};
    return ::fstat(fd, &status) == 0 && S_ISREG(status.st_mode) ? SSIZE_MAX : PIPE_BUF;
}

} // namespace

std::size_t read_some(int fd, std::span<std::byte> into, const std::string& name, const std::stop_token& stop) {
    for (;;) {
        wait_until_ready(fd, POLLIN, name, stop);
        const ssize_t count = ::read(fd, into.data(), into.size());
        if (count >= 0) { return static_cast<std::size_t>(count); }
        if (errno != EINTR) { fail_errno("cannot read " + name); }
    }
}

std::size_t read_full(int fd, std::span<std::byte> into, const std::string& name, const std::stop_token& stop) {
    std::size_t filled = 0;
    while (filled < into.size()) {
        const std::size_t count = read_some(fd, into.subspan(filled), name, stop);
        if (count == 0) { break; }
        filled += count;
    }
    return filled;
}

void write_all(int fd, std::span<const std::byte> bytes, const std::string& name, const std::stop_token& stop) {
    while (!bytes.empty()) {
        wait_until_ready(fd, POLLOUT, name, stop);
        bytes = bytes.subspan(write_some(fd, bytes, name));
    }
}

bool is_ready(int fd, short events) noexcept {
    pollfd entry{fd, events, 0};
    return ::poll(&entry, 1, 0) > 0;
}

std::size_t write_some(int fd, std::span<const std::byte> bytes, const std::string& name) {
    const std::size_t most = std::min(bytes.size(), largest_write(fd));
    for (;;) {
        const ssize_t count = ::write(fd, bytes.data(), most);
        if (count >= 0) { return static_cast<std::size_t>(count); }
        if (errno != EINTR) { fail_errno("cannot write " + name); }
    }
}

void throw_if_stopped(const std::stop_token& stop, const std::string& name) {
    if (stop.stop_requested()) {
        throw std::system_error{std::make_error_code(std::errc::operation_canceled), "stopped at " + name};
    }
}

void make_write_signals_errors() noexcept {
    std::signal(SIGPIPE, SIG_IGN);
    std::signal(SIGXFSZ, SIG_IGN);
}

void occupy_closed_descriptors() noexcept {
    int fd = -1;
    do { fd = ::open("/dev/null", O_PATH); } while (fd >= 0 && fd <= STDERR_FILENO);
    if (fd >= 0) { ::close(fd); }
}

} // namespace pipeline
