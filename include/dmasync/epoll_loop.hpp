// SPDX-License-Identifier: MIT
#pragma once
/// \file epoll_loop.hpp  An event loop on epoll, timerfd and eventfd: works wherever Linux does.

#include <dmasync/detail/loop/wake_fd.hpp>
#include <dmasync/detail/loop/watch_table.hpp>
#include <dmasync/error.hpp>
#include <dmasync/event_loop.hpp>
#include <dmasync/unique_fd.hpp>
#include <dmasync/version.hpp>

#include <algorithm>
#include <array>
#include <cerrno>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <system_error>
#include <vector>

#include <fcntl.h>
#include <sys/epoll.h>
#include <sys/timerfd.h>
#include <unistd.h>

namespace dmasync::inline DMASYNC_ABI {

/// For where io_uring is refused. Guarantees and threads: event_loop.
///
/// A descriptor that is watched twice at once is watched through duplicates; a regular file is always ready.
class epoll_loop final : public event_loop {
public:
    /// Errors: thrown as std::system_error: what the kernel says when it refuses a descriptor. Without exceptions, or
    /// to get an error code, use `create`.
    epoll_loop() : epoll_loop{nullptr} {}

    /// Returns: a loop; null with `ec` when the kernel refuses one.
    [[nodiscard]] static std::unique_ptr<epoll_loop> create(std::error_code& ec) {
        std::unique_ptr<epoll_loop> made{new epoll_loop{&ec}};
        if (ec) { made.reset(); }
        return made;
    }

    [[nodiscard]] int fd() const noexcept override { return epoll_.get(); }

private:
    static constexpr std::uint64_t wake_key = detail::watch_table::key_limit;
    static constexpr std::uint64_t timer_key = wake_key + 1;

    explicit epoll_loop(std::error_code* ec)
        : wake_{failure_},
          epoll_{detail::above_standard_streams(unique_fd{::epoll_create1(EPOLL_CLOEXEC)})},
          timer_{detail::above_standard_streams(
              unique_fd{::timerfd_create(CLOCK_MONOTONIC, TFD_CLOEXEC | TFD_NONBLOCK)})} {
        if (!failure_ && (!epoll_ || !timer_)) { failure_ = detail::last_system_error(); }
        if (!failure_) { failure_ = add(wake_.get(), EPOLLIN, wake_key); }
        if (!failure_) { failure_ = add(timer_.get(), EPOLLIN, timer_key); }
        if (!failure_ && ask_kernel(false) < 0) { failure_ = detail::last_system_error(); } // allowed to wait, too
        detail::deliver(failure_, ec, "dmasync: epoll_loop");
    }

    void wake() noexcept override { wake_.signal(); }

    void flush() noexcept override {}

    int ask_kernel(bool may_block) noexcept {
        return ::epoll_wait(epoll_.get(), events_.data(), static_cast<int>(events_.size()), may_block ? -1 : 0);
    }

    void wait(bool may_block) noexcept override {
        const int found = ask_kernel(may_block);
        if (found < 0 && errno != EINTR) { fail(detail::last_system_error()); }
        for (int i = 0; i < found; ++i) { take(events_[static_cast<std::size_t>(i)]); }
        std::vector<std::uint64_t> ready; // a copy: what is called may watch again
        ready.swap(always_ready_);
        for (const std::uint64_t key : ready) {
            if (fd_watch* w = watches_.find(key); w != nullptr) { finish(*w, w->events); }
        }
    }

    void take(const epoll_event& e) noexcept {
        if (e.data.u64 == wake_key) {
            wake_.clear();
        } else if (e.data.u64 == timer_key) {
            std::uint64_t expirations = 0;
            static_cast<void>(::read(timer_.get(), &expirations, sizeof expirations));
            kernel_timer_fired();
        } else if (fd_watch* w = watches_.find(e.data.u64); w != nullptr) {
            // the bits of epoll are those of poll
            finish(*w, static_cast<short>(e.events));
        }
    }

    void finish(fd_watch& w, short revents) noexcept {
        if (!is_broken()) { stop_watch(w); } // one that was called before may have forked
        fire(w, revents);
    }

    void set_kernel_timer(time_point when) noexcept override {
        const auto ns = std::max<std::int64_t>(when.time_since_epoch().count(), 1); // 0 would disarm
        itimerspec spec{};
        spec.it_value = {static_cast<time_t>(ns / 1'000'000'000), static_cast<long>(ns % 1'000'000'000)};
        if (::timerfd_settime(timer_.get(), TFD_TIMER_ABSTIME, &spec, nullptr) != 0) {
            fail(detail::last_system_error());
        }
    }

    std::error_code start_watch(fd_watch& w) noexcept override {
        if (const errc e = reserve(w.slot); e != errc{}) { return e; }
        const std::uint64_t key = watches_.key(w);
        std::error_code ec = add(w.fd, events_of(w), key);
        if (ec == std::errc::file_exists) { // watched already: by another descriptor of the same file
            duplicates_[w.slot].reset(::fcntl(w.fd, F_DUPFD_CLOEXEC, detail::lowest_fd));
            ec = duplicates_[w.slot] ? add(duplicates_[w.slot].get(), events_of(w), key) : detail::last_system_error();
        }
        if (ec == std::errc::operation_not_permitted) { // a regular file, say: never waits
            ec = detail::code_of(detail::try_allocating([&] { always_ready_.push_back(key); }));
            if (!ec) { wake(); }
        }
        if (ec) { duplicates_[w.slot].reset(); }
        return ec;
    }

    void stop_watch(fd_watch& w) noexcept override {
        unique_fd& duplicate = duplicates_[w.slot];
        ::epoll_ctl(epoll_.get(), EPOLL_CTL_DEL, duplicate ? duplicate.get() : w.fd, nullptr);
        duplicate.reset();
    }

    errc reserve(std::size_t slot) noexcept {
        return slot < duplicates_.size() ? errc{} : detail::try_allocating([&] { duplicates_.resize(slot + 1); });
    }

    [[nodiscard]] static std::uint32_t events_of(const fd_watch& w) noexcept {
        return static_cast<std::uint16_t>(w.events) | static_cast<std::uint32_t>(EPOLLONESHOT);
    }

    [[nodiscard]] std::error_code add(int fd, std::uint32_t events, std::uint64_t key) noexcept {
        epoll_event e{};
        e.events = events;
        e.data.u64 = key;
        return ::epoll_ctl(epoll_.get(), EPOLL_CTL_ADD, fd, &e) == 0 ? std::error_code{} : detail::last_system_error();
    }

    std::error_code failure_; // of construction; first, for it is filled by the members that follow
    detail::wake_fd wake_;
    unique_fd epoll_;
    unique_fd timer_;
    std::vector<unique_fd> duplicates_;       // by slot
    std::vector<std::uint64_t> always_ready_; // keys
    std::array<epoll_event, 64> events_{};
};

} // namespace dmasync::inline DMASYNC_ABI
