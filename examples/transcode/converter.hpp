// SPDX-License-Identifier: MIT
#pragma once
/// \file converter.hpp  A device that makes other pictures of pictures, from memory to memory.

#include "devices/v4l2_m2m.hpp"
#include "workshop.hpp"

#include <dmasync/task.hpp>

#include <string_view>

namespace transcode {

/// Mirrors pictures left to right, and makes blue, green, red of red, green, blue.
class converter {
public:
    /// Opens the first converter of a driver. Throws std::system_error.
    converter(workshop& w, std::string_view driver);

    /// Converts pictures until there are no more. Throws what goes wrong.
    [[nodiscard]] dmasync::task<> run();

private:
    [[nodiscard]] dmasync::task<> convert(std::size_t source, std::size_t result);
    [[nodiscard]] dmasync::task<> wait_for_result();

    workshop& workshop_;
    devices::v4l2_m2m device_;
};

} // namespace transcode
