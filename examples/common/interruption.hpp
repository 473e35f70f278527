// SPDX-License-Identifier: MIT
#pragma once
/// \file interruption.hpp  Ctrl-C and `kill` as a stop request: there is something to clean up.

#include <dmasync/event_loop.hpp>
#include <dmasync/unique_fd.hpp>

#include <stop_token>

namespace common {

/// From its construction on, SIGINT and SIGTERM no longer end the process; while `loop` runs, they request a stop.
/// Where one of them is ignored, as in a background job, it stays so.
///
/// Threads: made before any other is started, which inherit that the signals are blocked; destroyed when `loop` rests.
class interruption {
public:
    interruption(dmasync::event_loop& loop, std::stop_source stop);
    interruption(const interruption&) = delete;
    interruption& operator=(const interruption&) = delete;
    ~interruption();

    /// The signal that has come, or 0.
    [[nodiscard]] int signal() noexcept;

private:
    struct watch : dmasync::fd_watch {
        explicit watch(interruption& i) noexcept : fd_watch{ready}, owner{i} {}
        static void ready(dmasync::work& w, dmasync::disposition d) noexcept;
        interruption& owner;
    };

    dmasync::event_loop& loop_;
    std::stop_source stop_;
    dmasync::unique_fd signals_; // a signalfd
    int signal_ = 0;
    watch watch_{*this};
};

} // namespace common
