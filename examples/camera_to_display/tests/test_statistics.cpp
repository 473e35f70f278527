// SPDX-License-Identifier: MIT
#include "statistics.hpp"

#include <doctest/doctest.h>

#include <chrono>
#include <cstdint>

using namespace camera_to_display;
using namespace std::chrono_literals;

TEST_CASE("frames that the camera counted but did not deliver were dropped") {
    statistics counted;
    for (const std::uint32_t sequence : {5U, 6U, 9U}) { counted.note_captured(sequence); }
    CHECK(counted.captured() == 3);
    CHECK(counted.text() == "3 frames captured, 0 shown, 2 dropped, 0 damaged, 0.0 fps");
}

TEST_CASE("the camera's count may begin anew") {
    statistics counted;
    for (const std::uint32_t sequence : {0xffff'fffeU, 0xffff'ffffU, 0U, 2U}) { counted.note_captured(sequence); }
    CHECK(counted.text() == "4 frames captured, 0 shown, 1 dropped, 0 damaged, 0.0 fps");
}

TEST_CASE("a camera that counts a frame twice has dropped none") {
    statistics counted;
    for (const std::uint32_t sequence : {7U, 7U, 8U}) { counted.note_captured(sequence); }
    CHECK(counted.text() == "3 frames captured, 0 shown, 0 dropped, 0 damaged, 0.0 fps");
}

TEST_CASE("a frame that is lost on the way was dropped") {
    statistics counted;
    counted.note_captured(0);
    counted.note_lost();
    CHECK(counted.text() == "1 frames captured, 0 shown, 1 dropped, 0 damaged, 0.0 fps");
}

TEST_CASE("frames per second are those between the first frame that was shown and the last") {
    statistics counted;
    const statistics::time_point start{1h};
    for (const auto after : {0ms, 40ms, 50ms, 100ms}) { counted.note_shown(start + after); }
    CHECK(counted.text() == "0 frames captured, 4 shown, 0 dropped, 0 damaged, 30.0 fps");
}

TEST_CASE("a frame that came out damaged is counted, and not as captured") {
    statistics counted;
    counted.note_captured(0);
    counted.note_damaged(1);
    counted.note_captured(2);
    CHECK(counted.text() == "2 frames captured, 0 shown, 0 dropped, 1 damaged, 0.0 fps");
}
