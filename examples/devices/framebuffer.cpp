// SPDX-License-Identifier: MIT
#include "framebuffer.hpp"

#include <xf86drmMode.h>

#include <array>

namespace devices {

framebuffer::framebuffer(const drm_card& card, const dumb_buffer& memory, std::uint32_t width, std::uint32_t height,
                         std::uint32_t pixel_format)
    : card_{card} {
    const std::array<std::uint32_t, 4> handles{memory.handle()};
    const std::array<std::uint32_t, 4> pitches{memory.bytes_per_line()};
    const std::array<std::uint32_t, 4> offsets{};
    card_.check(
        drmModeAddFB2(card_.fd(), width, height, pixel_format, handles.data(), pitches.data(), offsets.data(), &id_, 0),
        "drmModeAddFB2");
}

framebuffer::~framebuffer() {
    if (id_ != 0) { drmModeRmFB(card_.fd(), id_); }
}

} // namespace devices
