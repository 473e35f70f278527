// SPDX-License-Identifier: MIT
#pragma once
/// \file sw_sync.hpp  Real fences that end when a test says so: the kernel's timelines for tests.

#include <dmasync/fence.hpp>
#include <dmasync/unique_fd.hpp>

#include <support/devices.hpp>

#include <doctest/doctest.h>

#include <cstdint>
#include <system_error>
#include <utility>

#include <linux/ioctl.h>
#include <sys/ioctl.h>

namespace support {

/// A timeline of <debugfs>/sync/sw_sync. It stands at point 0; a fence has ended once the timeline is at its point.
/// Threads: `advance` and `create` any.
class sw_timeline {
public:
    sw_timeline() : sw_timeline{open_device("/sys/kernel/debug/sync/sw_sync")} {}

    /// One that was made elsewhere.
    explicit sw_timeline(dmasync::unique_fd fd) : fd_{std::move(fd)} { REQUIRE(fd_); }

    [[nodiscard]] int fd() const { return fd_.get(); }

    /// Points that are equal share a fence in the kernel.
    [[nodiscard]] dmasync::fence create(std::uint32_t point) const {
        create_request request{point, "test", -1};
        REQUIRE(::ioctl(fd_.get(), _IOWR('W', 0, create_request), &request) == 0);
        std::error_code ec;
        dmasync::fence made = dmasync::fence::adopt(dmasync::unique_fd{request.fence}, ec);
        REQUIRE_FALSE(ec);
        return made;
    }

    void advance(std::uint32_t points = 1) const {
        CHECK(::ioctl(fd_.get(), _IOW('W', 1, std::uint32_t), &points) == 0);
    }

    /// Its fences that are pending end with ENOENT.
    void close() { fd_.reset(); }

private:
    struct create_request { // no header of the system declares it: drivers/dma-buf/sw_sync.c
        std::uint32_t value;
        char name[32];
        std::int32_t fence;
    };

    dmasync::unique_fd fd_;
};

} // namespace support
