// SPDX-License-Identifier: MIT
#include "v4l2_m2m.hpp"

#include <linux/videodev2.h>

#include <string>

namespace devices {

v4l2_m2m::v4l2_m2m(std::string_view driver)
    : device_{open_v4l2_device(driver, V4L2_CAP_VIDEO_M2M | V4L2_CAP_STREAMING)} {}

void v4l2_m2m::set_control(std::uint32_t control, std::int32_t value, std::string_view name) {
    v4l2_control setting{.id = control, .value = value};
    device_.call(VIDIOC_S_CTRL, &setting, "VIDIOC_S_CTRL of " + std::string{name});
}

} // namespace devices
