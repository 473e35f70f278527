// SPDX-License-Identifier: MIT
#pragma once
/// \file kms_object.hpp  A connector, a scan-out engine (CRTC) or a plane of a graphics card: properties with names.

#include "drm_card.hpp"

#include <cstdint>
#include <map>
#include <string>
#include <string_view>

namespace devices {

/// What the properties of an object were when this was made.
class kms_object {
public:
    /// `type` is one of DRM_MODE_OBJECT_... Throws std::system_error.
    kms_object(const drm_card& card, std::uint32_t id, std::uint32_t type);

    struct property {
        std::uint32_t id = 0;
        std::uint64_t value = 0;
    };

    [[nodiscard]] std::uint32_t id() const noexcept { return id_; }

    /// Throws std::system_error when the object has no property of this name.
    [[nodiscard]] const property& at(std::string_view name) const;

private:
    const drm_card* card_;
    std::uint32_t id_;
    std::map<std::string, property, std::less<>> properties_;
};

} // namespace devices
