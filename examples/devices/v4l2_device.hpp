// SPDX-License-Identifier: MIT
#pragma once
/// \file v4l2_device.hpp  Video4Linux devices are found by the name of their driver, never by number.

#include "device_node.hpp"

#include <cstdint>
#include <string_view>

namespace devices {

/// Opens the first device of a driver that can do all of `capabilities` (V4L2_CAP_...). Throws std::system_error, with
/// std::errc::no_such_device when there is none.
[[nodiscard]] device_node open_v4l2_device(std::string_view driver, std::uint32_t capabilities);

} // namespace devices
