// SPDX-License-Identifier: MIT
#pragma once
/// \file stages.hpp  The stages of the pipeline: coroutines that hand pictures on to each other.
///
///                                     .-> analyse -.
///     ingest -> denoise (with the     |            v
///               picture before) ------+-------> overlay -> sink

#include "contact_sheet.hpp"
#include "studio.hpp"
#include "video_input.hpp"
#include "y4m.hpp"

#include <dmasync/task.hpp>

#include <cstdint>
#include <functional>

namespace pipeline {

/// Where finished pictures go.
struct outlet {
    y4m_writer& video;
    contact_sheet* sheet = nullptr; // or none
    std::function<void(std::uint64_t pictures)> progress;

    [[nodiscard]] bool shows(std::uint64_t number) const noexcept { return sheet != nullptr && sheet->wants(number); }
};

// Each ends when its input has ended, and throws what went wrong. On the thread of the loop it is named for in studio.
[[nodiscard]] dmasync::task<> ingest_stage(studio& s, video_input& input);
[[nodiscard]] dmasync::task<> denoise_stage(studio& s);
[[nodiscard]] dmasync::task<> analyse_stage(studio& s);
[[nodiscard]] dmasync::task<> overlay_stage(studio& s);
[[nodiscard]] dmasync::task<> sink_stage(studio& s, outlet& out);

} // namespace pipeline
