// SPDX-License-Identifier: MIT
#pragma once
/// \file wake_fd.hpp  A descriptor that any thread can make readable.

#include <dmasync/error.hpp>
#include <dmasync/unique_fd.hpp>
#include <dmasync/version.hpp>

#include <cerrno>
#include <cstdint>
#include <system_error>

#include <sys/eventfd.h>
#include <unistd.h>

namespace dmasync::inline DMASYNC_ABI::detail {

/// Owns an eventfd. Threads: `signal` from any.
class wake_fd {
public:
    explicit wake_fd(std::error_code& ec) noexcept
        : fd_{above_standard_streams(unique_fd{::eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK)})} {
        ec = fd_ ? std::error_code{} : last_system_error();
    }

    [[nodiscard]] int get() const noexcept { return fd_.get(); }

    /// Makes it readable. Cannot fail but by overflow, and then it is readable. May be called by a signal handler.
    void signal() const noexcept {
        const int before = errno;
        const std::uint64_t one = 1;
        static_cast<void>(::write(fd_.get(), &one, sizeof one));
        errno = before;
    }

    /// Makes it unreadable.
    void clear() const noexcept {
        std::uint64_t count = 0;
        static_cast<void>(::read(fd_.get(), &count, sizeof count));
    }

private:
    unique_fd fd_;
};

} // namespace dmasync::inline DMASYNC_ABI::detail
