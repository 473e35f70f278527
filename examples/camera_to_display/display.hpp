// SPDX-License-Identifier: MIT
#pragma once
/// \file display.hpp  The display's part: it shows pictures, and gives each back when another has taken its place.

#include "session.hpp"

#include <dmasync/task.hpp>

namespace camera_to_display {

/// Ends when there are no more pictures to show; the display shows what it did before then. Throws what goes wrong.
[[nodiscard]] dmasync::task<> show_pictures(session& s);

} // namespace camera_to_display
