// SPDX-License-Identifier: MIT
#pragma once
/// \file v4l2_m2m.hpp  A converter from memory to memory: pictures go in, pictures come out.

#include "v4l2_device.hpp"
#include "v4l2_queue.hpp"

#include <cstdint>
#include <string_view>

namespace devices {

/// Every call throws std::system_error.
class v4l2_m2m {
public:
    /// Opens the first converter of a driver ("vim2m", ...).
    explicit v4l2_m2m(std::string_view driver);

    /// Sets one of the device's controls (V4L2_CID_...).
    void set_control(std::uint32_t control, std::int32_t value, std::string_view name);

    /// Where pictures go in.
    [[nodiscard]] v4l2_queue& source() noexcept { return source_; }
    /// Where empty buffers go in, and pictures come out.
    [[nodiscard]] v4l2_queue& result() noexcept { return result_; }

    /// Readable when a result is ready.
    [[nodiscard]] int fd() const noexcept { return device_.fd(); }

private:
    device_node device_;
    v4l2_queue source_{device_, v4l2_queue::direction::to_device};
    v4l2_queue result_{device_, v4l2_queue::direction::from_device};
};

} // namespace devices
