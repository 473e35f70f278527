// SPDX-License-Identifier: MIT
#include "v4l2_capture.hpp"

#include <linux/videodev2.h>

#include <algorithm>
#include <cerrno>
#include <cmath>
#include <cstdint>
#include <system_error>
#include <utility>

namespace devices {
namespace {

constexpr double tolerance = 0.01; // clocks are given in whole hertz

double rate_of(const v4l2_bt_timings& t) noexcept {
    const double pixels = 1.0 * V4L2_DV_BT_FRAME_WIDTH(&t) * V4L2_DV_BT_FRAME_HEIGHT(&t);
    return pixels > 0 ? static_cast<double>(t.pixelclock) / pixels : 0;
}

/// The fastest first; of those that are equally fast, the one with the fewest pixels.
bool is_better(const v4l2_bt_timings& a, const v4l2_bt_timings& b) noexcept {
    if (std::abs(rate_of(a) - rate_of(b)) > tolerance) { return rate_of(a) > rate_of(b); }
    return std::uint64_t{a.width} * a.height < std::uint64_t{b.width} * b.height;
}

/// What a digital source (HDMI) is to send: the fastest whole pictures up to `most`.
std::optional<v4l2_dv_timings> find_timings(const device_node& device, double most) {
    std::optional<v4l2_dv_timings> best;
    v4l2_enum_dv_timings entry{};
    for (; device.try_call(VIDIOC_ENUM_DV_TIMINGS, &entry) == 0; ++entry.index) {
        v4l2_bt_timings& t = entry.timings.bt;
        if (t.interlaced != V4L2_DV_PROGRESSIVE || rate_of(t) > most + tolerance) { continue; }
        if (!best || is_better(t, best->bt)) { best = entry.timings; }
    }
    return best;
}

/// Asks for `most` pictures per second. Returns: how many there will be.
double set_rate(const device_node& device, double most) {
    v4l2_streamparm parameters{};
    parameters.type = V4L2_BUF_TYPE_VIDEO_CAPTURE;
    v4l2_fract& interval = parameters.parm.capture.timeperframe;
    interval = {.numerator = 1000, .denominator = static_cast<std::uint32_t>(std::lround(most * 1000))};
    device.call(VIDIOC_S_PARM, &parameters, "VIDIOC_S_PARM");
    return interval.numerator == 0 ? 0 : 1.0 * interval.denominator / interval.numerator;
}

bool is_digital(const device_node& device, unsigned input) {
    v4l2_input about{};
    about.index = input;
    return device.try_call(VIDIOC_ENUMINPUT, &about) == 0 && (about.capabilities & V4L2_IN_CAP_DV_TIMINGS) != 0;
}

unsigned count_inputs(const device_node& device) {
    v4l2_input about{};
    while (device.try_call(VIDIOC_ENUMINPUT, &about) == 0) { ++about.index; }
    return about.index;
}

} // namespace

v4l2_capture::v4l2_capture(std::string_view driver)
    : device_{open_v4l2_device(driver, V4L2_CAP_VIDEO_CAPTURE | V4L2_CAP_STREAMING)} {}

double v4l2_capture::configure(const picture_format& wanted, double frames_per_second) {
    std::optional<std::pair<double, unsigned>> best;
    for (unsigned input = 0; input < count_inputs(device_); ++input) {
        const std::optional<double> rate = try_input(input, wanted, frames_per_second);
        if (rate && (!best || *rate > best->first + tolerance)) { best.emplace(*rate, input); }
    }
    if (!best) { fail(device_.path(), "no input gives pictures of this format", ENOTSUP); }
    return try_input(best->second, wanted, frames_per_second).value();
}

/// Returns: the rate; none when the input cannot give such pictures as slowly as that.
std::optional<double> v4l2_capture::try_input(unsigned input, const picture_format& wanted, double most) {
    int number = static_cast<int>(input);
    device_.call(VIDIOC_S_INPUT, &number, "VIDIOC_S_INPUT");
    if (is_digital(device_, input)) {
        auto timings = find_timings(device_, most);
        if (!timings) { return std::nullopt; }
        device_.call(VIDIOC_S_DV_TIMINGS, &*timings, "VIDIOC_S_DV_TIMINGS");
    }
    try {
        pictures_.set_format(wanted);
    } catch (const std::system_error& error) {
        if (error.code() != std::errc::not_supported) { throw; }
        return std::nullopt;
    }
    const double rate = set_rate(device_, most);
    return rate > most + tolerance ? std::nullopt : std::optional{rate};
}

} // namespace devices
