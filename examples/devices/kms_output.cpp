// SPDX-License-Identifier: MIT
#include "kms_output.hpp"

#include <xf86drm.h>
#include <xf86drmMode.h>

#include <cerrno>
#include <span>

namespace devices {
namespace {

/// Positions in a framebuffer are given in 1/65536 of a pixel.
std::uint64_t fixed_point(std::uint32_t pixels) noexcept { return std::uint64_t{pixels} << 16U; }

void note_flip(int /*card*/, unsigned /*frame*/, unsigned /*seconds*/, unsigned /*microseconds*/, unsigned /*crtc*/,
               void* pending) {
    *static_cast<bool*>(pending) = false;
}

} // namespace

kms_output::kms_output(const drm_card& card, std::uint32_t width, std::uint32_t height)
    : card_{card},
      pipe_{find_kms_pipe(card, width, height)},
      before_{card, pipe_},
      mode_{card, std::as_bytes(std::span{&pipe_.mode, 1})},
      width_{width},
      height_{height} {}

kms_output::~kms_output() {
    if (mode_is_set_) { before_.restore(); }
}

dmasync::unique_fd kms_output::show(const framebuffer& picture) {
    std::int32_t fence = -1;
    kms_request request{card_};
    place(request, picture);
    request.set(pipe_.crtc, "OUT_FENCE_PTR", reinterpret_cast<std::uintptr_t>(&fence));
    std::uint32_t flags = DRM_MODE_ATOMIC_NONBLOCK | DRM_MODE_PAGE_FLIP_EVENT;
    if (!mode_is_set_) {
        set_mode(request);
        flags |= DRM_MODE_ATOMIC_ALLOW_MODESET;
    }
    request.commit(flags, &flip_is_pending_);
    mode_is_set_ = true;
    flip_is_pending_ = true;
    return dmasync::unique_fd{fence};
}

bool kms_output::flipped() {
    drmEventContext handlers{};
    handlers.version = 3;
    handlers.page_flip_handler2 = note_flip;
    if (drmHandleEvent(card_.fd(), &handlers) < 0 && errno != EAGAIN) { card_.fail("drmHandleEvent", errno); }
    return !flip_is_pending_;
}

void kms_output::place(kms_request& request, const framebuffer& picture) const {
    request.set(pipe_.plane, "FB_ID", picture.id());
    request.set(pipe_.plane, "CRTC_ID", pipe_.crtc.id());
    request.set(pipe_.plane, "SRC_X", 0);
    request.set(pipe_.plane, "SRC_Y", 0);
    request.set(pipe_.plane, "SRC_W", fixed_point(width_));
    request.set(pipe_.plane, "SRC_H", fixed_point(height_));
    request.set(pipe_.plane, "CRTC_X", 0);
    request.set(pipe_.plane, "CRTC_Y", 0);
    request.set(pipe_.plane, "CRTC_W", width_);
    request.set(pipe_.plane, "CRTC_H", height_);
}

void kms_output::set_mode(kms_request& request) const {
    request.set(pipe_.connector, "CRTC_ID", pipe_.crtc.id());
    request.set(pipe_.crtc, "MODE_ID", mode_.id());
    request.set(pipe_.crtc, "ACTIVE", 1);
}

} // namespace devices
