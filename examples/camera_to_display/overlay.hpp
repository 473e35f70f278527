// SPDX-License-Identifier: MIT
#pragma once
/// \file overlay.hpp  The CPU's part: it draws a number and a checksum into pictures on their way to the display.

#include "session.hpp"

#include <dmasync/task.hpp>

namespace camera_to_display {

/// Ends when there are no more captured pictures. Throws what goes wrong.
[[nodiscard]] dmasync::task<> draw_overlays(session& s);

} // namespace camera_to_display
