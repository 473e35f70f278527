// SPDX-License-Identifier: MIT
#pragma once
/// \file run.hpp  The whole pipeline on two threads: makes of a video what run_reference() makes of it.

#include "stages.hpp"
#include "studio.hpp"
#include "video_input.hpp"

#include <dmasync/domain_options.hpp>
#include <dmasync/event_loop.hpp>

#include <cstdint>
#include <functional>
#include <stop_token>

namespace pipeline {

struct run_progress {
    std::uint64_t pictures = 0; // written
    dmasync::domain_counters locks;
    use_count most_used; // at once
};

/// Runs `io` on this thread and `filters` on another, until every picture has been written, a stage has failed or a stop
/// has been requested. `watch` is told after every picture, on this thread.
/// Errors: those of the first stage that failed; std::errc::operation_canceled after a stop. All stages have ended then.
run_progress run_pipeline(video_input& input, y4m_writer& output, contact_sheet* sheet, dmasync::event_loop& io,
                          dmasync::event_loop& filters, const studio_settings& settings, std::stop_source stop,
                          const std::function<void(const run_progress&)>& watch = {});

} // namespace pipeline
