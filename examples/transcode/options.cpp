// SPDX-License-Identifier: MIT
#include "options.hpp"

#include "common/command_line.hpp"

#include <limits>
#include <stdexcept>

namespace transcode {

const std::string_view usage =
    R"(usage: dmasync_transcode [OPTION...]

Draws pictures, has a device convert them from memory to memory, and compares every picture that comes out with what it
must be. The memory is of a dma-heap; the processor and the device share it without a copy.

  --frames N           how many pictures (50)
  --converter DRIVER   of the device, which must mirror 640 by 480 pixels of RGB24 and make BGR24 of them (vim2m)
  --heap NAME          in /dev/dma_heap, where the memory comes from (system)
  --epoll              uses epoll even where there is io_uring
  --help               prints this

Exits with 0; with 1 after an error or a wrong picture, with 2 for a wrong command line.
)";

namespace {

std::uint32_t frames_of(std::uint64_t number) {
    if (number > std::numeric_limits<std::uint32_t>::max()) { throw std::invalid_argument{"--frames: too many"}; }
    return static_cast<std::uint32_t>(number);
}

void take_word(options& chosen, common::command_line& line) {
    const std::string_view word = line.next();
    if (word == "--help" || word == "-h") {
        chosen.help = true;
    } else if (word == "--epoll") {
        chosen.epoll = true;
    } else if (word == "--frames") {
        chosen.frames = frames_of(line.number_of(word));
    } else if (word == "--converter") {
        chosen.converter = line.value_of(word);
    } else if (word == "--heap") {
        chosen.heap = line.value_of(word);
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

} // namespace transcode
