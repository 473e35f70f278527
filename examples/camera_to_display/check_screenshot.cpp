// SPDX-License-Identifier: MIT
// Is a screenshot of the camera_to_display example of one frame, or of parts of several? Reads the stamp in it.
#include "screenshot.hpp"
#include "stamp.hpp"

#include <cstddef>
#include <cstdio>
#include <span>

using namespace camera_to_display;

namespace {

/// Returns: whether the file is the picture of one whole frame.
bool check(const char* name) {
    const auto shot = read_screenshot(name);
    if (!shot) { return std::printf("%s: cannot be read as a PPM\n", name), false; }
    const auto found = read_stamp(shot->view());
    if (!found) { return std::printf("%s: no stamp\n", name), false; }
    const bool whole = checksum_of(shot->view(), found->number) == found->checksum;
    std::printf("%s: frame %u, %s\n", name, found->number, whole ? "whole" : "torn");
    return whole;
}

} // namespace

int main(int argc, char** argv) {
    const std::span names{argv + 1, static_cast<std::size_t>(argc - 1)};
    if (names.empty()) { return std::fputs("usage: dmasync_check_screenshot FILE.ppm...\n", stderr), 2; }
    bool all_whole = true;
    for (const char* name : names) { all_whole = check(name) && all_whole; }
    return all_whole ? 0 : 1;
}
