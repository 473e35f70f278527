// SPDX-License-Identifier: MIT
#pragma once
/// \file retrying_ioctl.hpp  A request to a driver that outlasts signals and short shortages.

#include <dmasync/version.hpp>

#include <cerrno>
#include <chrono>
#include <thread>

#include <sys/ioctl.h>

namespace dmasync::inline DMASYNC_ABI::detail {

/// ioctl(2), begun anew when a signal interrupts it (EINTR) or the driver asks for it (EAGAIN): after pauses of 1 us, 2 us
/// and so on to 16 ms, that is for 33 ms altogether, then EAGAIN is the answer.
/// Returns: as ioctl(2), with errno.
/// Source:  kernel Documentation/driver-api/dma-buf.rst: user space must restart DMA_BUF_IOCTL_SYNC on both.
[[nodiscard]] inline int retrying_ioctl(int fd, unsigned long request, void* argument) noexcept {
    constexpr std::chrono::microseconds longest_pause{std::chrono::milliseconds{17}};
    std::chrono::microseconds pause{1};
    for (;;) {
        const int result = ::ioctl(fd, request, argument);
        if (result >= 0 || (errno != EINTR && errno != EAGAIN)) { return result; }
        if (errno == EINTR) { continue; }
        if (pause > longest_pause) { return result; }
        std::this_thread::sleep_for(pause);
        pause *= 2;
    }
}

} // namespace dmasync::inline DMASYNC_ABI::detail
