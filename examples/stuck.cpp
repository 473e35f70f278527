// SPDX-License-Identifier: MIT
// Why does my program not go on? Two that are stuck on purpose for a while, and what the library says about each:
// `dmasync_stuck` has a stage that hangs, `dmasync_stuck cycle` two that wait for each other, `--json` shows it to programs.
#include <dmasync/dmasync.hpp>

#include <chrono>
#include <cstdio>
#include <string_view>

using namespace dmasync;
using namespace std::chrono_literals;

namespace {

constexpr auto hang = 1s;
constexpr auto step = 200ms; // so that one thing happens after the other

task<> archive(event_loop& loop, buffer frame) {
    const auto held = co_await lock(read(frame), lock_options{.name = "archive"});
    co_await sleep_for(loop, hang); // with the frame locked: here is the fault
}

task<> preview(buffer frame, buffer screen) {
    const auto held = co_await lock(write(frame), write(screen), lock_options{.name = "preview"});
}

task<> encode(event_loop& loop, buffer screen) {
    co_await sleep_for(loop, step);
    const auto held = co_await lock(read(screen), lock_options{.name = "encode"});
}

/// Locks one buffer, and a second one while it has the first: `user` says that both locks are the same stage's.
task<> nested(event_loop& loop, dmasync::name name, buffer first, buffer second, std::chrono::milliseconds work) {
    const lock_options both{.deadline = loop.now() + hang, .name = name, .user = &first};
    const auto outer = co_await lock(write(first), both);
    co_await sleep_for(loop, work);
    std::error_code ec;
    const auto inner = co_await lock(write(second), both, ec); // in vain, until the deadline
}

} // namespace

int main(int argc, char** argv) {
    const std::string_view what{argc > 1 ? argv[1] : ""};
    const auto [loop, kind, refused] = make_event_loop();
    const auto explain = [&](const stuck_report& r) {
        std::puts(what == "--json" ? to_json(r.seen).c_str() : (to_string(r) + "\n\n" + to_text(r.seen)).c_str());
    };
    domain studio{*loop, {.lease = no_lease, .name = "studio", .stuck = stuck_after(300ms, explain)}};
    const buffer frame = studio.allocate(1920 * 1080 * 3 / 2, "frame");
    const buffer screen = studio.allocate(1920 * 1080 * 4, "screen");
    if (what == "cycle") {
        loop->run(when_all(nested(*loop, "left", frame, screen, 1ms), nested(*loop, "right", screen, frame, step)));
    } else {
        loop->run(when_all(archive(*loop, frame), preview(frame, screen), encode(*loop, screen)));
    }
}
