// SPDX-License-Identifier: MIT
#pragma once
/// \file observation.hpp  What is asked of a domain, or told it, by those that look on: counters and the trace.

#include <dmasync/detail/base/failure.hpp>
#include <dmasync/detail/domain/state.hpp>
#include <dmasync/domain_counters.hpp>
#include <dmasync/name.hpp>
#include <dmasync/observe/trace.hpp>
#include <dmasync/version.hpp>

#include <span>

namespace dmasync::inline DMASYNC_ABI::detail {

class observation {
public:
    [[nodiscard]] static domain_counters counters(domain_state& d) noexcept {
        const lock_section s{d};
        return s->counters;
    }

    /// For a lock that was stopped before it began.
    static void count_cancelled(domain_state& d) noexcept {
        const lock_section s{d};
        ++s->counters.cancelled;
    }

    /// From now on `r` is told of everything; null for no recorder.
    static void trace_to(domain_state& d, trace_recorder* r) noexcept {
        const lock_section s{d};
        s->trace.attach(r);
        for (const auto& [identity, b] : s->registry) { s->trace.buffer(*b); }
    }

    /// A try_lock failed, or a lock was refused: nothing was queued.
    static void trace_refused(domain_state& d, std::span<const request> set, const name& label, failure why) noexcept {
        if (!d.trace.is_on()) { return; }
        const lock_section s{d};
        s->trace.refused(set, label, why); // if it is still on
    }
};

} // namespace dmasync::inline DMASYNC_ABI::detail
