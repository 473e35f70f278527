// SPDX-License-Identifier: MIT
#include "kms_snapshot.hpp"

#include "kms_request.hpp"

#include <xf86drm.h>

#include <array>
#include <cstdint>
#include <system_error>

namespace devices {
namespace {

constexpr std::array plane_properties{"FB_ID", "CRTC_ID", "SRC_X",  "SRC_Y",  "SRC_W",
                                      "SRC_H", "CRTC_X",  "CRTC_Y", "CRTC_W", "CRTC_H"};

} // namespace

kms_snapshot::kms_snapshot(const drm_card& card, const kms_pipe& before) : card_{card}, before_{before} {
    if (const std::uint64_t mode = before.crtc.at("MODE_ID").value; mode != 0) {
        mode_.emplace(kms_blob::copy(card, mode));
    }
}

void kms_snapshot::restore() noexcept {
    try {
        show_again();
    } catch (const std::system_error&) {
        try {
            make_black();                     // the picture of then is gone
        } catch (const std::system_error&) {} // so is the card
    }
}

void kms_snapshot::show_again() {
    kms_request request{card_};
    request.set(before_.connector, "CRTC_ID", before_.connector.at("CRTC_ID").value);
    request.set(before_.crtc, "MODE_ID", mode_ ? mode_->id() : 0);
    request.set(before_.crtc, "ACTIVE", before_.crtc.at("ACTIVE").value);
    for (const char* name : plane_properties) { request.set(before_.plane, name, before_.plane.at(name).value); }
    request.commit(DRM_MODE_ATOMIC_ALLOW_MODESET);
}

void kms_snapshot::make_black() {
    kms_request request{card_};
    request.set(before_.connector, "CRTC_ID", 0);
    request.set(before_.crtc, "MODE_ID", 0);
    request.set(before_.crtc, "ACTIVE", 0);
    request.set(before_.plane, "FB_ID", 0);
    request.set(before_.plane, "CRTC_ID", 0);
    request.commit(DRM_MODE_ATOMIC_ALLOW_MODESET);
}

} // namespace devices
