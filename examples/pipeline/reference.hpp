// SPDX-License-Identifier: MIT
#pragma once
/// \file reference.hpp  The whole pipeline in one thread and without locks: what the concurrent one must equal.

#include "video_input.hpp"
#include "y4m.hpp"

#include <cstddef>
#include <cstdint>
#include <functional>
#include <span>

namespace pipeline {

/// Sees each finished frame: its number, the frame as it came in, and the frame as it goes out.
using frame_observer =
    std::function<void(std::uint64_t number, std::span<const std::byte> source, std::span<const std::byte> result)>;

/// Denoises, analyses, overlays and writes every frame of `input`; returns their number.
/// The first frame has no predecessor and serves as its own.
std::uint64_t run_reference(video_input& input, y4m_writer& output, const frame_observer& observe = {});

} // namespace pipeline
