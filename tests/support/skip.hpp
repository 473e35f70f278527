// SPDX-License-Identifier: MIT
#pragma once
#include <cstdio>
#include <string>

namespace support {

/// Says that a test cannot show what it is there for on this machine, and why. `./check` counts these lines: a test
/// that did not run must not look like one that passed.
inline void report_skip(const std::string& reason) {
    std::printf("[skipped] %s\n", reason.c_str());
    std::fflush(stdout);
}

} // namespace support
