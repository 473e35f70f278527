// SPDX-License-Identifier: MIT
#pragma once
#include <cstddef>
#include <filesystem>
#include <iterator>

namespace support {

/// How many descriptors this process has open.
inline std::size_t count_descriptors() {
    const std::filesystem::directory_iterator all{"/proc/self/fd"};
    return static_cast<std::size_t>(std::distance(begin(all), end(all))) - 1; // one is the folder's
}

} // namespace support
