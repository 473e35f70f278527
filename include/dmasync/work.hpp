// SPDX-License-Identifier: MIT
#pragma once
/// \file work.hpp  What an event loop runs: now, at a point in time, or once a descriptor is ready.

#include <dmasync/detail/base/timer_heap.hpp>
#include <dmasync/version.hpp>

#include <chrono>
#include <cstdint>

namespace dmasync::inline DMASYNC_ABI {

/// Why a piece of work is called.
enum class disposition : std::uint8_t {
    run,     ///< to do it
    discard, ///< its loop is being destroyed: it never will be, and nothing that was made with it is there to be told
    fail,    ///< its loop can wait no longer (`event_loop::error` says why): what it waited for will not come
};

/// Something to be run once by an event loop. Intrusive: it lives in whatever it belongs to, and must stay there from
/// `post` until it has been called. Called on the loop's thread; may destroy itself.
struct work {
    using function = void(work&, disposition) noexcept;

    explicit work(function& f) noexcept : call{&f} {}

    function* call;
    work* next = nullptr; // the loop's, while the work is posted
};

/// Something to be run at a point in time. Must be disarmed before it is destroyed while armed.
class timer : public work, private detail::timer_node {
public:
    explicit timer(function& f) noexcept : work{f} {}

    [[nodiscard]] bool armed() const noexcept { return armed_; }
    /// When it will fire, or last was to.
    [[nodiscard]] std::chrono::steady_clock::time_point due() const noexcept { return when; }

private:
    friend class event_loop;
    bool armed_ = false;
};

/// Something to be run once a file descriptor is ready. One-shot. Must be unwatched before it is destroyed while active.
struct fd_watch : work {
    explicit fd_watch(function& f) noexcept : work{f} {}

    int fd = -1;
    short events = 0;  ///< poll(2) bits to wait for
    short revents = 0; ///< poll(2) bits found, when called; POLLERR and POLLHUP count as ready
    bool active = false;
    std::uint32_t slot = 0; // the loop's, while active
};

} // namespace dmasync::inline DMASYNC_ABI
