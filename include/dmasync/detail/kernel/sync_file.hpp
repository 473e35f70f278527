// SPDX-License-Identifier: MIT
#pragma once
/// \file sync_file.hpp  The kernel's file of a fence, by its descriptor: whether it has ended, how, and what it is made of.

#include <dmasync/detail/kernel/retrying_ioctl.hpp>
#include <dmasync/error.hpp>
#include <dmasync/version.hpp>

#include <algorithm>
#include <cerrno>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <new>
#include <span>
#include <system_error>

#include <linux/sync_file.h>
#include <poll.h>

namespace dmasync::inline DMASYNC_ABI::detail {

/// Those of the poll(2) bits `events` that a descriptor shows now; none when it cannot be asked.
[[nodiscard]] inline short poll_now(int fd, short events) noexcept {
    pollfd entry{fd, events, 0};
    while (::poll(&entry, 1, 0) < 0) {
        if (errno != EINTR) { return 0; }
    }
    return static_cast<short>(entry.revents & events);
}

/// Whether all that the fence stands for has ended, well or not.
/// Asked by poll(2), for that makes the kernel look: the status of a fence that has never been polled may stay 0 for ever.
/// Source: kernel drivers/dma-buf/dma-fence-array.c, dma_fence_array_signaled.
[[nodiscard]] inline bool fence_ended(int fd) noexcept { return poll_now(fd, POLLIN) != 0; }

/// SYNC_IOC_FILE_INFO. With `num_fences` 0 the status is that of the whole, else the first that is not "signalled".
[[nodiscard]] inline std::error_code read_sync_file_info(int fd, sync_file_info& info) noexcept {
    return retrying_ioctl(fd, SYNC_IOC_FILE_INFO, &info) < 0 ? last_system_error() : std::error_code{};
}

/// The kernel's status of a fence (1 signalled, 0 active, below that an error) as an error: none unless it has failed.
/// What is no errno is EIO: drivers give the status, and it has failed in any case.
[[nodiscard]] inline std::error_code error_of_status(std::int32_t status) noexcept {
    constexpr std::int32_t largest_errno = 4095; // MAX_ERRNO of linux/err.h
    if (status >= 0) { return {}; }
    return {status >= -largest_errno ? -status : EIO, std::system_category()};
}

/// How a fence that has ended did so: no error, or the errno that its driver gave it, in `std::system_category`; also
/// what the kernel says when it cannot be asked.
[[nodiscard]] inline std::error_code fence_result(int fd) noexcept {
    sync_file_info info{};
    const std::error_code failure = read_sync_file_info(fd, info);
    return failure ? failure : error_of_status(info.status);
}

/// How something ended that a descriptor stands for, now that it is readable: a fence says whether it failed, anything else
/// has just ended.
[[nodiscard]] inline std::error_code completion_result(int fd) noexcept {
    sync_file_info info{};
    const std::error_code ec = read_sync_file_info(fd, info);
    const bool no_fence = ec == std::errc::inappropriate_io_control_operation || ec == std::errc::invalid_argument;
    return ec ? (no_fence ? std::error_code{} : ec) : error_of_status(info.status);
}

/// What a fence is made of, at one moment: several after a merge.
class fence_points {
public:
    /// Errors: what SYNC_IOC_FILE_INFO says; `errc::out_of_memory`, also for more points than there ever are.
    [[nodiscard]] std::error_code read(int fd) noexcept {
        static_cast<void>(fence_ended(fd)); // has the kernel look
        constexpr int attempts = 8;
        std::error_code failure;
        for (int i = 0; i < attempts; ++i) {
            failure = read_once(fd);
            if (failure != std::errc::invalid_argument) { break; } // else there are more points than a moment ago
        }
        return failure;
    }

    [[nodiscard]] const sync_file_info& file() const noexcept { return file_; }
    [[nodiscard]] std::span<const sync_fence_info> points() const noexcept { return {points_.get(), file_.num_fences}; }

private:
    [[nodiscard]] std::error_code read_once(int fd) noexcept {
        constexpr std::uint32_t most =
            65536; // a number that the kernel says costs memory before it is known to be true
        sync_file_info size{};
        if (const std::error_code failure = read_sync_file_info(fd, size)) { return failure; }
        if (size.num_fences > most) { return errc::out_of_memory; }
        points_.reset(new (std::nothrow) sync_fence_info[std::size_t{size.num_fences}]{});
        if (points_ == nullptr) { return errc::out_of_memory; }
        sync_file_info full{};
        full.num_fences = size.num_fences;
        full.sync_fence_info = reinterpret_cast<std::uintptr_t>(points_.get());
        const std::error_code failure = read_sync_file_info(fd, full);
        file_ = failure ? sync_file_info{} : full;
        file_.num_fences = std::min(file_.num_fences, size.num_fences);
        return failure;
    }

    sync_file_info file_{};
    std::unique_ptr<sync_fence_info[]> points_; // invariant: file_.num_fences of them, at least
};

} // namespace dmasync::inline DMASYNC_ABI::detail
