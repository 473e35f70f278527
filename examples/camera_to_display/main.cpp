// SPDX-License-Identifier: MIT
// Can a camera, the processor and a display work on the same buffers, each by its own means, and never at the same time?
// One coroutine for each of them, on one thread; `--help` says more.
#include "camera.hpp"
#include "common/first_failure.hpp"
#include "common/interruption.hpp"
#include "common/make_loop.hpp"
#include "devices/drm_card.hpp"
#include "display.hpp"
#include "options.hpp"
#include "overlay.hpp"
#include "session.hpp"

#include <dmasync/when_all.hpp>

#include <cstddef>
#include <cstdio>
#include <exception>
#include <span>
#include <stdexcept>
#include <stop_token>
#include <string>
#include <string_view>
#include <system_error>

using namespace camera_to_display;
using common::note_failure;

namespace {

constexpr double frames_per_second = 30;

dmasync::task<> run_all(session& s, camera& c, common::first_failure& failure) {
    co_await dmasync::when_all(note_failure(c.feed(), failure), note_failure(c.collect(), failure),
                               note_failure(draw_overlays(s), failure), note_failure(show_pictures(s), failure));
}

void print_summary(const session& s, double camera_rate, std::string_view loop_kind) {
    const dmasync::domain_counters locks = s.media.counters();
    const std::string text =
        s.counted.text() + '\n' + std::to_string(locks.leases_expired) + " leases expired, " +
        std::to_string(locks.devices_overdue) + " devices overdue; " + std::to_string(locks.granted_at_once) +
        " locks granted at once, " + std::to_string(locks.granted_after_wait) +
        " after waiting; event loop: " + std::string{loop_kind} + "; camera: " + rate_text(camera_rate) + '\n';
    std::fputs(text.c_str(), stdout);
}

/// A stop is what one expects of an interruption, and no failure then.
void rethrow_failure(const common::first_failure& failure, common::interruption& signals) {
    try {
        failure.rethrow();
    } catch (const std::system_error& error) {
        if (signals.signal() == 0 || error.code() != std::errc::operation_canceled) { throw; }
    }
}

void run(const options& chosen) {
    const dmasync::made_event_loop made = common::make_loop(chosen.epoll);
    std::stop_source stop;
    common::interruption signals{stop};
    const devices::drm_card card{chosen.card};
    session s{*made.loop, card, {.frames = chosen.frames, .overlay_delay = chosen.overlay_delay}, stop.get_token()};
    camera c{s, chosen.camera, frames_per_second};
    common::first_failure failure{stop};
    made.loop->run(run_all(s, c, failure));
    rethrow_failure(failure, signals);
    print_summary(s, c.rate(), made.kind);
}

} // namespace

int main(int argc, char** argv) {
    options chosen;
    try {
        chosen = parse_options(std::span{argv + 1, static_cast<std::size_t>(argc - 1)});
    } catch (const std::invalid_argument& wrong) {
        std::fprintf(stderr, "dmasync_camera_to_display: %s (--help says more)\n", wrong.what());
        return 2;
    }
    if (chosen.help) { return std::fputs(usage.data(), stdout) < 0; }
    try {
        run(chosen);
        return 0;
    } catch (const std::exception& error) {
        std::fprintf(stderr, "dmasync_camera_to_display: %s\n", error.what());
        return 1;
    }
}
