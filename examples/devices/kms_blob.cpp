// SPDX-License-Identifier: MIT
#include "kms_blob.hpp"

#include <xf86drmMode.h>

#include <cerrno>
#include <memory>

namespace devices {

kms_blob::kms_blob(const drm_card& card, std::span<const std::byte> value) : card_{card} {
    card_.check(drmModeCreatePropertyBlob(card_.fd(), value.data(), value.size(), &id_), "drmModeCreatePropertyBlob");
}

kms_blob::~kms_blob() {
    if (id_ != 0) { drmModeDestroyPropertyBlob(card_.fd(), id_); }
}

kms_blob kms_blob::copy(const drm_card& card, std::uint64_t other) {
    const std::unique_ptr<drmModePropertyBlobRes, decltype(&drmModeFreePropertyBlob)> blob{
        drmModeGetPropertyBlob(card.fd(), static_cast<std::uint32_t>(other)), drmModeFreePropertyBlob};
    if (!blob) { card.fail("drmModeGetPropertyBlob", errno); }
    return {card, {static_cast<const std::byte*>(blob->data), blob->length}};
}

} // namespace devices
