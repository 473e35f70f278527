// SPDX-License-Identifier: MIT
#pragma once
/// \file v4l2_queue.hpp  The queue between a program and one side of a Video4Linux device, for buffers of others.

#include "device_node.hpp"

#include <cstddef>
#include <cstdint>
#include <optional>

namespace devices {

/// How a picture lies in memory. The pixel formats are Video4Linux's (V4L2_PIX_FMT_...).
struct picture_format {
    std::uint32_t width = 0;
    std::uint32_t height = 0;
    std::uint32_t pixel_format = 0;
    std::uint32_t bytes_per_line = 0;

    [[nodiscard]] std::size_t bytes() const noexcept { return std::size_t{bytes_per_line} * height; }
    [[nodiscard]] bool operator==(const picture_format&) const = default;
};

/// A buffer that the device has finished with.
struct finished_buffer {
    unsigned index = 0;
    std::uint32_t sequence = 0; // counts the device's frames, also those for which it had no buffer
    bool damaged = false;       // the device says that the content is not to be used
};

/// Buffers are dma-bufs of another device, named by their place in the queue: V4L2_MEMORY_DMABUF.
/// Every call throws std::system_error.
class v4l2_queue {
public:
    enum class direction { from_device, to_device };

    /// The device outlives the queue.
    v4l2_queue(const device_node& device, direction which);
    v4l2_queue(const v4l2_queue&) = delete;
    v4l2_queue& operator=(const v4l2_queue&) = delete;
    ~v4l2_queue() { stop(); }

    /// Sets the format. Throws, with std::errc::not_supported, when the device makes another one of it, or gives half
    /// pictures (interlaced).
    void set_format(const picture_format& wanted);

    /// Makes places for `count` buffers, numbered from 0.
    void request_places(unsigned count);

    /// Gives a buffer of at least the format's size to the device. It is the device's until it comes back from dequeue(),
    /// or the queue is stopped.
    void queue(unsigned index, int dma_buf);

    /// Takes back a buffer that the device has finished with; none when there is none yet. Its place is one of those that
    /// were asked for, whatever the device says.
    [[nodiscard]] std::optional<finished_buffer> dequeue();

    void start();

    /// Takes all buffers back, finished or not; returns when the device uses none of them any more. A coroutine that
    /// waits for the device to become readable is woken.
    void stop() noexcept;

    [[nodiscard]] bool running() const noexcept { return running_; }

private:
    const device_node& device_;
    std::uint32_t type_;
    std::size_t bytes_ = 0; // of a picture; 0 before set_format
    unsigned places_ = 0;   // that there are, as far as this program knows
    bool running_ = false;
};

} // namespace devices
