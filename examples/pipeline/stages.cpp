// SPDX-License-Identifier: MIT
// How do stages on several threads share frames, without copying them from stage to stage, and survive one that hangs?
//
// Each stage locks all the frames it needs for one step, as reader or as writer, works on them and unlocks. Channels tell
// which picture is next. The denoiser hands its picture on as soon as it has locked the frame it is going to fill: the
// stages that read it ask for it at once, and the lock gives it to them, both at the same time, when the denoiser is done.
#include "stages.hpp"

#include "denoise.hpp"
#include "in_time.hpp"
#include "overlay.hpp"

#include <dmasync/lock.hpp>
#include <dmasync/wait.hpp>

#include <algorithm>
#include <atomic>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <stdexcept>
#include <string>
#include <utility>
#include <vector>

namespace pipeline {
namespace {

using dmasync::lock;
using dmasync::lock_options;
using dmasync::read;
using dmasync::read_write;
using dmasync::task;
using dmasync::write;

using bytes = std::vector<std::byte>;

/// For messages: "denoise, frame 12".
std::string label(const char* stage, const picture& p) { return stage + (", frame " + std::to_string(p.number)); }

lock_options on_io(const studio& s, dmasync::name name) { return {.stop = s.stop, .on = &s.io, .name = name}; }
lock_options on_filters(const studio& s, dmasync::name name) {
    return {.stop = s.stop, .on = &s.filters, .name = name};
}

/// Stands for a filter or a device that hangs: once, at the picture that is asked for.
task<> hang_at(std::optional<std::uint64_t>& stall, const studio& s, const picture& p, const dmasync::guard& held) {
    using namespace std::chrono_literals;
    if (stall != p.number) { co_return; }
    stall.reset();
    while (!held.expired() && !s.stop.stop_requested()) { co_await dmasync::sleep_for(s.filters, 5ms); }
}

// ---- the steps: each locks, works, and unlocks in time, or is done again ---------------------------------------------

task<> fill(studio& s, const picture& p, const bytes& arrived) {
    auto held = co_await lock(write(*p.source), on_io(s, "ingest"));
    const frame_use::share used{s.use, 1};
    std::ranges::copy(arrived, held.bytes<0>().begin());
    finish(held);
}

/// Hands a picture on whose frame is locked for writing: a stage that asks for the frame now gets it when that hold ends.
void announce(studio& s, const picture& p) {
    *p.is_denoised = false;
    for (channel<picture>* readers : {&s.to_analyse, &s.to_overlay}) {
        picture copy = p;
        if (!readers->try_send(copy)) { throw std::logic_error{"no room to announce a picture"}; }
    }
}

task<> denoise_first(studio& s, const picture& p, std::optional<std::uint64_t>& stall) {
    auto held = co_await lock(read(*p.source), write(*p.denoised), on_filters(s, "denoise"));
    const frame_use::share used{s.use, 2};
    announce(s, p);
    co_await hang_at(stall, s, p, held);
    temporal_denoise(held.bytes<0>(), held.bytes<0>(), held.bytes<1>());
    *p.is_denoised = true;
    finish(held);
}

task<> denoise_next(studio& s, const picture& p, const shared_frame& previous, std::optional<std::uint64_t>& stall) {
    auto held = co_await lock(read(*p.source), read(*previous), write(*p.denoised), on_filters(s, "denoise"));
    const frame_use::share used{s.use, 3};
    announce(s, p);
    co_await hang_at(stall, s, p, held);
    temporal_denoise(held.bytes<0>(), held.bytes<1>(), held.bytes<2>());
    *p.is_denoised = true;
    finish(held);
}

/// Leaves no result when the denoiser has lost the frame: it is going to announce the picture again.
task<> measure(studio& s, const picture& p, std::unique_ptr<const analysis>& result) {
    auto held = co_await lock(read(*p.denoised), on_filters(s, "analyse"));
    const frame_use::share used{s.use, 1};
    if (*p.is_denoised) { result = std::make_unique<const analysis>(analyse(s.format, held.bytes<0>())); }
    finish(held);
}

task<> copy_picture(studio& s, const picture& p, bool& copied) {
    auto held = co_await lock(read(*p.denoised), write(*p.output), on_io(s, "overlay copy"));
    const frame_use::share used{s.use, 2};
    copied = *p.is_denoised;
    if (copied) { std::ranges::copy(held.bytes<0>(), held.bytes<1>().begin()); }
    finish(held);
}

task<> draw_result(studio& s, const picture& p, const analysis& result) {
    auto held = co_await lock(read_write(*p.output), on_io(s, "overlay draw"));
    const frame_use::share used{s.use, 1};
    draw_overlay(s.format, held.bytes<0>(), result, p.number);
    finish(held);
}

/// The copy goes on beside the analysis: both read the same frame. Drawing twice would show, so it is one step.
/// Leaves it undone when the denoiser has lost the frame.
task<> compose(studio& s, const picture& p, std::unique_ptr<const analysis>& result, bool& done) {
    co_await copy_picture(s, p, done);
    if (!done) { co_return; }
    if (!result) {
        auto received = co_await s.results.receive();
        result = std::move(received.value());
    }
    co_await draw_result(s, p, *result);
}

task<> take_out(studio& s, const picture& p, const outlet& out, bytes& source, bytes& result) {
    auto held = co_await lock(read(*p.source), read(*p.output), on_io(s, "sink"));
    const frame_use::share used{s.use, 2};
    if (out.shows(p.number)) { std::ranges::copy(held.bytes<0>(), source.begin()); }
    std::ranges::copy(held.bytes<1>(), result.begin());
    finish(held);
}

} // namespace

// ---- the stages ------------------------------------------------------------------------------------------------------

/// A pipe may keep it waiting for any time, so nothing is locked meanwhile, and other stages use the loop; the
/// same goes for the sink.
task<> ingest_stage(studio& s, video_input& input) {
    bytes arrived(frame_bytes(s.format));
    for (std::uint64_t number = 0;; ++number) {
        const bool more = co_await input.read_frame(s.io, arrived);
        if (!more) { break; }
        auto unused = co_await s.sources.take();
        picture p{.number = number, .source = std::move(unused)};
        co_await in_time(label("ingest", p), fill, s, p, arrived);
        co_await s.to_denoise.send(std::move(p));
    }
    s.to_denoise.close();
}

task<> denoise_stage(studio& s) {
    shared_frame previous;
    std::optional<std::uint64_t> stall = s.settings.stall;
    for (;;) {
        auto p = co_await s.to_denoise.receive();
        if (!p) { break; }
        auto unused = co_await s.cleaned.take();
        p->denoised = std::move(unused);
        p->is_denoised = std::make_shared<std::atomic<bool>>(false);
        if (previous) {
            co_await in_time(label("denoise", *p), denoise_next, s, *p, previous, stall);
        } else {
            co_await in_time(label("denoise", *p), denoise_first, s, *p, stall);
        }
        previous = std::move(p->source);
    }
    s.to_analyse.close();
    s.to_overlay.close();
}

/// A picture that is announced again, though it was complete the first time, is passed over; so it is in the overlay.
task<> analyse_stage(studio& s) {
    for (std::uint64_t next = 0;;) {
        auto p = co_await s.to_analyse.receive();
        if (!p) { break; }
        if (p->number != next) { continue; }
        std::unique_ptr<const analysis> result;
        co_await in_time(label("analyse", *p), measure, s, *p, result);
        if (!result) { continue; }
        co_await s.results.send(std::move(result));
        ++next;
    }
    s.results.close();
}

task<> overlay_stage(studio& s) {
    std::unique_ptr<const analysis> result; // of picture `next`, once it has come
    for (std::uint64_t next = 0;;) {
        auto p = co_await s.to_overlay.receive();
        if (!p) { break; }
        if (p->number != next) { continue; }
        auto unused = co_await s.outputs.take();
        p->output = std::move(unused);
        bool done = false;
        co_await in_time(label("overlay", *p), compose, s, *p, result, done);
        if (!done) { continue; }
        result.reset();
        ++next;
        p->denoised.reset();
        co_await s.to_sink.send(std::move(*p));
    }
    s.to_sink.close();
}

task<> sink_stage(studio& s, outlet& out) {
    bytes source(frame_bytes(s.format));
    bytes result(source.size());
    for (std::uint64_t written = 0;;) {
        auto p = co_await s.to_sink.receive();
        if (!p) { break; }
        const std::uint64_t number = p->number;
        co_await in_time(label("sink", *p), take_out, s, *p, out, source, result);
        p.reset(); // others can have the frames while we write
        co_await out.video.write_frame(s.io, result);
        if (out.sheet != nullptr) { out.sheet->add(number, source, result); }
        out.progress(++written);
    }
}

} // namespace pipeline
