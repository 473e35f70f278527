// SPDX-License-Identifier: MIT
#pragma once
/// \file overlay.hpp  Shows the analysis of a frame in a corner of a frame.

#include "analysis.hpp"
#include "canvas.hpp"
#include "video_format.hpp"

#include <cstddef>
#include <cstdint>
#include <span>

namespace pipeline {

/// Where draw_overlay draws, and nowhere else: at the bottom right, growing with the picture. Chroma samples are shared
/// by neighbours, so its edges fall on whole ones.
[[nodiscard]] rectangle overlay_area(const video_format& format) noexcept;

/// Draws the frame number, the histograms and the waveform of `result` on `frame`.
void draw_overlay(const video_format& format, std::span<std::byte> frame, const analysis& result,
                  std::uint64_t frame_number);

} // namespace pipeline
