// SPDX-License-Identifier: MIT
#pragma once
/// \file video_queue.hpp  The buffers of a video device, queued and dequeued by V4L2's own interface.

#include <dmasync/unique_fd.hpp>

#include <doctest/doctest.h>
#include <support/devices.hpp>

#include <linux/videodev2.h>

#include <cstddef>
#include <cstdint>
#include <utility>

#include <fcntl.h>
#include <poll.h>
#include <sys/ioctl.h>

namespace support {

/// One queue of an open device: a camera has one, a converter two. Unless said otherwise a failure ends the test.
class video_queue {
public:
    /// `memory`: V4L2_MEMORY_MMAP, buffers of the device's, or V4L2_MEMORY_DMABUF, of another.
    video_queue(int device, v4l2_buf_type type, v4l2_memory memory) : device_{device}, type_{type}, memory_{memory} {}

    void set_format(std::uint32_t width, std::uint32_t height, std::uint32_t pixels) const {
        v4l2_format format{};
        format.type = type_;
        format.fmt.pix.width = width;
        format.fmt.pix.height = height;
        format.fmt.pix.pixelformat = pixels;
        request(VIDIOC_S_FMT, &format);
        REQUIRE(format.fmt.pix.pixelformat == pixels);
    }

    [[nodiscard]] std::size_t picture_size() const {
        v4l2_format format{};
        format.type = type_;
        request(VIDIOC_G_FMT, &format);
        return format.fmt.pix.sizeimage;
    }

    /// Returns: how many there are then; 0 when the device refuses.
    std::uint32_t make_buffers(std::uint32_t count) const {
        v4l2_requestbuffers wanted{};
        wanted.count = count;
        wanted.type = type_;
        wanted.memory = memory_;
        return ::ioctl(device_, VIDIOC_REQBUFS, &wanted) == 0 ? wanted.count : 0;
    }

    /// Exports a buffer of the device's once more.
    [[nodiscard]] dmasync::unique_fd share(std::uint32_t index, int access = O_RDWR) const {
        v4l2_exportbuffer wanted{};
        wanted.type = type_;
        wanted.index = index;
        wanted.flags = static_cast<std::uint32_t>(access) | O_CLOEXEC;
        request(VIDIOC_EXPBUF, &wanted);
        return dmasync::unique_fd{wanted.fd};
    }

    /// Gives a buffer to the device: with the dma-buf `fd` and the bytes to be used of it, unless it is the device's own.
    void enqueue(std::uint32_t index, int fd = -1, std::size_t used = 0) const {
        v4l2_buffer b = description();
        b.index = index;
        b.bytesused = static_cast<std::uint32_t>(used);
        b.field = V4L2_FIELD_NONE;
        if (memory_ == V4L2_MEMORY_DMABUF) { b.m.fd = fd; }
        request(VIDIOC_QBUF, &b);
    }

    /// Waits until the device has finished with a buffer. Returns: its index.
    [[nodiscard]] std::uint32_t dequeue() const {
        constexpr int limit = 20'000; // milliseconds
        pollfd entry{device_, POLLIN | POLLOUT, 0};
        REQUIRE(::poll(&entry, 1, limit) == 1);
        v4l2_buffer b = description();
        request(VIDIOC_DQBUF, &b);
        CHECK((b.flags & V4L2_BUF_FLAG_ERROR) == 0);
        return b.index;
    }

    void start() const { request(VIDIOC_STREAMON, &type_); }
    void stop() const { request(VIDIOC_STREAMOFF, &type_); }

private:
    [[nodiscard]] v4l2_buffer description() const {
        v4l2_buffer b{};
        b.type = type_;
        b.memory = memory_;
        return b;
    }

    template <class Argument>
    void request(unsigned long what, Argument* argument) const {
        REQUIRE(::ioctl(device_, what, argument) == 0);
    }

    int device_;
    std::uint32_t type_;
    std::uint32_t memory_;
};

/// The queue of a camera of its own: vivid.
class camera_queue {
    dmasync::unique_fd device_ = open_video("vivid", V4L2_CAP_VIDEO_CAPTURE | V4L2_CAP_STREAMING);

public:
    camera_queue(v4l2_memory memory, std::uint32_t count) : queue_{device_.get(), V4L2_BUF_TYPE_VIDEO_CAPTURE, memory} {
        REQUIRE(device_);
        REQUIRE(queue_.make_buffers(count) >= count);
    }

    [[nodiscard]] const video_queue* operator->() const { return &queue_; }
    [[nodiscard]] dmasync::unique_fd share(std::uint32_t index, int access = O_RDWR) const {
        return queue_.share(index, access);
    }

private:
    video_queue queue_;
};

} // namespace support
