// SPDX-License-Identifier: MIT
#pragma once
/// \file fence.hpp  A device's promise that an access has ended (kernel: sync_file).

#include <dmasync/detail/kernel/sync_file.hpp>
#include <dmasync/error.hpp>
#include <dmasync/event_loop.hpp>
#include <dmasync/fence_wait.hpp>
#include <dmasync/unique_fd.hpp>
#include <dmasync/version.hpp>

#include <algorithm>
#include <cerrno>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <system_error>
#include <utility>
#include <vector>

#include <fcntl.h>
#include <linux/sync_file.h>
#include <poll.h>
#include <time.h>

namespace dmasync::inline DMASYNC_ABI {

enum class fence_state : std::uint8_t {
    pending,
    signalled, ///< ended well
    failed,    ///< ended with an error
};

/// What a fence is made of, at one moment. For people and logs.
struct fence_info {
    struct point {
        std::string driver;
        std::string timeline;
        fence_state state = fence_state::pending;
        std::error_code error;                       ///< of a failed one
        std::optional<event_loop::time_point> ended; ///< on CLOCK_MONOTONIC, which is the steady clock
    };

    std::string name;
    fence_state state = fence_state::signalled; ///< pending as long as one point is
    std::error_code error;                      ///< of the first point that failed, once none is pending
    std::vector<point> points;
};

/// Owns one sync_file descriptor. Move-only. An empty fence, by default and after a move, stands for nothing to wait for:
/// it is signalled.
///
/// Threads: const members any, as long as it is not moved or destroyed; else one at a time, like a std::unique_ptr.
/// Source:  kernel Documentation/driver-api/sync_file.rst; S12.
class fence {
public:
    fence() noexcept = default;

    /// The fence that a descriptor stands for.
    /// Errors: `errc::not_a_fence` when it is something else, `std::errc::bad_file_descriptor` when it is not open; the
    /// descriptor is closed then and the fence empty.
    [[nodiscard]] static fence adopt(unique_fd fd, std::error_code& ec) noexcept {
        sync_file_info info{};
        ec = detail::read_sync_file_info(fd.get(), info);
        if (ec && ec != std::errc::bad_file_descriptor) { ec = errc::not_a_fence; }
        return ec ? fence{} : own(std::move(fd), ec);
    }
    [[nodiscard]] static fence adopt(unique_fd fd) {
        std::error_code failure;
        fence adopted = adopt(std::move(fd), failure);
        detail::deliver(failure, nullptr, "dmasync: adopt a fence");
        return adopted;
    }

    [[nodiscard]] explicit operator bool() const noexcept { return static_cast<bool>(fd_); }

    /// The descriptor, still owned; -1 when empty.
    [[nodiscard]] int fd() const noexcept { return fd_.get(); }

    /// Gives the descriptor up, to hand it to a driver or another process.
    [[nodiscard]] unique_fd release() noexcept { return std::move(fd_); }

    /// Another owner of the same fence.
    /// Errors: what fcntl(2) says.
    [[nodiscard]] fence duplicate(std::error_code& ec) const noexcept {
        ec.clear();
        if (!fd_) { return {}; }
        fence copy{unique_fd{::fcntl(fd_.get(), F_DUPFD_CLOEXEC, detail::lowest_fd)}};
        if (!copy) { ec = detail::last_system_error(); }
        return copy;
    }

    /// The state right now; never blocks.
    [[nodiscard]] fence_state state() const noexcept {
        if (fd_ && !detail::fence_ended(fd_.get())) { return fence_state::pending; }
        return error() ? fence_state::failed : fence_state::signalled;
    }

    /// Of a failed fence: the errno that its driver gave it, in `std::system_category`. None while it is pending.
    [[nodiscard]] std::error_code error() const noexcept {
        return fd_ && detail::fence_ended(fd_.get()) ? detail::fence_result(fd_.get()) : std::error_code{};
    }

    /// When the last of its points ended, on CLOCK_MONOTONIC; none while one is pending, or when the driver did not say.
    [[nodiscard]] std::optional<event_loop::time_point> ended_at() const noexcept;

    /// What it is made of. Two steps in the kernel, between which points may come and go: repeated then.
    /// Errors: what SYNC_IOC_FILE_INFO says; `errc::out_of_memory`.
    [[nodiscard]] fence_info info(std::error_code& ec) const;

    /// A fence that ends when both have ended. One of them empty: a duplicate of the other, with its name.
    /// The kernel leaves out points that have ended, and their errors with them: ask before merging.
    /// `name` is for the kernel's debug files and cut to 31 bytes.
    /// Errors: what SYNC_IOC_MERGE says.
    [[nodiscard]] static fence merge(const fence& a, const fence& b, std::string_view name,
                                     std::error_code& ec) noexcept {
        if (!a || !b) { return (a ? a : b).duplicate(ec); }
        sync_merge_data data{};
        std::copy_n(name.data(), std::min(name.size(), sizeof data.name - 1), data.name);
        data.fd2 = b.fd();
        data.fence = -1;
        const bool merged = detail::retrying_ioctl(a.fd(), SYNC_IOC_MERGE, &data) >= 0;
        ec = merged ? std::error_code{} : detail::last_system_error();
        if (merged && data.fence < 0) { ec = {EBADF, std::system_category()}; } // an empty fence would have ended
        return ec ? fence{} : own(unique_fd{data.fence}, ec);
    }
    [[nodiscard]] static fence merge(const fence& a, const fence& b, std::string_view name) {
        std::error_code failure;
        fence merged = merge(a, b, name, failure);
        detail::deliver(failure, nullptr, "dmasync: merge fences");
        return merged;
    }

