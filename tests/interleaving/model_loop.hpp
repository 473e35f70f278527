// SPDX-License-Identifier: MIT
#pragma once
/// \file model_loop.hpp  An event loop whose kernel is the checker: a bell to sleep on, and time that stands until moved.

#include "checker.hpp"

#include <dmasync/detail/sync/threading.hpp>
#include <dmasync/event_loop.hpp>

#include <algorithm>
#include <chrono>
#include <system_error>

namespace interleave {

struct model_clock {
    dmasync::detail::atomic<dmasync::event_loop::time_point> time{
        dmasync::event_loop::time_point{std::chrono::hours{1}}};
};

/// As dmasync::manual_loop, without descriptors.
class model_loop final : model_clock, public dmasync::event_loop {
public:
    model_loop() : dmasync::event_loop{time}, time_{time} {}
    /// One with the clock of another one, which outlives it.
    explicit model_loop(model_loop* with_clock) : dmasync::event_loop{with_clock->time_}, time_{with_clock->time_} {}

    [[nodiscard]] int fd() const noexcept override { return -1; }

    void run_ready() noexcept {
        while (poll()) {}
    }

    void set(time_point t) noexcept { time_.store(t, std::memory_order_release); }

    /// As if the kernel refused to wait.
    void break_down() noexcept { fail(std::make_error_code(std::errc::operation_not_permitted)); }

    /// What a host does: sleeps until `fd()` is readable. The bell stays rung, as a descriptor stays readable.
    void sleep_as_host() noexcept {
        bell_.wait();
        bell_.ring();
    }

private:
    void wake() noexcept override { bell_.ring(); }
    void flush() noexcept override {}
    void set_kernel_timer(time_point) noexcept override { kernel_timer_fired(); }
    void wait(bool may_block) noexcept override {
        if (!may_block) {
            bell_.heard();
        } else if (next_due() == time_point::max()) {
            bell_.wait();
        } else if (!bell_.heard()) {
            set(std::max(now(), next_due()));
        }
    }
    std::error_code start_watch(dmasync::fd_watch&) noexcept override { return {}; }
    void stop_watch(dmasync::fd_watch&) noexcept override {}

    dmasync::detail::atomic<time_point>& time_;
    bell bell_;
};

} // namespace interleave
