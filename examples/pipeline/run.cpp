// SPDX-License-Identifier: MIT
#include "run.hpp"

#include "common/first_failure.hpp"
#include "common/on_signal.hpp"

#include <dmasync/observe/snapshot.hpp>
#include <dmasync/observe/snapshot_text.hpp>
#include <dmasync/task.hpp>
#include <dmasync/wait.hpp>
#include <dmasync/when_all.hpp>

#include <csignal>
#include <optional>
#include <thread>
#include <utility>

#include <pthread.h>

namespace pipeline {
namespace {

/// Runs a loop on a thread of its own.
class loop_thread {
public:
    loop_thread(dmasync::event_loop& loop, const char* name)
        : loop_{loop}, thread_{[&loop, name] {
              ::pthread_setname_np(::pthread_self(), name);
              loop.run();
          }} {}
    loop_thread(const loop_thread&) = delete;
    loop_thread& operator=(const loop_thread&) = delete;
    ~loop_thread() { loop_.stop(); }

private:
    dmasync::event_loop& loop_;
    std::jthread thread_;
};

dmasync::task<> run_stage(dmasync::task<> stage, dmasync::event_loop& where, dmasync::event_loop& home,
                          common::first_failure& failure) {
    co_await dmasync::resume_on(where);
    co_await common::note_failure(std::move(stage), failure);
    co_await dmasync::resume_on(home);
}

dmasync::task<> run_stages(studio& s, video_input& input, outlet& out, common::first_failure& failure) {
    co_await dmasync::when_all(
        run_stage(ingest_stage(s, input), s.io, s.io, failure), run_stage(denoise_stage(s), s.filters, s.io, failure),
        run_stage(analyse_stage(s), s.filters, s.io, failure), run_stage(overlay_stage(s), s.io, s.io, failure),
        run_stage(sink_stage(s, out), s.io, s.io, failure));
}

} // namespace

run_progress run_pipeline(video_input& input, y4m_writer& output, contact_sheet* sheet, dmasync::event_loop& io,
                          dmasync::event_loop& filters, const studio_settings& settings, std::stop_source stop,
                          const std::function<void(const run_progress&)>& watch) {
    studio s{input.format(), io, filters, settings, stop.get_token()};
    std::optional<common::on_signal> shows;
    if (settings.show) {
        shows.emplace(SIGUSR1, [&] { settings.show(to_text(s.frames.snapshot())); });
    }
    run_progress done;
    outlet out{output, sheet, [&](std::uint64_t pictures) {
                   done = {pictures, s.frames.counters(), s.use.most()};
                   if (watch) { watch(done); }
               }};
    common::first_failure failure{std::move(stop)};
    {
        const loop_thread thread{filters, "filters"};
        io.run(run_stages(s, input, out, failure));
    }
    failure.rethrow();
    return done;
}

} // namespace pipeline
