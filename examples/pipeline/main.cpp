// SPDX-License-Identifier: MIT
// Can several stages, on two threads, work on the frames of a real video without copies in between, and survive a stage
// that hangs? Reads a video, runs it through the stages of stages.cpp and writes the result. `--help` says more.
#include "common/interruption.hpp"
#include "common/on_signal.hpp"
#include "fd_io.hpp"
#include "heartbeat.hpp"
#include "options.hpp"
#include "printable.hpp"
#include "progress.hpp"
#include "results.hpp"
#include "run.hpp"
#include "trace_files.hpp"
#include "video_input.hpp"

#include <dmasync/make_event_loop.hpp>

#include <chrono>
#include <csignal>
#include <cstddef>
#include <cstdint>
#include <cstdio>
#include <exception>
#include <memory>
#include <optional>
#include <span>
#include <stdexcept>
#include <stop_token>
#include <string>

using namespace pipeline;

namespace {

constexpr std::chrono::milliseconds redraw_interval{100};

void complain(const std::string& what) { std::fprintf(stderr, "dmasync_pipeline: %s\n", printable(what).c_str()); }

dmasync::made_event_loop make_loop(bool epoll) {
    if (epoll) { return {std::make_unique<dmasync::epoll_loop>(), "epoll", {}}; }
    return dmasync::make_event_loop();
}

std::string describe(const dmasync::made_event_loop& made) {
    std::string text{made.kind};
    if (made.uring_refused) { text += " (io_uring is refused: " + made.uring_refused.message() + ')'; }
    return text;
}

std::string locks_text(const run_progress& done) {
    const std::uint64_t sets = done.locks.granted_at_once + done.locks.granted_after_wait;
    return std::to_string(sets) + " sets of frames locked, up to " + std::to_string(done.most_used.frames) +
           " frames by " + std::to_string(done.most_used.stages) +
           " stages at once; waits for another stage: " + std::to_string(done.locks.granted_after_wait);
}

void print_summary(const progress_state& state, const run_progress& done, const dmasync::made_event_loop& loop) {
    const std::string text =
        summary_text(state) + '\n' + locks_text(done) + "\nevent loops on both threads: " + describe(loop) + '\n';
    std::fputs(text.c_str(), stderr);
}

void make_video(const options& chosen, video_input& input, results& made, trace_files& traces,
                const std::stop_source& stop) {
    using clock = std::chrono::steady_clock;
    const dmasync::made_event_loop io = make_loop(chosen.epoll);
    const dmasync::made_event_loop filters = make_loop(chosen.epoll);

    progress_line line;
    progress_state state{.frames_total = chosen.frames_total ? chosen.frames_total : input.frames_expected()};
    const clock::time_point start = clock::now();
    const auto show = [&](const run_progress& done) {
        state.frames = done.pictures;
        state.leases_expired = done.locks.leases_expired;
    };
    const heartbeat redraw{*io.loop, redraw_interval, [&] {
                               state.elapsed = clock::now() - start;
                               line.update(state);
                           }};
    const studio_settings settings{.lease = chosen.lease,
                                   .stall = chosen.stall,
                                   .report = [&](const dmasync::lease_report& r) { line.print_above(to_string(r)); },
                                   .stuck = [&](const dmasync::stuck_report& r) { line.print_above(to_string(r)); },
                                   .show = [&](const std::string& snapshot) { line.print_above(snapshot); },
                                   .trace = traces.recorder()};
    const run_progress done =
        run_pipeline(input, made.video(), made.sheet(), *io.loop, *filters.loop, settings, stop, show);
    made.commit();
    traces.commit();
    line.clear();
    state.elapsed = clock::now() - start;
    print_summary(state, done, io);
}

/// Returns: the exit code.
int run(const options& chosen) {
    const std::stop_source stop;
    video_input input{chosen.input, stop.get_token(), chosen.damage};
    common::block_signal(SIGUSR1);      // shows the holders of frames, as soon as there are any
    common::interruption signals{stop}; // before there is a file to be left behind
    std::optional<results> made;
    std::optional<trace_files> traces;
    try {
        traces.emplace(chosen.traces, stop.get_token());
        made.emplace(chosen.output, chosen.contact_sheet, input.format(), stop.get_token());
        make_video(chosen, input, *made, *traces, stop);
        return 0;
    } catch (const std::exception&) {
        if (traces) { traces->commit_after_failure(); }
        if (signals.signal() == 0) { throw; }
        complain("interrupted; " + (made ? made->outcome() : "nothing was written")); // the error is what came of it
        return 128 + signals.signal();
    }
}

int print_usage() {
    const bool written = std::fputs(usage.data(), stdout) >= 0 && std::fflush(stdout) == 0;
    if (!written) { complain("cannot write the help"); }
    return written ? 0 : 1;
}

} // namespace

int main(int argc, char** argv) {
    options chosen;
    try {
        chosen = parse_options(std::span{argv + 1, static_cast<std::size_t>(argc - 1)});
        if (!chosen.help) { refuse_shared_files(chosen); }
    } catch (const std::invalid_argument& wrong) {
        complain(std::string{wrong.what()} + " (--help says more)");
        return 2;
    }
    if (chosen.help) { return print_usage(); }
    try {
        occupy_closed_descriptors();
        make_write_signals_errors();
        return run(chosen);
    } catch (const std::exception& error) {
        complain(error.what());
        return 1;
    }
}
