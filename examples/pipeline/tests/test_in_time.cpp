// SPDX-License-Identifier: MIT
#include "in_time.hpp"

#include "support.hpp"

#include <dmasync/domain.hpp>
#include <dmasync/lock.hpp>
#include <dmasync/manual_loop.hpp>
#include <dmasync/wait.hpp>

#include <doctest/doctest.h>

#include <chrono>
#include <stdexcept>
#include <string>

using namespace pipeline;
using namespace dmasync;
using namespace std::chrono_literals;

namespace {

struct fixture {
    manual_loop loop;
    domain media{loop, {.lease = 10ms, .report = {}}};
    buffer b = media.allocate(16);
    int attempts = 0;
    int late = 0; // how many of them hold for too long
};

task<> step(fixture& f) {
    auto held = co_await lock(write(f.b));
    if (++f.attempts <= f.late) { co_await sleep_for(f.loop, 20ms); }
    finish(held);
}

task<> break_down(fixture& f) {
    ++f.attempts;
    throw std::runtime_error{"broken"};
    co_return;
}

} // namespace

TEST_CASE("a step that is in time is done once") {
    fixture f;
    f.loop.run(in_time("step", step, f));
    CHECK(f.attempts == 1);
}

TEST_CASE("a step whose lease ran out is done again") {
    fixture f;
    f.late = most_attempts - 1;
    f.loop.run(in_time("step", step, f));
    CHECK(f.attempts == most_attempts);
}

TEST_CASE("a step that is always late is given up, by name") {
    fixture f;
    f.late = 1000;
    const std::string message = test::message_of([&] { f.loop.run(in_time("denoise, frame 7", step, f)); });
    CHECK(f.attempts == most_attempts);
    CHECK(message.starts_with("denoise, frame 7: too slow 3 times"));
    f.attempts = 0;
    CHECK(test::error_of([&] { f.loop.run(in_time("step", step, f)); }) == errc::lease_expired);
}

TEST_CASE("a step that fails otherwise is not done again") {
    fixture f;
    CHECK(test::message_of([&] { f.loop.run(in_time("step", break_down, f)); }) == "broken");
    CHECK(f.attempts == 1);
}
