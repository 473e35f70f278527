// SPDX-License-Identifier: MIT
#pragma once
/// \file stages.hpp  Producer and consumer: the processor before the converter and after it.

#include "workshop.hpp"

#include <dmasync/task.hpp>

#include <cstdint>

namespace transcode {

struct verdict {
    std::uint32_t right = 0;    // pictures that came out as they should
    std::uint32_t wrong = 0;    // others
    std::uint32_t checksum = 0; // of the last one
};

// Each ends when there are no more pictures, and throws what goes wrong.

/// Draws as many pictures as are wanted.
[[nodiscard]] dmasync::task<> produce(workshop& w);

/// Compares every picture with what it must be.
[[nodiscard]] dmasync::task<> consume(workshop& w, verdict& result);

} // namespace transcode
