// SPDX-License-Identifier: MIT
#pragma once
/// \file standard_error.hpp  Lines for people to read, written so that nothing else comes to harm.

#include <dmasync/version.hpp>

#include <array>
#include <cerrno>
#include <climits>
#include <csignal>
#include <cstddef>
#include <cstdio>
#include <string_view>

#include <poll.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/uio.h>
#include <time.h>
#include <unistd.h>

namespace dmasync::inline DMASYNC_ABI::detail {

/// Keeps the signals away by which the kernel answers a write: of a pipe without a reader, of a file over its limit, of a
/// terminal that is another process group's.
class without_write_signals {
public:
    without_write_signals() noexcept {
        for (const int s : {SIGPIPE, SIGXFSZ, SIGTTOU}) { ::sigaddset(&kept_away_, s); }
        ::sigpending(&pending_before_);
        ::pthread_sigmask(SIG_BLOCK, &kept_away_, &mask_before_);
    }
    without_write_signals(const without_write_signals&) = delete;
    without_write_signals& operator=(const without_write_signals&) = delete;
    ~without_write_signals() {
        sigset_t ours{}; // what was pending before is not
        for (const int s : {SIGPIPE, SIGXFSZ, SIGTTOU}) {
            if (::sigismember(&pending_before_, s) == 0) { ::sigaddset(&ours, s); }
        }
        const timespec now{};
        while (::sigtimedwait(&ours, nullptr, &now) >= 0 || errno == EINTR) {}
        ::pthread_sigmask(SIG_SETMASK, &mask_before_, nullptr);
    }

private:
    sigset_t kept_away_{};
    sigset_t pending_before_{};
    sigset_t mask_before_{};
};

/// Whether the descriptor is a file of memory: text in there would be a part of a picture.
[[nodiscard]] inline bool is_nameless_memory(int fd) noexcept {
    std::array<char, 32> path{};
    std::array<char, 16> target{};
    std::snprintf(path.data(), path.size(), "/proc/self/fd/%d", fd);
    const ssize_t length = ::readlink(path.data(), target.data(), target.size());
    return length > 0 && std::string_view{target.data(), static_cast<std::size_t>(length)}.starts_with("/memfd:");
}

/// Writes to what is made for text, a pipe, a socket, a terminal or another device, or a file, as much as it takes now.
inline void write_without_waiting(int fd, std::string_view text) noexcept {
    struct stat info {};
    if (::fstat(fd, &info) != 0) { return; }
    ssize_t written = -1;
    switch (info.st_mode & S_IFMT) {
    case S_IFREG:
        if (!is_nameless_memory(fd)) { written = ::write(fd, text.data(), text.size()); }
        break;
    case S_IFSOCK: written = ::send(fd, text.data(), text.size(), MSG_DONTWAIT | MSG_NOSIGNAL); break;
    case S_IFIFO:
    case S_IFCHR: {
        const iovec part{const_cast<char*>(text.data()), text.size()};
        written = ::pwritev2(fd, &part, 1, -1, RWF_NOWAIT);
        const bool cannot = written < 0 && (errno == EOPNOTSUPP || errno == ENOSYS || errno == EINVAL);
        if (pollfd room{fd, POLLOUT, 0}; cannot && ::poll(&room, 1, 0) > 0 && (room.revents & POLLOUT) != 0) {
            written = ::write(fd, text.data(), text.size());
        }
        break;
    }
    default: break;
    }
    static_cast<void>(written); // a line that finds no room is lost
}

/// Writes "dmasync: " and both texts as a line to the standard error output, cut to PIPE_BUF bytes. Never blocks, raises no
/// signal, keeps errno. What does not take it now does not get it; a file that is memory (memfd) gets nothing.
///
/// Before Linux 6.4 it can wait after all, where another process fills a pipe in the moment in which this one has found room.
/// Threads: any; the line is not mixed with others.
inline void print_line(std::string_view text, std::string_view rest = {}) noexcept {
    const int before = errno;
    std::array<char, PIPE_BUF> line; // NOLINT(cppcoreguidelines-pro-type-member-init): filled as far as it is used
    std::size_t size = 0;
    for (const std::string_view part : {std::string_view{"dmasync: "}, text, rest}) {
        size += part.copy(line.data() + size, line.size() - 1 - size);
    }
    line[size++] = '\n';
    {
        const without_write_signals quiet;
        write_without_waiting(STDERR_FILENO, {line.data(), size});
    }
    errno = before;
}

} // namespace dmasync::inline DMASYNC_ABI::detail
