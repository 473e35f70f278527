// SPDX-License-Identifier: MIT
#pragma once
/// \file make_event_loop.hpp  The best event loop that this machine allows.

#include <dmasync/epoll_loop.hpp>
#include <dmasync/event_loop.hpp>
#if !defined(DMASYNC_WITHOUT_URING)
#include <dmasync/uring_loop.hpp>
#include <dmasync/version.hpp>
#endif

#include <memory>
#include <string_view>
#include <system_error>

namespace dmasync::inline DMASYNC_ABI {

/// Which loop was made, and why it is not the better one.
struct made_event_loop {
    std::unique_ptr<event_loop> loop;
    std::string_view kind;         ///< "io_uring" or "epoll"
    std::error_code uring_refused; ///< what io_uring said; `std::errc::not_supported` when it is not compiled in
};

/// Makes an io_uring loop, or an epoll loop where that is refused: by a container's system call filter (EPERM, ENOSYS), also one
/// that lets a ring be set up but not entered, by kernel.io_uring_disabled, or by an old kernel.
/// Errors: thrown as std::system_error, or set in `ec`, with no loop then: what epoll said.
[[nodiscard]] inline made_event_loop make_event_loop(std::error_code& ec) {
    made_event_loop made;
#if defined(DMASYNC_WITHOUT_URING)
    made.uring_refused = std::make_error_code(std::errc::not_supported);
#else
    made.loop = uring_loop::create(made.uring_refused);
    made.kind = "io_uring";
#endif
    ec.clear();
    if (!made.loop) {
        made.loop = epoll_loop::create(ec);
        made.kind = "epoll";
    }
    return made;
}

[[nodiscard]] inline made_event_loop make_event_loop() {
    std::error_code ec;
    made_event_loop made = make_event_loop(ec);
    detail::deliver(ec, nullptr, "dmasync: make_event_loop");
    return made;
}

} // namespace dmasync::inline DMASYNC_ABI
