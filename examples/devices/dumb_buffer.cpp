// SPDX-License-Identifier: MIT
#include "dumb_buffer.hpp"

#include <fcntl.h>
#include <xf86drm.h>

namespace devices {

dumb_buffer::dumb_buffer(const drm_card& card, std::uint32_t width, std::uint32_t height) : card_{card} {
    drm_mode_create_dumb request{};
    request.width = width;
    request.height = height;
    request.bpp = 32;
    card_.check(drmIoctl(card_.fd(), DRM_IOCTL_MODE_CREATE_DUMB, &request), "DRM_IOCTL_MODE_CREATE_DUMB");
    handle_ = request.handle;
    bytes_per_line_ = request.pitch;
    bytes_ = request.size;
}

dumb_buffer::~dumb_buffer() {
    if (handle_ == 0) { return; }
    drm_mode_destroy_dumb request{.handle = handle_};
    drmIoctl(card_.fd(), DRM_IOCTL_MODE_DESTROY_DUMB, &request);
}

dmasync::unique_fd dumb_buffer::export_dma_buf() const {
    int fd = -1;
    card_.check(drmPrimeHandleToFD(card_.fd(), handle_, DRM_CLOEXEC | DRM_RDWR, &fd), "drmPrimeHandleToFD");
    return dmasync::unique_fd{fd};
}

} // namespace devices
