// SPDX-License-Identifier: MIT
#include "progress.hpp"

#include "heartbeat.hpp"
#include "timestamp.hpp"

#include <dmasync/manual_loop.hpp>

#include <doctest/doctest.h>

using namespace pipeline;
using namespace std::chrono_literals;

TEST_CASE("progress shows frames, speed, time left and expired leases") {
    const progress_state state{.frames = 27, .frames_total = 54, .leases_expired = 1, .elapsed = 10s};
    CHECK(progress_text(state) == "frame 27 of 54 (50%), 2.7 fps, ETA 0:10, 1 lease expired");
}

TEST_CASE("without a total there is neither a share nor a time left") {
    const progress_state state{.frames = 27, .frames_total = {}, .leases_expired = 0, .elapsed = 10s};
    CHECK(progress_text(state) == "frame 27, 2.7 fps, 0 leases expired");
}

TEST_CASE("a total that was too small is not exceeded") {
    const progress_state state{.frames = 60, .frames_total = 54, .leases_expired = 0, .elapsed = 10s};
    CHECK(progress_text(state) == "frame 60 of 54 (100%), 6.0 fps, ETA 0:00, 0 leases expired");
}

TEST_CASE("before the first frame nothing is divided by zero") {
    const progress_state state{.frames = 0, .frames_total = 0, .leases_expired = 0, .elapsed = 0s};
    CHECK(progress_text(state) == "frame 0, 0.0 fps, 0 leases expired");
}

TEST_CASE("the summary says what was done and how fast") {
    CHECK(summary_text({.frames = 54, .frames_total = 54, .leases_expired = 2, .elapsed = 4s}) ==
          "54 frames in 4.0 s (13.5 fps), 2 leases expired");
    CHECK(summary_text({.frames = 1, .frames_total = {}, .leases_expired = 0, .elapsed = 1s}) ==
          "1 frame in 1.0 s (1.0 fps), 0 leases expired");
}

TEST_CASE("a timestamp is when the frame is shown") {
    CHECK(timestamp(0, {24, 1}) == "0:00.000");
    CHECK(timestamp(36, {24, 1}) == "0:01.500");
    CHECK(timestamp(24000, {24000, 1001}) == "16:41.000");
}

TEST_CASE("without a frame rate a timestamp is the frame's number") { CHECK(timestamp(12, {}) == "#12"); }

TEST_CASE("durations read like a clock") {
    CHECK(duration_text(0.4) == "0:00");
    CHECK(duration_text(62) == "1:02");
    CHECK(duration_text(3602) == "1:00:02");
}

TEST_CASE("a heart beats at intervals while its loop runs, and no more when it is gone") {
    dmasync::manual_loop loop;
    int beats = 0;
    {
        const heartbeat heart{loop, 100ms, [&] { ++beats; }};
        loop.advance(99ms);
        CHECK(beats == 0);
        loop.advance(1ms);
        loop.advance(100ms);
        CHECK(beats == 2);
    }
    loop.advance(1s);
    CHECK(beats == 2);
}
