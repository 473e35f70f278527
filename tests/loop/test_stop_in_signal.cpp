// SPDX-License-Identifier: MIT
/// A loop is stopped by a signal handler that interrupts its own thread.
#include <dmasync/event_loop.hpp>

#include <dmasync/detail/loop/wake_fd.hpp>
#include <dmasync/manual_loop.hpp>

#include <doctest/doctest.h>
#include <support/callback.hpp>
#include <support/every_loop.hpp>
#include <support/pipe.hpp>

#include <cerrno>
#include <chrono>
#include <csignal>
#include <cstdint>
#include <memory>
#include <system_error>

#include <poll.h>
#include <sys/time.h>
#include <unistd.h>

using namespace dmasync;
using namespace std::chrono_literals;
using support::make;
using support::posted;
using support::timed;

namespace {

event_loop* stopped_by_signal = nullptr;

/// Has SIGUSR1 and SIGALRM stop a loop.
class stop_by_signal {
public:
    explicit stop_by_signal(event_loop& loop) {
        stopped_by_signal = &loop;
        struct sigaction handler {};
        handler.sa_handler = [](int) { stopped_by_signal->stop(); };
        ::sigaction(SIGUSR1, &handler, &user_);
        ::sigaction(SIGALRM, &handler, &alarm_);
    }
    stop_by_signal(const stop_by_signal&) = delete;
    stop_by_signal& operator=(const stop_by_signal&) = delete;
    ~stop_by_signal() {
        ::sigaction(SIGUSR1, &user_, nullptr);
        ::sigaction(SIGALRM, &alarm_, nullptr);
    }

private:
    struct sigaction user_ {};
    struct sigaction alarm_ {};
};

/// A loop that is interrupted where it hurts: after its last look at what is to be done, or before.
class interrupted_loop final : virtual_clock, public event_loop {
public:
    enum class where { before_last_look, before_wait };

    explicit interrupted_loop(where w) noexcept : event_loop{virtual_clock::time}, where_{w}, wake_{no_wake_} {}

    [[nodiscard]] int fd() const noexcept override { return wake_.get(); }

    bool woken = true; // by the time it waited

private:
    void wake() noexcept override { wake_.signal(); }
    void flush() noexcept override {}
    void set_kernel_timer(time_point) noexcept override {
        if (where_ == where::before_last_look && in_this_thread()) { interrupt(); }
    }
    void wait(bool may_block) noexcept override {
        if (!may_block) { return; }
        if (where_ == where::before_wait) { interrupt(); }
        pollfd entry{wake_.get(), POLLIN, 0};
        woken = ::poll(&entry, 1, 20'000) == 1; // 20 s: lost, not late
        wake_.clear();
    }
    void interrupt() const noexcept {
        wake_.clear(); // what was posted has been heard of
        ::raise(SIGUSR1);
    }
    std::error_code start_watch(fd_watch&) noexcept override { return {}; }
    void stop_watch(fd_watch&) noexcept override {}

    where where_;
    std::error_code no_wake_;
    detail::wake_fd wake_;
};

} // namespace

TEST_CASE("a stop by a signal is heard, be it between the loop's last look and its sleep") {
    for (const auto w : {interrupted_loop::where::before_last_look, interrupted_loop::where::before_wait}) {
        interrupted_loop loop{w};
        const stop_by_signal handler{loop};
        timed t;
        posted begin{[&] { loop.arm(t, loop.now() + 1h); }}; // so that the turn has a kernel timer to set
        loop.post(begin);
        loop.run();
        CHECK(loop.woken);
        loop.disarm(t);
    }
}

TEST_CASE_TEMPLATE("a stop by a signal ends a run that waits", Kind, EVERY_LOOP) {
    const auto loop = make<Kind>();
    if (!loop) { return; }
    const stop_by_signal handler{*loop};
    const itimerval soon{{}, {0, 500}};
    for (int round = 0; round < 50; ++round) {
        ::setitimer(ITIMER_REAL, &soon, nullptr);
        CHECK_FALSE(loop->run());
    }
}

TEST_CASE("a wake-up leaves errno as it was, also one that finds the descriptor full") {
    std::error_code ec;
    const detail::wake_fd wake{ec};
    REQUIRE_FALSE(ec);
    const std::uint64_t full = ~std::uint64_t{0} - 1;
    REQUIRE(::write(wake.get(), &full, sizeof full) == sizeof full);
    errno = EDOM;
    wake.signal();
    CHECK(errno == EDOM);
    CHECK(support::is_readable(wake.get()));
}
