// SPDX-License-Identifier: MIT
#include "options.hpp"

#include <doctest/doctest.h>

#include <array>
#include <chrono>
#include <span>
#include <stdexcept>

using namespace camera_to_display;
using namespace std::chrono_literals;

namespace {

template <class... Words>
options parse(Words... words) {
    const std::array<const char*, sizeof...(Words)> all{words...};
    return parse_options(all);
}

} // namespace

TEST_CASE("without options the program runs on the virtual devices until it is interrupted") {
    const options chosen = parse_options({});
    CHECK(chosen.camera == "vivid");
    CHECK(chosen.card == "virtio_gpu");
    CHECK(chosen.frames == 0);
    CHECK_FALSE(chosen.epoll);
    CHECK_FALSE(chosen.help);
}

TEST_CASE("options are taken as they are given") {
    const options chosen =
        parse("--frames", "300", "--camera", "uvcvideo", "--card", "i915", "--slow-overlay", "80", "--epoll");
    CHECK(chosen.frames == 300);
    CHECK(chosen.camera == "uvcvideo");
    CHECK(chosen.card == "i915");
    CHECK(chosen.overlay_delay == 80ms);
    CHECK(chosen.epoll);
    CHECK(parse("-h").help);
}

TEST_CASE("a command line that makes no sense is refused") {
    CHECK_THROWS_AS(parse("--frames"), std::invalid_argument);
    CHECK_THROWS_AS(parse("--frames", "many"), std::invalid_argument);
    CHECK_THROWS_AS(parse("--slow-overlay", "60001"), std::invalid_argument);
    CHECK_THROWS_AS(parse("--epoll=yes"), std::invalid_argument);
    CHECK_THROWS_AS(parse("film.mp4"), std::invalid_argument);
}
