// SPDX-License-Identifier: MIT
#pragma once
/// \file vgem.hpp  A buffer of a graphics card that is not there, and work on it that a test begins and ends.

#include <dmasync/access_mode.hpp>
#include <dmasync/dma_buf.hpp>
#include <dmasync/unique_fd.hpp>

#include <support/devices.hpp>

#include <doctest/doctest.h>

#include <cerrno>
#include <cstdint>

#include <fcntl.h>
#include <sys/ioctl.h>
#include <xf86drm.h>

namespace support {

/// A dumb buffer of the driver vgem, exported as a dma-buf.
class vgem_buffer {
public:
    explicit vgem_buffer(std::uint32_t pages = 1) : card_{open_card("vgem")} {
        REQUIRE(card_);
        drm_mode_create_dumb request{};
        request.width = 1024;
        request.height = pages;
        request.bpp = 32;
        REQUIRE(::drmIoctl(card_.get(), DRM_IOCTL_MODE_CREATE_DUMB, &request) == 0);
        handle_ = request.handle;
        fd_ = exported(DRM_RDWR);
    }

    [[nodiscard]] int fd() const { return fd_.get(); }

    /// Another descriptor of the dma-buf. `access_flags`: DRM_RDWR, or 0 for one that can be mapped for reading only.
    [[nodiscard]] dmasync::unique_fd exported(std::uint32_t access_flags = DRM_RDWR) const {
        int fd = -1;
        REQUIRE(::drmPrimeHandleToFD(card_.get(), handle_, DRM_CLOEXEC | access_flags, &fd) == 0);
        return dmasync::unique_fd{fd};
    }

    /// A device begins to work on the buffer; its fence ends by `signal`, or after 10 s.
    /// Returns: 0, or the errno: EBUSY when a fence is pending that this work would have to wait for.
    [[nodiscard]] int attach(dmasync::access_mode a, std::uint32_t& work) const {
        attach_request request{handle_, dmasync::is_write(a) ? 1U : 0U, 0, 0};
        const int result = ::ioctl(card_.get(), DRM_IOWR(DRM_COMMAND_BASE + 1, attach_request), &request);
        work = request.out_fence;
        return result == 0 ? 0 : errno;
    }
    [[nodiscard]] std::uint32_t attach(dmasync::access_mode a) const {
        std::uint32_t work = 0;
        REQUIRE(attach(a, work) == 0);
        return work;
    }

    /// The work ends well.
    /// Returns: 0, or the errno: ENOENT when it had been ended, ETIMEDOUT when it was too late.
    int signal(std::uint32_t work) const {
        signal_request request{work, 0};
        return ::ioctl(card_.get(), DRM_IOW(DRM_COMMAND_BASE + 2, signal_request), &request) == 0 ? 0 : errno;
    }

private:
    struct attach_request { // include/uapi/drm/vgem_drm.h, which is not everywhere
        std::uint32_t handle;
        std::uint32_t flags;
        std::uint32_t out_fence;
        std::uint32_t pad;
    };
    struct signal_request {
        std::uint32_t fence;
        std::uint32_t flags;
    };

    dmasync::unique_fd card_;
    std::uint32_t handle_ = 0;
    dmasync::unique_fd fd_;
};

} // namespace support
