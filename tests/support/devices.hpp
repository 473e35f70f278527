// SPDX-License-Identifier: MIT
#pragma once
/// \file devices.hpp  Finds a device by the name of its driver: its number depends on the order of the start.

#include <dmasync/unique_fd.hpp>

#include <linux/videodev2.h>
#include <xf86drm.h>

#include <algorithm>
#include <cstdint>
#include <cstdio>
#include <filesystem>
#include <string>
#include <string_view>
#include <system_error>
#include <utility>
#include <vector>

#include <fcntl.h>
#include <sys/ioctl.h>
#include <sys/utsname.h>

namespace support {

/// Whether the running kernel is of this version or a later one.
inline bool linux_is_at_least(int major, int minor) {
    utsname name{};
    std::pair<int, int> version;
    return ::uname(&name) == 0 && std::sscanf(name.release, "%d.%d", &version.first, &version.second) == 2 &&
           version >= std::pair{major, minor};
}

/// The paths in `folder` whose last part begins with `prefix`, in order.
inline std::vector<std::string> paths_in(const std::string& folder, std::string_view prefix = "") {
    std::vector<std::string> found;
    std::error_code missing;
    for (const auto& entry : std::filesystem::directory_iterator{folder, missing}) {
        if (entry.path().filename().string().starts_with(prefix)) { found.push_back(entry.path().string()); }
    }
    std::sort(found.begin(), found.end());
    return found;
}

inline dmasync::unique_fd open_device(const std::string& path) {
    return dmasync::unique_fd{::open(path.c_str(), O_RDWR | O_CLOEXEC)};
}

/// The driver of a graphics card; empty if it is none.
inline std::string card_driver(int fd) {
    drmVersionPtr version = drmGetVersion(fd);
    if (version == nullptr) { return {}; }
    const std::string name{version->name, static_cast<std::size_t>(version->name_len)};
    drmFreeVersion(version);
    return name;
}

/// Opens the first graphics card of a driver, such as "vgem"; empty if there is none.
inline dmasync::unique_fd open_card(std::string_view driver) {
    for (const std::string& path : paths_in("/dev/dri", "card")) {
        dmasync::unique_fd card = open_device(path);
        if (card && card_driver(card.get()) == driver) { return card; }
    }
    return {};
}

/// The driver of a video device, and what this one of its devices can do: V4L2_CAP_...
struct video_device {
    std::string driver;
    std::uint32_t capabilities = 0;
};

inline video_device describe_video(int fd) {
    v4l2_capability answer{};
    if (::ioctl(fd, VIDIOC_QUERYCAP, &answer) != 0) { return {}; }
    return {reinterpret_cast<const char*>(answer.driver), answer.device_caps};
}

/// Opens the first video device of a driver, such as "vivid", that can do all of `capabilities`; empty if there is none.
inline dmasync::unique_fd open_video(std::string_view driver, std::uint32_t capabilities) {
    for (const std::string& path : paths_in("/dev", "video")) {
        dmasync::unique_fd device = open_device(path);
        if (!device) { continue; }
        const video_device found = describe_video(device.get());
        if (found.driver == driver && (found.capabilities & capabilities) == capabilities) { return device; }
    }
    return {};
}

} // namespace support
