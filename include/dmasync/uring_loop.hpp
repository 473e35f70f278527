// SPDX-License-Identifier: MIT
#pragma once
/// \file uring_loop.hpp  An event loop on io_uring. The only header that needs liburing.

#include <dmasync/detail/loop/wake_fd.hpp>
#include <dmasync/detail/loop/watch_table.hpp>
#include <dmasync/error.hpp>
#include <dmasync/event_loop.hpp>
#include <dmasync/unique_fd.hpp>
#include <dmasync/version.hpp>

#include <algorithm>
#include <cerrno>
#include <chrono>
#include <cstdint>
#include <memory>
#include <system_error>
#include <utility>
#include <vector>

#include <fcntl.h>
#include <liburing.h>
#include <poll.h>

namespace dmasync::inline DMASYNC_ABI {

/// How a uring_loop is set up.
struct uring_options {
    unsigned entries = 256; ///< of the submission queue; what does not fit waits for its turn, nothing is lost
};

/// Guarantees and threads: event_loop. Requests are handed to the kernel in batches, once a turn, by the call that waits.
///
/// A thread that takes it over from another one takes over what it waits for: some requests for each descriptor.
class uring_loop final : public event_loop {
public:
    /// Errors: thrown as std::system_error: EPERM and ENOSYS where io_uring is refused, ENOSYS also where it is older than
    /// Linux 5.11; ENOMEM, EMFILE. Without exceptions, or to get an error code, use `create`.
    explicit uring_loop(uring_options options = {}) : uring_loop{options, nullptr} {}

    /// Returns: a loop; null with `ec` when the kernel refuses one.
    [[nodiscard]] static std::unique_ptr<uring_loop> create(std::error_code& ec, uring_options options = {}) {
        std::unique_ptr<uring_loop> made{new uring_loop{options, &ec}};
        if (ec) { made.reset(); }
        return made;
    }

    ~uring_loop() override {
        if (ring_.ring_fd >= 0) { ::io_uring_queue_exit(&ring_); }
    }

    [[nodiscard]] int fd() const noexcept override { return ring_.ring_fd; }

private:
    // user_data of requests that are no watch. The first two have the generation in the low half. The all-ones value is
    // liburing's.
    static constexpr std::uint64_t wake_keys = detail::watch_table::key_limit;
    static constexpr std::uint64_t timer_keys = 2 * detail::watch_table::key_limit;
    static constexpr std::uint64_t no_operation =
        3 * detail::watch_table::key_limit; // its completion says nothing that matters

    uring_loop(uring_options options, std::error_code* ec) : wake_{failure_} {
        ring_.ring_fd = -1;
        if (!failure_) { failure_ = set_up_ring(options.entries); }
        if (!failure_) {
            flush(); // so that fd() becomes readable for a host that waits first; and shows whether the ring may be entered
            failure_ = error();
        }
        detail::deliver(failure_, ec, "dmasync: uring_loop");
    }

    std::error_code set_up_ring(unsigned entries) noexcept {
        int result = ::io_uring_queue_init(entries, &ring_, IORING_SETUP_CLAMP);
        if (result == 0 && !has_all_requests(ring_.features)) {
            ::io_uring_queue_exit(&ring_);
            result = -ENOSYS;
        }
        if (result < 0) {
            ring_.ring_fd = -1;
            return {-result, std::system_category()};
        }
        unique_fd lifted = detail::above_standard_streams(unique_fd{ring_.ring_fd});
        const std::error_code ec = lifted ? std::error_code{} : detail::last_system_error();
        ring_.ring_fd = ring_.enter_ring_fd = lifted.release();
        if (ec) { ::io_uring_queue_exit(&ring_); } // its memory
        return ec;
    }

    /// A timer is moved by IORING_TIMEOUT_UPDATE, which came with Linux 5.11 and has no flag of its own: an older kernel
    /// fails it later, and the timer would be late. This feature came with it.
    [[nodiscard]] static constexpr bool has_all_requests(unsigned features) noexcept {
        return (features & IORING_FEAT_EXT_ARG) != 0;
    }

    void wake() noexcept override { wake_.signal(); }

    void flush() noexcept override {
        move_here();
        watch_wake();
        if (!reaped_.empty()) { // by next_entry: fd() would not show them
            io_uring_sqe& sqe = next_entry();
            ::io_uring_prep_nop(&sqe);
            sqe.user_data = no_operation;
        }
        entered(::io_uring_submit(&ring_));
    }

    void wait(bool may_block) noexcept override {
        move_here();
        watch_wake();
        entered(::io_uring_submit_and_wait(&ring_, may_block && reaped_.empty() ? 1 : 0));
        reap();
        std::vector<completion> batch;
        batch.swap(reaped_);
        for (const completion& c : batch) { take(c.key, c.result); }
        if (reaped_.empty()) { // keep the memory
            batch.clear();
            reaped_.swap(batch);
        }
    }

    void confirm() noexcept override { entered(::io_uring_get_events(&ring_)); }

    /// The kernel has answered. Some failures are mended by reaping and the next turn, EBUSY while completions overflow; others
    /// come again: EBADF or EOPNOTSUPP when the program has closed the ring, what a sandbox says when it has come to refuse it.
    /// Returns: whether the request may be made again.
    bool entered(int result) noexcept {
        const bool for_good = result < 0 && result != -EINTR && result != -EAGAIN && result != -EBUSY;
        if (for_good) { fail({-result, std::system_category()}); }
        return !for_good;
    }

