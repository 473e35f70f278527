// SPDX-License-Identifier: MIT
#pragma once
/// \file kms_request.hpp  Changes of a display that happen together or not at all: an atomic commit.

#include "drm_card.hpp"
#include "kms_object.hpp"

#include <cstdint>
#include <memory>
#include <string_view>

struct _drmModeAtomicReq; // NOLINT(bugprone-reserved-identifier): libdrm's name

namespace devices {

/// The card outlives it. Every call throws std::system_error.
class kms_request {
public:
    explicit kms_request(const drm_card& card);

    /// Adds a change.
    void set(std::uint32_t object, std::uint32_t property, std::uint64_t value);
    void set(const kms_object& object, std::string_view property, std::uint64_t value) {
        set(object.id(), object.at(property).id, value);
    }

    /// Makes the changes. `flags` are DRM_MODE_ATOMIC_... and DRM_MODE_PAGE_FLIP_EVENT; the event carries `user`.
    void commit(std::uint32_t flags, void* user = nullptr);

private:
    struct deleter {
        void operator()(_drmModeAtomicReq* request) const noexcept;
    };

    const drm_card& card_;
    std::unique_ptr<_drmModeAtomicReq, deleter> request_;
};

} // namespace devices
