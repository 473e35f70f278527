// SPDX-License-Identifier: MIT
// The example with camera and display, on a camera and a display: nothing is torn, nothing is lost, all is put back.
#include <devices/drm_card.hpp>
#include <devices/dumb_buffer.hpp>
#include <devices/framebuffer.hpp>
#include <devices/kms_output.hpp>
#include <devices/kms_pipe.hpp>
#include <devices/v4l2_device.hpp>
#include <screenshot.hpp>
#include <stamp.hpp>

#include <doctest/doctest.h>
#include <support/running_program.hpp>
#include <support/test_machine.hpp>

#include <drm_fourcc.h>
#include <linux/videodev2.h>
#include <xf86drm.h>

#include <algorithm>
#include <chrono>
#include <cstdint>
#include <cstdio>
#include <filesystem>
#include <optional>
#include <set>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include <poll.h>
#include <sys/mman.h>

using namespace camera_to_display;
using namespace std::chrono_literals;
using support::running_program;

namespace {

const std::string program = EXAMPLE_PROGRAM;

std::optional<screenshot> look_at_screen() {
    const std::string file = support::scratch_folder() + "/screen.ppm";
    REQUIRE(support::take_screendump(file) == "ok");
    auto shot = read_screenshot(file);
    std::filesystem::remove(file);
    return shot;
}

/// Returns the first look at the screen that has a stamp in it.
screenshot wait_for_first_picture() {
    for (int tries = 0; tries < 300; ++tries) {
        auto shot = look_at_screen();
        if (shot && read_stamp(shot->view())) { return *std::move(shot); }
        std::this_thread::sleep_for(100ms);
    }
    FAIL("there was no picture");
    return {};
}

/// Has the camera's picture move, so that every frame differs from the one before in every line.
void make_camera_pan() {
    const devices::device_node camera = devices::open_v4l2_device("vivid", V4L2_CAP_VIDEO_CAPTURE);
    v4l2_queryctrl control{};
    control.id = V4L2_CTRL_FLAG_NEXT_CTRL;
    while (camera.try_call(VIDIOC_QUERYCTRL, &control) == 0) {
        if (std::string{reinterpret_cast<const char*>(control.name)} == "Horizontal Movement") {
            v4l2_control fast_to_the_right{.id = control.id, .value = control.maximum};
            camera.call(VIDIOC_S_CTRL, &fast_to_the_right, "VIDIOC_S_CTRL");
            return;
        }
        control.id |= V4L2_CTRL_FLAG_NEXT_CTRL;
    }
    FAIL("vivid has no such control");
}

struct observations {
    std::set<std::uint32_t> frames; // that were seen
    int torn = 0;
    int without_stamp = 0; // since the last with one: at the end, the screen is dark before the program has ended
    std::size_t fewest_descriptors = 1'000'000;
    std::size_t most_descriptors = 0;

    void add(const screenshot& shot, const stamp& found) {
        frames.insert(found.number);
        torn += std::exchange(without_stamp, 0);
        if (checksum_of(shot.view(), found.number) != found.checksum) { ++torn; }
    }

    void add_descriptors(std::size_t count) {
        fewest_descriptors = std::min(fewest_descriptors, count);
        most_descriptors = std::max(most_descriptors, count);
    }
};

/// Looks at the screen until the program has ended.
observations watch(const running_program& p) {
    observations seen;
    const screenshot first = wait_for_first_picture();
    seen.add(first, read_stamp(first.view()).value());
    while (p.runs()) {
        const std::size_t descriptors = p.open_descriptors();
        const auto shot = look_at_screen();
        REQUIRE(shot);
        if (const auto found = read_stamp(shot->view())) {
            seen.add(*shot, *found);
            seen.add_descriptors(descriptors);
        } else {
            ++seen.without_stamp;
        }
        std::this_thread::sleep_for(70ms); // no multiple of a frame
    }
    return seen;
}

bool contains(const std::string& text, const std::string& part) { return text.find(part) != std::string::npos; }

/// A program that shows one colour, and lets others have the screen for a while.
class plain_screen {
public:
    explicit plain_screen(std::uint32_t colour) {
        const dmasync::unique_fd dma_buf = memory_.export_dma_buf();
        void* p = ::mmap(nullptr, memory_.bytes(), PROT_READ | PROT_WRITE, MAP_SHARED, dma_buf.get(), 0);
        REQUIRE(p != MAP_FAILED);
        std::fill_n(static_cast<std::uint32_t*>(p), memory_.bytes() / sizeof colour, colour);
        ::munmap(p, memory_.bytes());
        const dmasync::unique_fd fence = output_.show(picture_);
        while (!output_.flipped()) {
            pollfd entry{card_.fd(), POLLIN, 0};
            ::poll(&entry, 1, -1);
        }
        REQUIRE(::drmDropMaster(card_.fd()) == 0);
    }
    plain_screen(const plain_screen&) = delete;
    plain_screen& operator=(const plain_screen&) = delete;
    ~plain_screen() { ::drmSetMaster(card_.fd()); }

private:
    devices::drm_card card_{"virtio_gpu"};
    devices::dumb_buffer memory_{card_, picture_width, picture_height};
    devices::framebuffer picture_{card_, memory_, picture_width, picture_height, DRM_FORMAT_XRGB8888};
    devices::kms_output output_{card_, picture_width, picture_height};
};

bool is_active() {
    const devices::drm_card card{"virtio_gpu"};
    return devices::find_kms_pipe(card, picture_width, picture_height).crtc.at("ACTIVE").value != 0;
}

} // namespace

