// SPDX-License-Identifier: MIT
#pragma once
/// \file on_signal.hpp  Something to be done each time a signal comes, whatever the other threads are doing.

#include <dmasync/epoll_loop.hpp>
#include <dmasync/event_loop.hpp>
#include <dmasync/unique_fd.hpp>

#include <functional>
#include <thread>

namespace common {

/// Keeps a signal from ending the process; it waits for an `on_signal`. To be called before other threads are started, which
/// inherit that it is blocked.
void block_signal(int signal);

/// Calls a function each time a signal comes that has been blocked, also for one that came before: on a thread of its own,
/// so that it may take locks and allocate. Signals that come at the same time count as one.
class on_signal {
public:
    on_signal(int signal, std::function<void()> act);
    on_signal(const on_signal&) = delete;
    on_signal& operator=(const on_signal&) = delete;
    ~on_signal();

private:
    struct watch : dmasync::fd_watch {
        explicit watch(on_signal& s) noexcept : fd_watch{ready}, owner{s} {}
        static void ready(dmasync::work& w, dmasync::disposition d) noexcept;
        on_signal& owner;
    };

    void begin_to_watch();

    std::function<void()> act_;
    dmasync::unique_fd signals_; // a signalfd
    watch watch_{*this};
    dmasync::epoll_loop loop_;
    std::jthread thread_; // last: it uses all of the above
};

} // namespace common
