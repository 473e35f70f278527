// SPDX-License-Identifier: MIT
#pragma once
/// \file kms_pipe.hpp  The way of a picture to a screen: plane, scan-out engine (CRTC), connector.

#include "drm_card.hpp"
#include "kms_object.hpp"

#include <xf86drmMode.h>

#include <cstdint>

namespace devices {

struct kms_pipe {
    kms_object connector;
    kms_object crtc;
    kms_object plane;
    drmModeModeInfo mode;
};

/// Chooses the first screen that is connected and can show pictures of this size as they are, and a way to it.
/// Throws std::system_error, with std::errc::no_such_device when there is none.
[[nodiscard]] kms_pipe find_kms_pipe(const drm_card& card, std::uint32_t width, std::uint32_t height);

} // namespace devices
