// SPDX-License-Identifier: MIT
#pragma once
/// \file adaptive_spin.hpp  Whether it pays to look once more for a moment before one waits the dear way.

#include <dmasync/version.hpp>

namespace dmasync::inline DMASYNC_ABI::detail {

/// Keeps count of looks: they pay as long as they have helped lately, and now and then it is tried out whether they do again.
/// So what is never worth it costs next to nothing, and is found out when it becomes so.
///
/// Threads: one at a time.
class adaptive_spin {
public:
    [[nodiscard]] bool pays() noexcept {
        constexpr unsigned few = 4;
        constexpr unsigned between_trials = 64;
        return in_vain_ < few || ++in_vain_ % between_trials == 0;
    }

    void helped() noexcept { in_vain_ = 0; }
    void was_in_vain() noexcept { ++in_vain_; }

private:
    unsigned in_vain_ = 0; // looks, and times they were not made, since one has helped
};

} // namespace dmasync::inline DMASYNC_ABI::detail
