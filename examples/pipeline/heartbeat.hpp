// SPDX-License-Identifier: MIT
#pragma once
/// \file heartbeat.hpp  Something that a loop does again and again, however long the stages wait.

#include <dmasync/event_loop.hpp>

#include <chrono>
#include <functional>
#include <utility>

namespace pipeline {

/// While it lives and `loop` runs, calls `beat` at intervals. `beat` must not throw.
/// Threads: made and destroyed where the loop runs, or while it rests; `beat` is called on the loop's thread.
class heartbeat {
public:
    heartbeat(dmasync::event_loop& loop, std::chrono::nanoseconds interval, std::function<void()> beat)
        : loop_{loop}, interval_{interval}, beat_{std::move(beat)} {
        wait();
    }
    heartbeat(const heartbeat&) = delete;
    heartbeat& operator=(const heartbeat&) = delete;
    ~heartbeat() { loop_.disarm(next_); }

private:
    struct alarm : dmasync::timer {
        explicit alarm(heartbeat& h) noexcept : timer{ring}, owner{h} {}
        static void ring(dmasync::work& w, dmasync::disposition d) noexcept {
            if (d != dmasync::disposition::run) { return; }
            heartbeat& self = static_cast<alarm&>(w).owner;
            self.beat_();
            self.wait();
        }
        heartbeat& owner;
    };

    void wait() noexcept { loop_.arm(next_, loop_.now() + interval_); }

    dmasync::event_loop& loop_;
    const std::chrono::nanoseconds interval_;
    const std::function<void()> beat_;
    alarm next_{*this};
};

} // namespace pipeline
