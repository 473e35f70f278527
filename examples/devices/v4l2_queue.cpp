// SPDX-License-Identifier: MIT
#include "v4l2_queue.hpp"

#include <linux/videodev2.h>

#include <cerrno>

namespace devices {
namespace {

picture_format picture_of(const v4l2_pix_format& pix) noexcept {
    return {
        .width = pix.width, .height = pix.height, .pixel_format = pix.pixelformat, .bytes_per_line = pix.bytesperline};
}

} // namespace

v4l2_queue::v4l2_queue(const device_node& device, direction which)
    : device_{device},
      type_{which == direction::from_device ? V4L2_BUF_TYPE_VIDEO_CAPTURE : V4L2_BUF_TYPE_VIDEO_OUTPUT} {}

void v4l2_queue::set_format(const picture_format& wanted) {
    v4l2_format format{};
    format.type = type_;
    format.fmt.pix.width = wanted.width;
    format.fmt.pix.height = wanted.height;
    format.fmt.pix.pixelformat = wanted.pixel_format;
    format.fmt.pix.bytesperline = wanted.bytes_per_line;
    format.fmt.pix.field = V4L2_FIELD_NONE;
    device_.call(VIDIOC_S_FMT, &format, "VIDIOC_S_FMT");
    if (picture_of(format.fmt.pix) != wanted || format.fmt.pix.sizeimage > wanted.bytes() ||
        format.fmt.pix.field != V4L2_FIELD_NONE) {
        fail(device_.path(), "VIDIOC_S_FMT gave another format than the one asked for", ENOTSUP);
    }
    bytes_ = format.fmt.pix.sizeimage;
}

void v4l2_queue::request_places(unsigned count) {
    v4l2_requestbuffers request{};
    request.count = count;
    request.type = type_;
    request.memory = V4L2_MEMORY_DMABUF;
    places_ = 0;
    device_.call(VIDIOC_REQBUFS, &request, "VIDIOC_REQBUFS");
    if (request.count < count) { fail(device_.path(), "VIDIOC_REQBUFS gave too few places for buffers", ENOBUFS); }
    places_ = count;
}

void v4l2_queue::queue(unsigned index, int dma_buf) {
    v4l2_buffer buffer{};
    buffer.index = index;
    buffer.type = type_;
    buffer.memory = V4L2_MEMORY_DMABUF;
    buffer.m.fd = dma_buf;
    buffer.bytesused = static_cast<std::uint32_t>(bytes_); // read by the device for what goes to it only
    device_.call(VIDIOC_QBUF, &buffer, "VIDIOC_QBUF");
}

std::optional<finished_buffer> v4l2_queue::dequeue() {
    v4l2_buffer buffer{};
    buffer.type = type_;
    buffer.memory = V4L2_MEMORY_DMABUF;
    const int error = device_.try_call(VIDIOC_DQBUF, &buffer);
    if (error == EAGAIN) { return std::nullopt; }
    if (error != 0) { fail(device_.path(), "VIDIOC_DQBUF", error); }
    if (buffer.index >= places_) { fail(device_.path(), "VIDIOC_DQBUF gave a buffer that was not queued", EPROTO); }
    return finished_buffer{
        .index = buffer.index, .sequence = buffer.sequence, .damaged = (buffer.flags & V4L2_BUF_FLAG_ERROR) != 0};
}

void v4l2_queue::start() {
    device_.call(VIDIOC_STREAMON, &type_, "VIDIOC_STREAMON");
    running_ = true;
}

void v4l2_queue::stop() noexcept {
    if (running_) { static_cast<void>(device_.try_call(VIDIOC_STREAMOFF, &type_)); } // fails for a device that is gone
    running_ = false;
}

} // namespace devices
