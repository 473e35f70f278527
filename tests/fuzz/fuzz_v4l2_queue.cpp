// SPDX-License-Identifier: MIT
// The queue of the examples to a Video4Linux device that answers anything.
// Input: from the front what is asked of the device, from the back what it answers.
#include <devices/v4l2_queue.hpp>

#include "input.hpp"

#include <support/fake_dma_buf.hpp>

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstddef>
#include <cstdint>
#include <system_error>

#include <linux/videodev2.h>

namespace {

/// A device that does what it is asked, as far as the bytes of the input are zero.
class device : public support::meddler {
public:
    explicit device(fuzz::input& in) noexcept : in_{in} {}

    int refuse_request(unsigned long /*request*/, const void* /*argument*/) override {
        constexpr std::array errors{EINTR, EAGAIN, EINVAL, EIO, ENODEV, EPIPE, EBUSY, ENOTTY};
        const unsigned choice = in_.last_byte();
        return choice >= 0xc0 ? errors.at(choice % errors.size()) : 0;
    }

    int answer_unknown(unsigned long request, void* argument) override {
        switch (request) {
        case VIDIOC_S_FMT: return answer_format(*static_cast<v4l2_format*>(argument));
        case VIDIOC_REQBUFS: change(static_cast<v4l2_requestbuffers*>(argument)->count); break;
        case VIDIOC_DQBUF: return answer_buffer(*static_cast<v4l2_buffer*>(argument));
        default: break;
        }
        return 0;
    }

private:
    int answer_format(v4l2_format& f) {
        v4l2_pix_format& p = f.fmt.pix;
        p.sizeimage = p.bytesperline * p.height;
        const unsigned what = in_.last_byte();
        if ((what & 1U) != 0) { change(p.width); }
        if ((what & 2U) != 0) { change(p.height); }
        if ((what & 4U) != 0) { change(p.bytesperline); }
        if ((what & 8U) != 0) { change(p.sizeimage); }
        if ((what & 16U) != 0) { change(p.pixelformat); }
        if ((what & 32U) != 0) { change(p.field); }
        return 0;
    }

    int answer_buffer(v4l2_buffer& b) {
        b.index = in_.last_byte();
        b.flags = (b.index & 0x40U) != 0 ? V4L2_BUF_FLAG_ERROR : 0;
        if (b.index >= 0x80) { change(b.index); }
        change(b.sequence);
        return 0;
    }

    void change(std::uint32_t& field) {
        const unsigned choice = in_.last_byte();
        if (choice == 0) { return; }
        constexpr std::array<std::uint32_t, 8> values{0, 1, 0x7fff'ffff, 0x8000'0000, 0xffff'ffff, 16384, 4, 65536};
        field = choice >= 0x80 ? values.at(choice % values.size()) : field + choice;
    }

    fuzz::input& in_;
};

bool is_documented(const std::error_code& ec) {
    return ec.category() == std::generic_category() && ec.value() > 0 && ec.value() <= 4095 && ec.value() != EINTR;
}

class program {
public:
    explicit program(fuzz::input& in) : in_{in}, device_{in} {}

    void run() {
        const support::meddling scope{device_};
        while (!in_.empty()) {
            try {
                step();
            } catch (const std::system_error& error) { FUZZ_REQUIRE(is_documented(error.code())); }
        }
    }

private:
    void step() {
        const unsigned operation = in_.byte();
        switch (operation % 8) {
        case 0: set_format(); break;
        case 1: request_places(operation / 8); break;
        case 2: queue_.queue(operation / 8, 0); break;
        case 3: queue_.start(); break;
        case 4:
            queue_.stop();
            FUZZ_REQUIRE(!queue_.running());
            break;
        default: dequeue(); break;
        }
    }

    /// A format is as asked for, or refused.
    void set_format() {
        devices::picture_format wanted;
        wanted.width = in_.number<std::uint16_t>();
        wanted.height = in_.number<std::uint16_t>();
        wanted.bytes_per_line = in_.number<std::uint32_t>();
        wanted.pixel_format = V4L2_PIX_FMT_XBGR32;
        queue_.set_format(wanted);
    }

    void request_places(unsigned count) {
        places_ = 0;
        queue_.request_places(count);
        places_ = count;
    }

    /// A place is one of those that were asked for: code that takes it for an index is safe.
    void dequeue() {
        const auto done = queue_.dequeue();
        FUZZ_REQUIRE(!done || done->index < places_);
    }

    fuzz::input& in_;
    device device_;
    support::fake_device node_{"/dev/video-fuzzed"};
    devices::device_node file_{"/dev/video-fuzzed"};
    devices::v4l2_queue queue_{file_, devices::v4l2_queue::direction::from_device};
    unsigned places_ = 0;
};

} // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
    const std::size_t before = support::open_descriptors();
    {
        fuzz::input in{data, std::min<std::size_t>(size, 512)};
        program{in}.run();
    }
    FUZZ_REQUIRE(support::open_descriptors() == before);
    support::forget_fakes();
    return 0;
}
