// SPDX-License-Identifier: MIT
#pragma once
/// \file fragile_loop.hpp  A loop whose kernel refuses to wait as soon as a test says so. It only polls.

#include <dmasync/event_loop.hpp>

#include <cerrno>
#include <system_error>

namespace support {

class fragile_loop final : public dmasync::event_loop {
public:
    [[nodiscard]] int fd() const noexcept override { return -1; }

    /// As if a sandbox had been put on.
    void break_down() noexcept { fail(reason); }

    void run_ready() noexcept {
        while (poll()) {}
    }

    const std::error_code reason{EPERM, std::system_category()};

private:
    void wake() noexcept override {}
    void wait(bool) noexcept override {}
    void flush() noexcept override {}
    void set_kernel_timer(time_point) noexcept override { kernel_timer_fired(); }
    std::error_code start_watch(dmasync::fd_watch&) noexcept override { return {}; }
    void stop_watch(dmasync::fd_watch&) noexcept override {}
};

} // namespace support
