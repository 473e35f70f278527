// SPDX-License-Identifier: MIT
#pragma once
/// \file kms_blob.hpp  A value of a display's property that does not fit into 64 bits, such as a mode.

#include "drm_card.hpp"

#include <cstddef>
#include <cstdint>
#include <span>
#include <utility>

namespace devices {

/// The card outlives it; what has been set to it keeps the value. Throws std::system_error.
class kms_blob {
public:
    kms_blob(const drm_card& card, std::span<const std::byte> value);
    kms_blob(kms_blob&& other) noexcept : card_{other.card_}, id_{std::exchange(other.id_, 0)} {}
    kms_blob& operator=(kms_blob&&) = delete;
    ~kms_blob();

    /// A blob of one's own with the value that another has: that may go away meanwhile.
    [[nodiscard]] static kms_blob copy(const drm_card& card, std::uint64_t other);

    /// What stands for it as the value of a property.
    [[nodiscard]] std::uint32_t id() const noexcept { return id_; }

private:
    const drm_card& card_;
    std::uint32_t id_ = 0; // 0 after a move
};

} // namespace devices
