// SPDX-License-Identifier: MIT
#pragma once
/// \file interruption.hpp  Ctrl-C, `kill` and a terminal that goes away as a stop request.

#include <dmasync/epoll_loop.hpp>
#include <dmasync/event_loop.hpp>
#include <dmasync/unique_fd.hpp>

#include <atomic>
#include <stop_token>
#include <thread>

namespace common {

/// From its construction on, SIGINT, SIGTERM, SIGHUP and SIGQUIT no longer end the process, but request a stop: there is
/// something to clean up. They do so whatever its threads are doing or waiting for, since a thread of its own waits for
/// the signals. Where one of them is ignored, as in a background job, it stays so.
///
/// Threads: made before any other is started, which inherit that the signals are blocked.
class interruption {
public:
    explicit interruption(std::stop_source stop);
    interruption(const interruption&) = delete;
    interruption& operator=(const interruption&) = delete;
    ~interruption();

    /// The signal that has come, or 0. Threads: any.
    [[nodiscard]] int signal() noexcept;

private:
    struct watch : dmasync::fd_watch {
        explicit watch(interruption& i) noexcept : fd_watch{ready}, owner{i} {}
        static void ready(dmasync::work& w, dmasync::disposition d) noexcept;
        interruption& owner;
    };

    std::stop_source stop_;
    dmasync::unique_fd signals_; // a signalfd
    std::atomic<int> signal_{0};
    watch watch_{*this};
    dmasync::epoll_loop loop_;
    std::jthread thread_; // last: it uses all of the above
};

} // namespace common
