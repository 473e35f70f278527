// SPDX-License-Identifier: MIT
#include "v4l2_device.hpp"

#include <linux/videodev2.h>

#include <cerrno>
#include <optional>
#include <string>
#include <system_error>

namespace devices {
namespace {

bool matches(const device_node& device, std::string_view driver, std::uint32_t capabilities) {
    v4l2_capability about{};
    if (device.try_call(VIDIOC_QUERYCAP, &about) != 0) { return false; }
    return reinterpret_cast<const char*>(about.driver) == driver && (about.device_caps & capabilities) == capabilities;
}

/// Other people's devices may be closed to us: not a reason to stop looking.
std::optional<device_node> open_if_matching(const std::string& path, std::string_view driver,
                                            std::uint32_t capabilities) {
    try {
        device_node device{path};
        if (matches(device, driver, capabilities)) { return device; }
    } catch (const std::system_error&) {}
    return std::nullopt;
}

} // namespace

device_node open_v4l2_device(std::string_view driver, std::uint32_t capabilities) {
    for (const std::string& path : numbered_files("/dev", "video")) {
        if (auto device = open_if_matching(path, driver, capabilities)) { return std::move(*device); }
    }
    fail("/dev/video*", "open a device of driver " + std::string{driver}, ENODEV);
}

} // namespace devices