    /// Resumes when the fence has ended; does not suspend when it has already, or is empty.
    /// Errors:   the fence's own, in `std::system_category`; `timed_out` when the deadline found it pending; `cancelled`;
    ///           `out_of_memory` for a wait that can be stopped; `event_loop::error()` when the loop has failed.
    ///           Thrown as std::system_error, or set in a trailing std::error_code.
    /// Threads:  the loop's; resumes there.
    /// Lifetime: the fence, the stop token and the error code outlive the `co_await` expression.
    [[nodiscard]] fence_wait_awaitable wait(event_loop& loop, const wait_options& options = {}) const noexcept {
        return {loop, fd_.get(), options, nullptr};
    }
    [[nodiscard]] fence_wait_awaitable wait(event_loop& loop, const wait_options& options,
                                            std::error_code& ec) const noexcept {
        return {loop, fd_.get(), options, &ec};
    }
    [[nodiscard]] fence_wait_awaitable wait(event_loop& loop, std::error_code& ec) const noexcept {
        return {loop, fd_.get(), {}, &ec};
    }

    /// Blocks the thread until the fence has ended, signals or not. For threads that run no event loop.
    /// Returns: none, the fence's own error, or `errc::timed_out`; what poll(2) says.
    /// Units:   deadline on the steady clock, whatever clock a loop has.
    [[nodiscard]] std::error_code blocking_wait(
        event_loop::time_point deadline = event_loop::time_point::max()) const noexcept {
        if (!fd_) { return {}; }
        for (;;) {
            const event_loop::time_point now = event_loop::clock::now();
            pollfd entry{fd_.get(), POLLIN, 0};
            const timespec left = deadline <= now ? timespec{} : to_timespec(deadline - now);
            const int found = ::ppoll(&entry, 1, deadline == event_loop::time_point::max() ? nullptr : &left, nullptr);
            if (found > 0) { return detail::fence_result(fd_.get()); }
            if (found < 0 && errno != EINTR && errno != EAGAIN) { return detail::last_system_error(); }
            if (found == 0 && deadline <= now) { return errc::timed_out; }
        }
    }

private:
    explicit fence(unique_fd fd) noexcept : fd_{std::move(fd)} {}

    [[nodiscard]] static fence own(unique_fd fd, std::error_code& ec) noexcept {
        fence f{detail::above_standard_streams(std::move(fd))};
        if (!f) { ec = detail::last_system_error(); }
        return f;
    }

    [[nodiscard]] static timespec to_timespec(event_loop::clock::duration d) noexcept {
        const auto seconds = std::chrono::duration_cast<std::chrono::seconds>(d);
        return {static_cast<time_t>(seconds.count()), static_cast<long>(std::chrono::nanoseconds{d - seconds}.count())};
    }

    unique_fd fd_; // invariant: empty, or a sync_file
};

namespace detail {

[[nodiscard]] inline fence_state state_of_status(std::int32_t status) noexcept {
    if (status == 0) { return fence_state::pending; }
    return status < 0 ? fence_state::failed : fence_state::signalled;
}

/// When a point of a fence ended; none while it is pending, or when its driver keeps no time.
[[nodiscard]] inline std::optional<event_loop::time_point> end_of(const sync_fence_info& p) noexcept {
    if (p.status == 0 || p.timestamp_ns == 0) { return std::nullopt; }
    return event_loop::time_point{std::chrono::nanoseconds{static_cast<std::int64_t>(p.timestamp_ns)}};
}

/// The text in a field of the kernel's, which ends with a zero unless it is full.
template <std::size_t N>
[[nodiscard]] std::string text_of(const char (&field)[N]) { // NOLINT(modernize-avoid-c-arrays): the kernel's
    return {field, std::find(field, field + N, '\0')};
}

} // namespace detail

inline std::optional<event_loop::time_point> fence::ended_at() const noexcept {
    detail::fence_points all;
    if (!fd_ || all.read(fd_.get())) { return std::nullopt; }
    std::optional<event_loop::time_point> last;
    for (const sync_fence_info& p : all.points()) {
        if (p.status == 0) { return std::nullopt; }
        last = std::max(last, detail::end_of(p));
    }
    return last;
}

inline fence_info fence::info(std::error_code& ec) const {
    ec.clear();
    fence_info result;
    if (!fd_) { return result; }
    detail::fence_points all;
    ec = all.read(fd_.get());
    if (ec) { return result; }
    bool pending = false;
    result.name = detail::text_of(all.file().name);
    for (const sync_fence_info& p : all.points()) {
        const std::error_code error = detail::error_of_status(p.status);
        pending |= p.status == 0;
        if (!result.error) { result.error = error; }
        result.points.push_back({detail::text_of(p.driver_name), detail::text_of(p.obj_name),
                                 detail::state_of_status(p.status), error, detail::end_of(p)});
    }
    if (pending) { result.error.clear(); }
    result.state = pending ? fence_state::pending : result.error ? fence_state::failed : fence_state::signalled;
    return result;
}

} // namespace dmasync::inline DMASYNC_ABI