    /// Empties the completion queue without acting on it: that may be done wherever a request is being made.
    void reap() noexcept {
        io_uring_cqe* cqe = nullptr;
        while (::io_uring_peek_cqe(&ring_, &cqe) == 0 && cqe != nullptr) {
            reaped_.push_back({cqe->user_data, cqe->res});
            ::io_uring_cqe_seen(&ring_, cqe);
        }
    }

    void take(std::uint64_t key, int result) noexcept {
        const bool is_cancelled = result == -ECANCELED; // its submitter's thread has ended: begun anew
        if (key == (wake_keys | generation_)) {
            wake_watched_ = false;
            wake_.clear(); // now, before the next look at what was posted; a later signal ends the next poll
            if (result < 0 && !is_cancelled) { fail({-result, std::system_category()}); }
        } else if (key == (timer_keys | generation_)) {
            timer_running_ = false;
            kernel_timer_fired();
            if (result < 0 && result != -ETIME && !is_cancelled) { fail({-result, std::system_category()}); }
        } else if (fd_watch* w = key < detail::watch_table::key_limit ? watches_.find(key) : nullptr; w != nullptr) {
            finish(*w, result);
        }
    }

    void finish(fd_watch& w, int result) noexcept {
        if (result == -ECANCELED && !is_broken()) {
            submit_poll(w);
            return;
        }
        fire(w, result < 0 ? static_cast<short>(POLLERR) : static_cast<short>(result));
    }

    void set_kernel_timer(time_point when) noexcept override {
        const auto ns = std::max<std::int64_t>(when.time_since_epoch().count(), 0);
        timer_end_ = {ns / 1'000'000'000, ns % 1'000'000'000};
        if (timer_running_) {
            io_uring_sqe& sqe = next_entry();
            ::io_uring_prep_timeout_update(&sqe, &timer_end_, timer_keys | generation_, IORING_TIMEOUT_ABS);
            sqe.user_data = no_operation; // when it comes too late the timer's own completion is on its way
        } else {
            start_timer();
        }
    }

    void start_timer() noexcept {
        timer_running_ = true;
        io_uring_sqe& sqe = next_entry();
        ::io_uring_prep_timeout(&sqe, &timer_end_, 0, IORING_TIMEOUT_ABS);
        sqe.user_data = timer_keys | generation_;
    }

    std::error_code start_watch(fd_watch& w) noexcept override {
        if (::fcntl(w.fd, F_GETFD) < 0) { return detail::last_system_error(); }
        submit_poll(w);
        return {};
    }

    void submit_poll(const fd_watch& w) noexcept {
        io_uring_sqe& sqe = next_entry();
        ::io_uring_prep_poll_add(&sqe, w.fd, static_cast<std::uint16_t>(w.events));
        sqe.user_data = watches_.key(w);
    }

    void stop_watch(fd_watch& w) noexcept override { cancel_poll(watches_.key(w)); }

    void cancel_poll(std::uint64_t key) noexcept {
        io_uring_sqe& sqe = next_entry();
        ::io_uring_prep_poll_remove(&sqe, key);
        sqe.user_data = no_operation;
    }

    /// Keeps one poll of the wake descriptor under way.
    void watch_wake() noexcept {
        if (wake_watched_) { return; }
        wake_watched_ = true;
        io_uring_sqe& sqe = next_entry();
        ::io_uring_prep_poll_add(&sqe, wake_.get(), POLLIN);
        sqe.user_data = wake_keys | generation_;
    }

    /// A request that waits ends in the thread that has made it, when that comes by the kernel: for as long as that thread is
    /// held up there by something else (in vfork(2), say), it does not end. So a thread that takes the loop over makes anew
    /// what is under way, by names that the old completions do not have.
    void move_here() noexcept {
        const detail::thread_id here = detail::this_thread_id();
        if (std::exchange(submitter_, here) == here) { return; }
        if (std::exchange(wake_watched_, false)) { cancel_poll(wake_keys | generation_); }
        const bool timed = timer_running_;
        if (timed) {
            io_uring_sqe& sqe = next_entry();
            ::io_uring_prep_timeout_remove(&sqe, timer_keys | generation_, 0);
            sqe.user_data = no_operation;
        }
        ++generation_;
        if (timed) { start_timer(); }
        watches_.for_each([this](fd_watch& w) {
            cancel_poll(watches_.key(w));
            watches_.rename(w);
            submit_poll(w);
        });
    }

    /// A free submission entry. When the queue is full, what is in it goes to the kernel first; that takes nothing more
    /// (EBUSY) while completions have no room, so they are made room for. Of a ring that has failed: one that is never submitted.
    [[nodiscard]] io_uring_sqe& next_entry() noexcept {
        for (;;) {
            if (io_uring_sqe* sqe = ::io_uring_get_sqe(&ring_); sqe != nullptr) { return *sqe; }
            const int result = ::io_uring_submit(&ring_);
            if (!entered(result)) { return *ring_.sq.sqes; }
            if (result < 0) { reap(); }
        }
    }

    struct completion {
        std::uint64_t key;
        int result;
    };

    std::error_code failure_; // of construction; first, for it is filled by the members that follow
    detail::wake_fd wake_;
    io_uring ring_{};
    detail::thread_id submitter_{};
    std::uint32_t generation_ = 0;  // of the requests that are no watch: they are made anew on another thread
    __kernel_timespec timer_end_{}; // read by the kernel when the request is submitted
    bool timer_running_ = false;
    bool wake_watched_ = false;
    std::vector<completion> reaped_; // taken from the ring, not yet acted on
};

} // namespace dmasync::inline DMASYNC_ABI
