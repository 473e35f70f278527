// SPDX-License-Identifier: MIT
#include "drm_card.hpp"

#include <xf86drm.h>

#include <cerrno>
#include <memory>
#include <optional>
#include <system_error>
#include <utility>

namespace devices {
namespace {

bool is_of_driver(const device_node& card, std::string_view driver) {
    const std::unique_ptr<drmVersion, decltype(&drmFreeVersion)> about{drmGetVersion(card.fd()), drmFreeVersion};
    return about && std::string_view{about->name, static_cast<std::size_t>(about->name_len)} == driver;
}

/// Other people's cards may be closed to us: not a reason to stop looking.
std::optional<device_node> open_if_matching(const std::string& path, std::string_view driver) {
    try {
        device_node card{path};
        if (is_of_driver(card, driver)) { return card; }
    } catch (const std::system_error&) {}
    return std::nullopt;
}

device_node open_card(std::string_view driver) {
    for (const std::string& path : numbered_files("/dev/dri", "card")) {
        if (auto card = open_if_matching(path, driver)) { return std::move(*card); }
    }
    fail("/dev/dri/card*", "open the card of driver " + std::string{driver}, ENODEV);
}

} // namespace

drm_card::drm_card(std::string_view driver) : device_{open_card(driver)} {}

void drm_card::check(int result, std::string_view call) const {
    // Some calls of libdrm return the error, others leave it in errno.
    if (result < 0) { fail(call, result == -1 ? errno : -result); }
}

} // namespace devices
