// SPDX-License-Identifier: MIT
#pragma once
/// \file v4l2_capture.hpp  A camera that puts its pictures into buffers of others.

#include "v4l2_device.hpp"
#include "v4l2_queue.hpp"

#include <optional>
#include <string_view>

namespace devices {

/// Every call throws std::system_error.
class v4l2_capture {
public:
    /// Opens the first camera of a driver ("vivid", "uvcvideo", ...).
    explicit v4l2_capture(std::string_view driver);

    /// Chooses the input that gives pictures of this format at the highest rate up to `frames_per_second`.
    /// Returns: that rate. Throws, with std::errc::not_supported, when no input gives such pictures.
    double configure(const picture_format& wanted, double frames_per_second);

    /// Where buffers go in empty and come out full.
    [[nodiscard]] v4l2_queue& pictures() noexcept { return pictures_; }

    /// Readable when a picture is ready, or the queue has been stopped.
    [[nodiscard]] int fd() const noexcept { return device_.fd(); }

private:
    [[nodiscard]] std::optional<double> try_input(unsigned input, const picture_format& wanted, double most);

    device_node device_;
    v4l2_queue pictures_{device_, v4l2_queue::direction::from_device};
};

} // namespace devices
