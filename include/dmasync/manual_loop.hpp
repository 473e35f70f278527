// SPDX-License-Identifier: MIT
#pragma once
/// \file manual_loop.hpp  An event loop whose time stands still unless it is moved: for tests and simulations.

#include <dmasync/detail/loop/wake_fd.hpp>
#include <dmasync/detail/sync/threading.hpp>
#include <dmasync/error.hpp>
#include <dmasync/event_loop.hpp>
#include <dmasync/version.hpp>

#include <algorithm>
#include <atomic>
#include <cerrno>
#include <chrono>
#include <cstdint>
#include <system_error>
#include <vector>

#include <fcntl.h>
#include <poll.h>

namespace dmasync::inline DMASYNC_ABI {

/// A time that stands still unless a `manual_loop` moves it.
struct virtual_clock {
    detail::atomic<std::chrono::steady_clock::time_point> time{
        std::chrono::steady_clock::time_point{std::chrono::hours{1}}};
};

namespace detail {

/// A base before the loop: the loop's time must exist before the loop does.
struct own_virtual_clock {
    virtual_clock own;
};

} // namespace detail

/// A loop on a virtual clock. Guarantees and threads: event_loop; the same calls give the same run.
///
/// `run` and `run(task)` move time by themselves: when nothing is ready, to the next timer. When there is no timer
/// either they wait for other threads and for watched descriptors.
class manual_loop final : detail::own_virtual_clock, public event_loop {
public:
    /// Errors: throws std::system_error when the kernel gives no eventfd; aborts without exceptions.
    manual_loop() : manual_loop{nullptr} {}

    /// One of several of the same clock, as loops are on which locks of one domain wait: each moves the time of all, and runs its
    /// own timers. The clock outlives them. Errors: the same.
    explicit manual_loop(virtual_clock& shared) : manual_loop{&shared} {}

    /// What tells the time here, for other loops of the same time.
    [[nodiscard]] virtual_clock& time_source() noexcept { return clock_; }

    /// Readable when another thread has posted. Timers and watches do not show: time and readiness are asked for.
    [[nodiscard]] int fd() const noexcept override { return wake_.get(); }

    /// Runs everything that is ready now, and what becomes ready by it, until nothing is.
    void run_ready() noexcept {
        while (poll()) {}
    }

    /// Moves time on, from timer to timer: each runs at its own time, with everything that becomes ready by it. Not beyond
    /// the end of time, and what is due only then never runs.
    void advance(clock::duration d) noexcept {
        const time_point end = later(now(), d);
        run_ready();
        while (next_due() <= end && next_due() != time_point::max()) {
            set(std::max(now(), next_due()));
            run_ready();
        }
        set(end);
    }

    /// Moves time without running anything: as if the thread had been away.
    void set(time_point t) noexcept { clock_.time.store(t, std::memory_order_release); }

private:
    explicit manual_loop(virtual_clock* shared)
        : event_loop{shared == nullptr ? own.time : shared->time},
          clock_{shared == nullptr ? own : *shared},
          wake_{failure_} {
        detail::deliver(failure_, nullptr, "dmasync: manual_loop");
        if (failure_) { detail::misuse("manual_loop without an eventfd"); }
    }

    void wake() noexcept override { wake_.signal(); }

    void flush() noexcept override {}

    void set_kernel_timer(time_point) noexcept override { kernel_timer_fired(); } // there is none

    void wait(bool may_block) noexcept override {
        if (look(0) || !may_block) { return; }
        if (next_due() != time_point::max()) {
            set(std::max(now(), next_due()));
        } else {
            look(-1);
        }
    }

    /// Fires the watches that are ready; waits for one, or for another thread, as poll(2) does.
    /// Returns: whether anything was.
    bool look(int timeout) noexcept {
        polled_.assign(1, pollfd{wake_.get(), POLLIN, 0});
        keys_.assign(1, 0);
        watches_.for_each([&](const fd_watch& w) {
            polled_.push_back({w.fd, w.events, 0});
            keys_.push_back(watches_.key(w));
        });
        const int found = ::poll(polled_.data(), polled_.size(), timeout);
        if (found < 0 && errno != EINTR && errno != ENOMEM) { fail(detail::last_system_error()); }
        if (found <= 0) { return false; }
        if ((polled_[0].revents & POLLNVAL) != 0) { fail(std::make_error_code(std::errc::bad_file_descriptor)); }
        if (polled_[0].revents != 0) { wake_.clear(); }
        for (std::size_t i = 1; i < polled_.size(); ++i) {
            fd_watch* w = polled_[i].revents == 0 ? nullptr : watches_.find(keys_[i]);
            if (w != nullptr) { fire(*w, polled_[i].revents); }
        }
        return true;
    }

    std::error_code start_watch(fd_watch& w) noexcept override {
        return ::fcntl(w.fd, F_GETFD) < 0 ? detail::last_system_error() : std::error_code{};
    }

    void stop_watch(fd_watch&) noexcept override {}

    virtual_clock& clock_;
    std::error_code failure_; // of construction
    detail::wake_fd wake_;
    std::vector<pollfd> polled_; // of the wait that is going on, the wake descriptor first
    std::vector<std::uint64_t> keys_;
};

} // namespace dmasync::inline DMASYNC_ABI