TEST_CASE("every picture that is seen on the screen is of one frame, and no frame is lost on the way there") {
    make_camera_pan();
    running_program p{program, {"--frames", "150"}};
    const observations seen = watch(p);
    const auto outcome = p.wait();
    std::printf("%s%zu pictures seen, %d torn; %zu to %zu descriptors\n", outcome.output.c_str(), seen.frames.size(),
                seen.torn, seen.fewest_descriptors, seen.most_descriptors);
    CHECK(outcome.exit_code == 0);
    CHECK(contains(outcome.output, "150 frames captured, 150 shown"));
    CHECK(contains(outcome.output, "0 leases expired"));
    CHECK(seen.frames.size() >= 3);
    CHECK(seen.torn == 0);
    CHECK(seen.most_descriptors - seen.fewest_descriptors <= 2); // the fence of a flip, and its copy
}

TEST_CASE("when the processor is too slow for the camera frames are dropped, and none is torn") {
    make_camera_pan();
    running_program p{program, {"--frames", "30", "--slow-overlay", "90"}};
    const observations seen = watch(p);
    const auto outcome = p.wait();
    std::printf("%s%zu pictures seen, %d torn\n", outcome.output.c_str(), seen.frames.size(), seen.torn);
    CHECK(outcome.exit_code == 0);
    CHECK(contains(outcome.output, "30 frames captured, 30 shown"));
    CHECK_FALSE(contains(outcome.output, " 0 dropped"));
    CHECK(seen.frames.size() >= 1);
    CHECK(seen.torn == 0);
}

TEST_CASE("a display that has refreshes, and says at which of them a flip takes place, is as good") {
    running_program p{program, {"--card", "vkms", "--frames", "30"}};
    const auto outcome = p.wait();
    std::printf("%s", outcome.output.c_str());
    CHECK(outcome.exit_code == 0);
    CHECK(contains(outcome.output, "30 frames captured, 30 shown"));
    CHECK(contains(outcome.output, "0 leases expired"));
}

TEST_CASE("an interruption ends the program as it should: with a summary, and a screen that is dark as before") {
    for (const int signal : {SIGINT, SIGTERM}) {
        REQUIRE_FALSE(is_active());
        running_program p{program, {"--epoll"}};
        wait_for_first_picture();
        p.send(signal);
        const auto outcome = p.wait();
        CHECK(outcome.exit_code == 0);
        CHECK(contains(outcome.output, "frames captured"));
        CHECK(contains(outcome.output, "0 leases expired"));
        CHECK_FALSE(is_active());
    }
}

TEST_CASE("the screen shows again what it showed before") {
    constexpr std::uint32_t colour = 0x0012'3456;
    const plain_screen before{colour};
    running_program p{program, {"--frames", "10"}};
    CHECK(p.wait().exit_code == 0);
    const auto shot = look_at_screen();
    REQUIRE(shot);
    CHECK(std::ranges::all_of(shot->pixels, [](std::uint32_t pixel) { return pixel == colour; }));
}

TEST_CASE("a device that is not there, and one that is in use, are named") {
    running_program missing{program, {"--camera", "nothing"}};
    const auto outcome = missing.wait();
    CHECK(outcome.exit_code == 1);
    CHECK(contains(outcome.output, "open a device of driver nothing: No such device"));

    const devices::drm_card busy{"virtio_gpu"}; // is the master of the card
    running_program second{program, {"--frames", "10"}};
    const auto refused = second.wait();
    CHECK(refused.exit_code == 1);
    CHECK(contains(refused.output, "drmModeAtomicCommit: Permission denied"));
}
