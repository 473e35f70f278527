// SPDX-License-Identifier: MIT
// How does one lock all that a device needs for a job, and keep it until the job is done?
#include "converter.hpp"

#include "pattern.hpp"

#include <dmasync/lock.hpp>
#include <dmasync/wait.hpp>

#include <linux/videodev2.h>

#include <cerrno>
#include <cstdint>

namespace transcode {
namespace {

devices::picture_format format(std::uint32_t pixel_format) noexcept {
    return {.width = picture_width,
            .height = picture_height,
            .pixel_format = pixel_format,
            .bytes_per_line = bytes_per_line};
}

/// A job that the device has been given, or is being given. When it ends in another way than it should, the device gives
/// everything back first: only then may a guard that is older than this object unlock it.
class device_job {
public:
    explicit device_job(devices::v4l2_m2m& d) noexcept : device_{d} {}
    device_job(const device_job&) = delete;
    device_job& operator=(const device_job&) = delete;
    ~device_job() {
        if (done_) { return; }
        device_.source().stop();
        device_.result().stop();
    }

    void note_done() noexcept { done_ = true; }

private:
    devices::v4l2_m2m& device_;
    bool done_ = false;
};

} // namespace

converter::converter(workshop& w, std::string_view driver) : workshop_{w}, device_{driver} {
    device_.source().set_format(format(V4L2_PIX_FMT_RGB24));
    device_.result().set_format(format(V4L2_PIX_FMT_BGR24));
    device_.set_control(V4L2_CID_HFLIP, 1, "V4L2_CID_HFLIP");
    device_.source().request_places(buffers_per_side);
    device_.result().request_places(buffers_per_side);
    device_.source().start();
    device_.result().start();
}

dmasync::task<> converter::run() {
    for (;;) {
        auto next = co_await workshop_.drawn.receive();
        if (!next) { break; }
        auto empty = co_await workshop_.empty.receive();
        co_await convert(next->index, *empty);
        co_await workshop_.unused.send(next->index);
        co_await workshop_.converted.send(picture{*empty, next->number});
    }
    workshop_.converted.close();
}

dmasync::task<> converter::convert(std::size_t source, std::size_t result) {
    const dmasync::buffer& from = workshop_.sources[source];
    const dmasync::buffer& to = workshop_.results[result];
    auto held = co_await lock(dma_read(from), dma_write(to), workshop_.options("converter"));
    held.hand_to_device();
    device_job job{device_};
    device_.source().queue(static_cast<unsigned>(source), from.fd());
    device_.result().queue(static_cast<unsigned>(result), to.fd());
    co_await wait_for_result();
    job.note_done();
    held.unlock();
}

/// The device finishes with the source before it says that the result is ready.
dmasync::task<> converter::wait_for_result() {
    auto done = device_.result().dequeue();
    while (!done) {
        co_await dmasync::readable(workshop_.loop, device_.fd(), workshop_.patience());
        done = device_.result().dequeue();
    }
    if (!device_.source().dequeue() || done->damaged) { devices::fail("the converter", "convert a picture", EIO); }
}

} // namespace transcode
