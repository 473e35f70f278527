// SPDX-License-Identifier: MIT
#pragma once
/// \file framebuffer.hpp  A picture in the memory of a graphics card, described so that it can be shown.

#include "drm_card.hpp"
#include "dumb_buffer.hpp"

#include <cstdint>
#include <utility>

namespace devices {

/// The card outlives it. Destroying one that is on the screen makes the screen black.
class framebuffer {
public:
    /// `pixel_format` is one of DRM's (DRM_FORMAT_...), with 32 bits per pixel. Throws std::system_error.
    framebuffer(const drm_card& card, const dumb_buffer& memory, std::uint32_t width, std::uint32_t height,
                std::uint32_t pixel_format);
    framebuffer(framebuffer&& other) noexcept : card_{other.card_}, id_{std::exchange(other.id_, 0)} {}
    framebuffer& operator=(framebuffer&&) = delete;
    ~framebuffer();

    [[nodiscard]] std::uint32_t id() const noexcept { return id_; }

private:
    const drm_card& card_;
    std::uint32_t id_ = 0; // 0 after a move
};

} // namespace devices
