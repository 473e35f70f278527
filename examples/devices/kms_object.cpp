// SPDX-License-Identifier: MIT
#include "kms_object.hpp"

#include <xf86drm.h>
#include <xf86drmMode.h>

#include <cerrno>
#include <memory>

namespace devices {

kms_object::kms_object(const drm_card& card, std::uint32_t id, std::uint32_t type) : card_{&card}, id_{id} {
    const std::unique_ptr<drmModeObjectProperties, decltype(&drmModeFreeObjectProperties)> all{
        drmModeObjectGetProperties(card.fd(), id, type), drmModeFreeObjectProperties};
    if (!all) { card.fail("drmModeObjectGetProperties", errno); }
    for (std::uint32_t i = 0; i < all->count_props; ++i) {
        const std::unique_ptr<drmModePropertyRes, decltype(&drmModeFreeProperty)> one{
            drmModeGetProperty(card.fd(), all->props[i]), drmModeFreeProperty};
        if (!one) { card.fail("drmModeGetProperty", errno); }
        properties_.insert_or_assign(one->name, property{.id = one->prop_id, .value = all->prop_values[i]});
    }
}

const kms_object::property& kms_object::at(std::string_view name) const {
    const auto found = properties_.find(name);
    if (found == properties_.end()) { card_->fail("find the property " + std::string{name}, ENOENT); }
    return found->second;
}

} // namespace devices
