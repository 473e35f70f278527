// SPDX-License-Identifier: MIT
#pragma once
/// \file dumb_buffer.hpp  Memory of a graphics card that it can show, and that others can use as a dma-buf.

#include "drm_card.hpp"

#include <dmasync/unique_fd.hpp>

#include <cstddef>
#include <cstdint>
#include <utility>

namespace devices {

/// A picture of 32 bits per pixel. The card outlives it; a dma-buf that was exported from it keeps the memory alive.
/// Every call throws std::system_error.
class dumb_buffer {
public:
    dumb_buffer(const drm_card& card, std::uint32_t width, std::uint32_t height);
    dumb_buffer(dumb_buffer&& other) noexcept
        : card_{other.card_},
          handle_{std::exchange(other.handle_, 0)},
          bytes_per_line_{other.bytes_per_line_},
          bytes_{other.bytes_} {}
    dumb_buffer& operator=(dumb_buffer&&) = delete;
    ~dumb_buffer();

    /// A descriptor of the memory, which can be mapped for reading and writing.
    [[nodiscard]] dmasync::unique_fd export_dma_buf() const;

    /// The card's name for it.
    [[nodiscard]] std::uint32_t handle() const noexcept { return handle_; }
    [[nodiscard]] std::uint32_t bytes_per_line() const noexcept { return bytes_per_line_; }
    [[nodiscard]] std::size_t bytes() const noexcept { return bytes_; }

private:
    const drm_card& card_;
    std::uint32_t handle_ = 0; // 0 after a move
    std::uint32_t bytes_per_line_ = 0;
    std::size_t bytes_ = 0;
};

} // namespace devices
