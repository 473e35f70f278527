// SPDX-License-Identifier: MIT
#pragma once
/// \file camera.hpp  The camera's part: it is given idle pictures and gives back full ones.

#include "devices/v4l2_capture.hpp"
#include "session.hpp"

#include <dmasync/guard.hpp>
#include <dmasync/task.hpp>

#include <array>
#include <cstddef>
#include <string_view>

namespace camera_to_display {

/// Both tasks run beside each other. Each throws what goes wrong; errors of std::errc::operation_canceled after a stop.
class camera {
public:
    /// Opens the first camera of a driver. Throws std::system_error.
    camera(session& s, std::string_view driver, double frames_per_second);

    /// How many pictures the camera gives per second.
    [[nodiscard]] double rate() const noexcept { return rate_; }

    /// Gives idle pictures to the camera, until there are no more; stops the camera then.
    [[nodiscard]] dmasync::task<> feed();

    /// Takes full pictures from the camera, until there are as many as the session wants, or the camera has stopped.
    [[nodiscard]] dmasync::task<> collect();

private:
    [[nodiscard]] dmasync::task<> fill(std::size_t picture);
    [[nodiscard]] dmasync::task<> pass_on(devices::finished_buffer full);
    [[nodiscard]] bool has_picture() const noexcept;
    [[nodiscard]] bool has_enough() const noexcept;

    session& session_;
    std::array<dmasync::guard, picture_count> filling_; // before the device: unlocked after it has stopped
    devices::v4l2_capture device_;
    double rate_;
};

} // namespace camera_to_display
