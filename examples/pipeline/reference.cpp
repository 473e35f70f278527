// SPDX-License-Identifier: MIT
#include "reference.hpp"

#include "analysis.hpp"
#include "denoise.hpp"
#include "overlay.hpp"

#include <utility>
#include <vector>

namespace pipeline {

std::uint64_t run_reference(video_input& input, y4m_writer& output, const frame_observer& observe) {
    const video_format& format = input.format();
    std::vector<std::byte> current(frame_bytes(format));
    std::vector<std::byte> previous(current.size());
    std::vector<std::byte> result(current.size());
    std::uint64_t number = 0;
    for (; input.read_frame(current); ++number) {
        temporal_denoise(current, number == 0 ? current : previous, result);
        draw_overlay(format, result, analyse(format, result), number);
        output.write_frame(result);
        if (observe) { observe(number, current, result); }
        std::swap(current, previous);
    }
    return number;
}

} // namespace pipeline
