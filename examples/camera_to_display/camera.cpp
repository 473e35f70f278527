// SPDX-License-Identifier: MIT
// When may a camera write into a buffer, and when may others read it?
//
// It may from the moment the buffer is queued, so the lock comes first; until it is dequeued, so the guard is kept until
// then, in the place that has the buffer's number.
#include "camera.hpp"

#include "picture.hpp"

#include <dmasync/error.hpp>
#include <dmasync/guard.hpp>
#include <dmasync/lock.hpp>
#include <dmasync/wait.hpp>

#include <linux/videodev2.h>

#include <algorithm>
#include <system_error>
#include <utility>

namespace camera_to_display {
namespace {

/// Has a device give back all it was given, however the coroutine ends that gave it.
struct stop_at_exit {
    explicit stop_at_exit(devices::v4l2_queue& q) noexcept : queue{q} {}
    stop_at_exit(const stop_at_exit&) = delete;
    stop_at_exit& operator=(const stop_at_exit&) = delete;
    ~stop_at_exit() { queue.stop(); }
    devices::v4l2_queue& queue;
};

} // namespace

camera::camera(session& s, std::string_view driver, double frames_per_second)
    : session_{s},
      device_{driver},
      rate_{device_.configure({.width = picture_width,
                               .height = picture_height,
                               .pixel_format = V4L2_PIX_FMT_XBGR32, // DRM's XRGB8888
                               .bytes_per_line = s.pictures.front().memory.bytes_per_line()},
                              frames_per_second)} {
    device_.pictures().request_places(picture_count);
}

dmasync::task<> camera::feed() {
    const stop_at_exit stop{device_.pictures()};
    for (;;) {
        auto picture = co_await session_.idle.receive();
        if (!picture) { break; }
        co_await fill(*picture);
        if (!device_.pictures().running()) { device_.pictures().start(); }
    }
}

dmasync::task<> camera::fill(std::size_t picture) {
    const dmasync::buffer& buffer = session_.pictures[picture].buffer;
    auto held = co_await lock(dma_write(buffer), session_.options("camera"));
    held.hand_to_device();
    device_.pictures().queue(static_cast<unsigned>(picture), buffer.fd());
    filling_[picture] = std::move(held);
}

dmasync::task<> camera::collect() {
    while (device_.pictures().running() && !has_enough()) {
        std::error_code ec;
        co_await dmasync::readable(session_.loop, device_.fd(), session_.patience(), ec);
        if (!device_.pictures().running()) { break; }
        if (ec == dmasync::errc::timed_out && !has_picture()) { continue; } // the others are slow, not the camera
        if (ec) { throw std::system_error{ec, "the camera gives no picture"}; }
        while (const auto full = device_.pictures().dequeue()) {
            if (has_enough()) { break; }
            co_await pass_on(*full);
        }
    }
    session_.captured.close();
}

dmasync::task<> camera::pass_on(devices::finished_buffer full) {
    const bool late = static_cast<bool>(filling_[full.index].unlock()); // so late that the picture was given to others
    if (late || full.damaged) {
        session_.counted.note_damaged(full.sequence);
        co_await session_.idle.send(full.index);
        co_return;
    }
    session_.counted.note_captured(full.sequence);
    co_await session_.captured.send(full.index);
}

bool camera::has_picture() const noexcept {
    return std::ranges::any_of(filling_, [](const dmasync::guard& g) { return static_cast<bool>(g); });
}

bool camera::has_enough() const noexcept {
    return session_.wanted.frames != 0 && session_.counted.captured() >= session_.wanted.frames;
}

} // namespace camera_to_display
