// SPDX-License-Identifier: MIT
#pragma once
/// \file wait_graph.hpp  Which claim is directly in the way of which, read from the holders and the queues of a snapshot.

#include <dmasync/access_mode.hpp>
#include <dmasync/observe/domain_snapshot.hpp>
#include <dmasync/version.hpp>

#include <algorithm>
#include <cstddef>
#include <vector>

namespace dmasync::inline DMASYNC_ABI::detail {

/// Fills in `waits_for`. An edge that follows from two others is left out, so that there are about as many as there are
/// places in queues:
///
///   a reader waits for the last writer before it in the queue or, without one, for the writer that holds;
///   a writer waits for all readers between it and the last writer before it; without readers there, for that writer; and
///   without a writer before it, for all that hold, too.
inline void find_obstacles(domain_snapshot& s) {
    constexpr std::size_t none = static_cast<std::size_t>(-1);
    for (const domain_snapshot::buffer& b : s.buffers) {
        std::size_t last_writer = none;
        std::vector<std::size_t> readers; // since then
        for (const domain_snapshot::use& w : b.waiters) {
            std::vector<std::size_t>& obstacles = s.acquisitions[w.acquisition].waits_for;
            if (last_writer == none) {
                for (const domain_snapshot::use& h : b.holders) {
                    if (conflict(w.mode, h.mode)) { obstacles.push_back(h.acquisition); }
                }
            }
            if (!is_write(w.mode)) {
                if (last_writer != none) { obstacles.push_back(last_writer); }
                readers.push_back(w.acquisition);
                continue;
            }
            obstacles.insert(obstacles.end(), readers.begin(), readers.end());
            if (readers.empty() && last_writer != none) { obstacles.push_back(last_writer); }
            readers.clear();
            last_writer = w.acquisition;
        }
    }
    for (domain_snapshot::acquisition& a : s.acquisitions) {
        std::sort(a.waits_for.begin(), a.waits_for.end());
        a.waits_for.erase(std::unique(a.waits_for.begin(), a.waits_for.end()), a.waits_for.end());
    }
}

} // namespace dmasync::inline DMASYNC_ABI::detail
