// SPDX-License-Identifier: MIT
#include "options.hpp"

#include "common/command_line.hpp"

#include <stdexcept>

namespace camera_to_display {

const std::string_view usage =
    R"(usage: dmasync_camera_to_display [OPTION...]

Shows on a screen what a camera sees, without a copy: the camera writes into memory of the graphics card, the processor
draws the number and the checksum of the frame into it, and the card shows it. Takes the screen over, so no other program may
use it; restores it at the end.

  --frames N          ends after that many frames; without it, when it is interrupted (Ctrl-C)
  --camera DRIVER     of the camera, which must give 640 by 480 pixels of XBGR32 (vivid)
  --card DRIVER       of the graphics card, which must have a screen of 640 by 480 pixels (virtio_gpu)
  --slow-overlay MS   keeps every picture for that much longer: the camera drops frames then, but none is torn
  --epoll             uses epoll even where there is io_uring
  --help              prints this

Exits with 0; with 1 after an error, with 2 for a wrong command line.
)";

namespace {

std::chrono::milliseconds delay_of(std::uint64_t milliseconds) {
    constexpr std::uint64_t longest = 60'000;
    if (milliseconds > longest) {
        throw std::invalid_argument{"--slow-overlay takes up to " + std::to_string(longest) + " milliseconds"};
    }
    return std::chrono::milliseconds{milliseconds};
}

void take_word(options& chosen, common::command_line& line) {
    const std::string_view word = line.next();
    if (word == "--help" || word == "-h") {
        chosen.help = true;
    } else if (word == "--epoll") {
        chosen.epoll = true;
    } else if (word == "--frames") {
        chosen.frames = line.number_of(word);
    } else if (word == "--slow-overlay") {
        chosen.overlay_delay = delay_of(line.number_of(word));
    } else if (word == "--camera") {
        chosen.camera = line.value_of(word);
    } else if (word == "--card") {
        chosen.card = line.value_of(word);
    } else {
        throw std::invalid_argument{"unknown option " + std::string{word}};
    }
    line.refuse_value_of(word);
}

} // namespace

options parse_options(std::span<const char* const> arguments) {
    options chosen;
    for (common::command_line line{arguments}; !line.empty();) { take_word(chosen, line); }
    return chosen;
}

} // namespace camera_to_display
