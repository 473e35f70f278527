// SPDX-License-Identifier: MIT
#pragma once
/// \file kms_snapshot.hpp  What a display showed before we came, to be shown again when we go.

#include "drm_card.hpp"
#include "kms_blob.hpp"
#include "kms_pipe.hpp"

#include <optional>

namespace devices {

/// The state of a display when this was made: of what kms_output changes.
class kms_snapshot {
public:
    /// The card and the pipe outlive it. Throws std::system_error.
    kms_snapshot(const drm_card& card, const kms_pipe& before);

    /// Has the display show what it showed then; makes it black when that is no longer possible. Returns when nothing
    /// else is shown any more.
    void restore() noexcept;

private:
    void show_again();
    void make_black();

    const drm_card& card_;
    const kms_pipe& before_;
    std::optional<kms_blob> mode_; // none when the display was black
};

} // namespace devices
