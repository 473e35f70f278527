// SPDX-License-Identifier: MIT
#include "options.hpp"

#include "common/command_line.hpp"
#include "same_file.hpp"
#include "trace_files.hpp"

#include <unistd.h>

#include <stdexcept>
#include <string>
#include <vector>

namespace pipeline {

const std::string_view usage =
    R"(usage: dmasync_pipeline [OPTION...] INPUT OUTPUT

Denoises a video, measures every picture, draws the measurements into it and writes the result: in five stages that
share their frames through dmasync. INPUT is a YUV4MPEG2 file, any other video if there is ffmpeg, or - for YUV4MPEG2
from the standard input. OUTPUT is a YUV4MPEG2 file, which appears when it is complete, or - for the standard output.

  --contact-sheet FILE   also writes a PNG picture with frames before and after
  --trace FILE           also writes a timeline of the locks: FILE.html is a page for any browser, FILE.json is for
                         https://ui.perfetto.dev; may be given for each
  --frames-total N       how many frames INPUT has, for the progress line, where that cannot be told from the file
  --lease MS             how long a stage may hold its frames before they are taken from it (5000)
  --stall FRAME          has the denoiser hang at that frame, to show what happens then (best with a short --lease)
  --tolerate-damage      goes on where ffmpeg finds INPUT damaged; otherwise that is an error
  --epoll                uses epoll even where there is io_uring
  --help                 prints this
  --                     what follows are files, whatever they are called

SIGUSR1 has it print the holders and the waiters of each frame.

Exits with 0; with 1 after an error, with 2 for a wrong command line, with 128 and the signal's number when it was
interrupted.
)";

namespace {

std::string_view file_of(common::command_line& line, std::string_view option) {
    const std::string_view name = line.value_of(option);
    if (name.empty()) { throw std::invalid_argument{std::string{option} + " needs the name of a file"}; }
    return name;
}

std::string_view trace_file_of(common::command_line& line, std::string_view option) {
    const std::string_view name = file_of(line, option);
    if (!is_name_of_trace(name)) { throw std::invalid_argument{"--trace takes a file that ends in .html or .json"}; }
    return name;
}

std::chrono::milliseconds lease_of(std::uint64_t milliseconds) {
    constexpr std::uint64_t longest = 24 * 60 * 60 * 1000;
    if (milliseconds == 0 || milliseconds > longest) {
        throw std::invalid_argument{"--lease takes 1 to " + std::to_string(longest) + " milliseconds"};
    }
    return std::chrono::milliseconds{milliseconds};
}

void take_file(options& chosen, std::string_view name) {
    std::string& file = chosen.input.empty() ? chosen.input : chosen.output;
    if (name.empty() || !file.empty()) { throw std::invalid_argument{"there must be one INPUT and one OUTPUT"}; }
    file = name;
}

void take_option(options& chosen, common::command_line& line, std::string_view option) {
    if (option == "--help" || option == "-h") {
        chosen.help = true;
    } else if (option == "--epoll") {
        chosen.epoll = true;
    } else if (option == "--tolerate-damage") {
        chosen.damage = on_damage::tolerate;
    } else if (option == "--contact-sheet") {
        chosen.contact_sheet = file_of(line, option);
    } else if (option == "--trace") {
        chosen.traces.emplace_back(trace_file_of(line, option));
    } else if (option == "--frames-total") {
        chosen.frames_total = line.number_of(option);
    } else if (option == "--lease") {
        chosen.lease = lease_of(line.number_of(option));
    } else if (option == "--stall") {
        chosen.stall = line.number_of(option);
    } else {
        throw std::invalid_argument{"unknown option " + std::string{option}};
    }
    line.refuse_value_of(option);
}

void take_word(options& chosen, common::command_line& line) {
    const std::string_view word = line.next();
    if (word == "--") {
        while (!line.empty()) { take_file(chosen, line.take()); }
    } else if (word.starts_with('-') && word != "-") {
        take_option(chosen, line, word);
    } else {
        take_file(chosen, word);
    }
}

} // namespace

options parse_options(std::span<const char* const> arguments) {
    options chosen;
    for (common::command_line line{arguments}; !line.empty();) { take_word(chosen, line); }
    if (!chosen.help && chosen.output.empty()) {
        throw std::invalid_argument{"there must be one INPUT and one OUTPUT"};
    }
    return chosen;
}

namespace {

/// A trace is as good a way to destroy something as any other file.
void refuse_shared_traces(const options& chosen) {
    std::vector<named_file> others{
        {chosen.input, STDIN_FILENO}, {chosen.output, STDOUT_FILENO}, {chosen.contact_sheet, STDOUT_FILENO}};
    for (const std::string& name : chosen.traces) {
        const named_file trace{name, -1};
        for (const named_file& other : others) {
            if (!other.name.empty() && is_same_file(trace, other)) {
                throw std::invalid_argument{"the trace is the same file as " + other.name};
            }
        }
        others.push_back(trace);
    }
}

} // namespace

void refuse_shared_files(const options& chosen) {
    refuse_shared_traces(chosen);
    const named_file input{chosen.input, STDIN_FILENO};
    const named_file output{chosen.output, STDOUT_FILENO};
    const named_file sheet{chosen.contact_sheet, STDOUT_FILENO};
    if (is_same_file(input, output)) {
        throw std::invalid_argument{"OUTPUT is the same file as INPUT, " + chosen.input + ", which it would replace"};
    }
    if (sheet.name.empty()) { return; }
    if (is_same_file(sheet, input)) {
        throw std::invalid_argument{"the contact sheet is the same file as INPUT, " + chosen.input};
    }
    if (is_same_file(sheet, output) || (sheet.name == "-" && output.name == "-")) {
        throw std::invalid_argument{"the contact sheet is the same file as OUTPUT, " + chosen.output};
    }
}

} // namespace pipeline
