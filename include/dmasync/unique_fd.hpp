// SPDX-License-Identifier: MIT
#pragma once
/// \file unique_fd.hpp  The one owner of a file descriptor.

#include <dmasync/version.hpp>

#include <fcntl.h>
#include <unistd.h>

#include <utility>

namespace dmasync::inline DMASYNC_ABI {

/// Owns one file descriptor and closes it. Move-only; empty after a move.
///
/// Threads: one at a time, like a std::unique_ptr.
class unique_fd {
public:
    unique_fd() noexcept = default;
    explicit unique_fd(int fd) noexcept : fd_{fd} {}
    unique_fd(unique_fd&& other) noexcept : fd_{other.release()} {}
    unique_fd& operator=(unique_fd&& other) noexcept {
        reset(other.release());
        return *this;
    }
    ~unique_fd() { reset(); }

    /// The descriptor, still owned; -1 when empty.
    [[nodiscard]] int get() const noexcept { return fd_; }

    [[nodiscard]] explicit operator bool() const noexcept { return fd_ >= 0; }

    /// Gives the descriptor up without closing it.
    [[nodiscard]] int release() noexcept { return std::exchange(fd_, -1); }

    /// Closes what is owned and owns `fd` instead.
    /// An error of close(2) is not reported: Linux has freed the number by then, and trying again could hit another file.
    void reset(int fd = -1) noexcept {
        if (const int old = std::exchange(fd_, fd); old >= 0) { ::close(old); }
    }

private:
    int fd_ = -1; // invariant: -1, or open and owned by this alone
};

namespace detail {

/// The lowest number for an object of the library. A program that is started without standard streams gets 0 to 2 for the
/// next descriptors, but text that is meant for the streams still goes there.
inline constexpr int lowest_fd = STDERR_FILENO + 1;

/// The same open file by a number that is not below `lowest_fd`, closed on exec.
/// Returns: empty, with errno, when there is none left; an empty one stays as it is, and so does errno.
[[nodiscard]] inline unique_fd above_standard_streams(unique_fd fd) noexcept {
    if (!fd || fd.get() >= lowest_fd) { return fd; }
    return unique_fd{::fcntl(fd.get(), F_DUPFD_CLOEXEC, lowest_fd)};
}

} // namespace detail

} // namespace dmasync::inline DMASYNC_ABI
