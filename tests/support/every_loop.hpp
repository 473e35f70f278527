// SPDX-License-Identifier: MIT
#pragma once
/// \file every_loop.hpp  The kinds of event loop on a real clock, for what is true of all: TEST_CASE_TEMPLATE(.., EVERY_LOOP).

#include <dmasync/epoll_loop.hpp>
#include <dmasync/event_loop.hpp>
#if !defined(DMASYNC_WITHOUT_URING)
#include <dmasync/uring_loop.hpp>
#endif

#include <doctest/doctest.h>
#include <support/skip.hpp>

#include <memory>
#include <system_error>

#include <poll.h>
#include <sys/syscall.h>

namespace support {

#if !defined(DMASYNC_WITHOUT_URING)
struct uring {
    static constexpr unsigned waits_by = SYS_io_uring_enter; // the system call

    static std::unique_ptr<dmasync::event_loop> create(std::error_code& ec) { return dmasync::uring_loop::create(ec); }
};

/// A ring that is full all the time.
struct tiny_uring {
    static constexpr unsigned waits_by = SYS_io_uring_enter;

    static std::unique_ptr<dmasync::event_loop> create(std::error_code& ec) {
        return dmasync::uring_loop::create(ec, {.entries = 2});
    }
};
#endif

struct epoll {
#if defined(SYS_epoll_wait)
    static constexpr unsigned waits_by = SYS_epoll_wait;
#else
    static constexpr unsigned waits_by = SYS_epoll_pwait;
#endif

    static std::unique_ptr<dmasync::event_loop> create(std::error_code& ec) { return dmasync::epoll_loop::create(ec); }
};

#if defined(DMASYNC_WITHOUT_URING)
#define EVERY_LOOP support::epoll
#define EVERY_LOOP_TYPE dmasync::epoll_loop
#else
#define EVERY_LOOP support::uring, support::tiny_uring, support::epoll
#define EVERY_LOOP_TYPE dmasync::uring_loop, dmasync::epoll_loop // for what makes a loop by its constructor
#endif

/// Null, and a line that says so, where the kernel refuses this kind.
template <class Kind>
std::unique_ptr<dmasync::event_loop> make() {
    std::error_code ec;
    auto loop = Kind::create(ec);
    if (!loop) { report_skip("this kernel refuses the loop: " + ec.message()); }
    return loop;
}

inline bool is_readable(int fd) {
    pollfd entry{fd, POLLIN, 0};
    return ::poll(&entry, 1, 0) == 1;
}

/// Hosts the loop as a foreign one would: looks at nothing but fd().
template <class Done>
void host_until(dmasync::event_loop& loop, Done done) {
    pollfd entry{loop.fd(), POLLIN, 0};
    while (!done()) {
        REQUIRE(::poll(&entry, 1, 20'000) == 1); // 20 s: lost, not late
        loop.poll();
    }
}

} // namespace support
