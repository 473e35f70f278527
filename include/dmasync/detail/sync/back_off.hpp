// SPDX-License-Identifier: MIT
#pragma once
/// \file back_off.hpp  How a thread waits for another one that will be done in a moment.

#include <dmasync/detail/sync/threading.hpp>
#include <dmasync/version.hpp>

namespace dmasync::inline DMASYNC_ABI::detail {

/// Pauses between two looks at something that another thread is about to change: for longer each time, which leaves the
/// other its cache line; in the end asleep, so that a real-time thread cannot spin out the thread that it has preempted.
class back_off {
public:
    void pause() noexcept {
        // Together about half as long as a nap (docs/performance.md): a holder that is not done by then is not running.
        constexpr unsigned longest_spin = 1U << 8U;
        constexpr unsigned spins_before_sleep = 4;
        if (long_spins_ == spins_before_sleep) {
            nap();
            return;
        }
        for (unsigned i = 0; i < spin_; ++i) { spin_hint(); }
        if (spin_ < longest_spin) {
            spin_ *= 2;
        } else {
            ++long_spins_;
        }
    }

private:
    unsigned spin_ = spins_at_first;
    unsigned long_spins_ = 0;
};

} // namespace dmasync::inline DMASYNC_ABI::detail
