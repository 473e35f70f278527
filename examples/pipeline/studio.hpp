// SPDX-License-Identifier: MIT
#pragma once
/// \file studio.hpp  What the stages of the pipeline share: frames to work on, and channels to hand them over.

#include "analysis.hpp"
#include "channel.hpp"
#include "frame_pool.hpp"
#include "frame_use.hpp"
#include "in_time.hpp"
#include "video_format.hpp"

#include <dmasync/domain.hpp>
#include <dmasync/event_loop.hpp>
#include <dmasync/lease.hpp>
#include <dmasync/lock_options.hpp>
#include <dmasync/observe/stuck_after.hpp>
#include <dmasync/observe/stuck_report.hpp>
#include <dmasync/observe/trace.hpp>

#include <atomic>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <stop_token>
#include <string>

namespace pipeline {

/// One picture of the video, in the frames it has come to so far.
struct picture {
    std::uint64_t number = 0;
    shared_frame source{};
    shared_frame denoised{};
    /// Whether `denoised` has all of the picture. It is handed on before that, while it is locked for writing: a stage that
    /// gets it then looks here first, since a writer may also have lost it half-way, when its lease ran out.
    std::shared_ptr<std::atomic<bool>> is_denoised{};
    shared_frame output{};
};

struct studio_settings {
    std::chrono::nanoseconds lease = dmasync::default_lease; ///< of every lock
    std::optional<std::uint64_t> stall{}; ///< the picture at which denoising hangs once, until its lease has run out
    dmasync::lease_report_sink report = dmasync::print_lease_report;
    dmasync::stuck_report_sink stuck = dmasync::print_stuck_report; ///< told of locks that wait for a second
    /// Shown the holders and waiters of frames, at each SIGUSR1, which must be blocked then. Called on a thread of its own.
    std::function<void(const std::string&)> show{};
    dmasync::trace_recorder* trace = nullptr; ///< is told of every lock; outlives the run
};

/// Lifetime: the loops are not run any more when it is destroyed.
struct studio {
    studio(const video_format& video, dmasync::event_loop& for_io, dmasync::event_loop& for_filters,
           const studio_settings& how, const std::stop_token& on_stop)
        : format{video}, io{for_io}, filters{for_filters}, settings{how}, stop{on_stop} {
        if (settings.trace != nullptr) { frames.trace_to(*settings.trace); }
    }

    const video_format format;
    dmasync::event_loop& io; // ingest, overlay and sink: the thread that files keep waiting; pipes wait in the loop
    dmasync::event_loop& filters; // denoise and analyse: always ready to look after the leases of the domain
    const studio_settings settings;
    const std::stop_token stop;

    frame_use use;
    dmasync::domain frames{filters,
                           {.lease = settings.lease,
                            .name = "frames",
                            .report = settings.report,
                            .stuck = dmasync::stuck_after(std::chrono::seconds{1}, settings.stuck)}};

    // Announcements never wait for room, for the stage that makes them holds frames: a place for each frame, as often as its step
    // may be tried.
    static constexpr std::size_t cleaned_frames = 3;
    static constexpr std::size_t most_announcements = cleaned_frames * most_attempts;

    // As many as the stages can work on at once; a source is needed until the sink has it, and for the next picture.
    frame_pool sources{frames, "source", {.count = 5, .bytes = frame_bytes(format)}, io, stop};
    frame_pool cleaned{frames, "denoised", {.count = cleaned_frames, .bytes = frame_bytes(format)}, filters, stop};
    frame_pool outputs{frames, "output", {.count = 2, .bytes = frame_bytes(format)}, io, stop};

    channel<picture> to_denoise{1, io, filters, stop};
    channel<picture> to_analyse{most_announcements, filters, filters, stop};
    channel<picture> to_overlay{most_announcements, filters, io, stop};
    channel<std::unique_ptr<const analysis>> results{1, filters, io, stop};
    channel<picture> to_sink{1, io, io, stop};
};

} // namespace pipeline
