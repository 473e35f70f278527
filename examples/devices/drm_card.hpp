// SPDX-License-Identifier: MIT
#pragma once
/// \file drm_card.hpp  A graphics card, found by the name of its driver, never by number.

#include "device_node.hpp"

#include <string>
#include <string_view>

namespace devices {

class drm_card {
public:
    /// Opens the card of a driver ("virtio_gpu", ...). Throws std::system_error, with std::errc::no_such_device when there
    /// is none.
    explicit drm_card(std::string_view driver);
    drm_card(const drm_card&) = delete; // its buffers and outputs refer to it
    drm_card& operator=(const drm_card&) = delete;

    /// Readable when there is an event.
    [[nodiscard]] int fd() const noexcept { return device_.fd(); }

    /// Throws std::system_error when a libdrm call that returns 0 or a negative error has failed.
    void check(int result, std::string_view call) const;

    /// Throws std::system_error.
    [[noreturn]] void fail(std::string_view call, int error) const { devices::fail(device_.path(), call, error); }

private:
    device_node device_;
};

} // namespace devices
