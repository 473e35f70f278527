// SPDX-License-Identifier: MIT
#pragma once
/// \file snapshot_checker.hpp  Whether a snapshot shows a state that a domain can be in. Knows the rules, not how they are kept.

#include <dmasync/access_mode.hpp>
#include <dmasync/detail/observe/stuck_finder.hpp>
#include <dmasync/domain_counters.hpp>
#include <dmasync/observe/domain_snapshot.hpp>

#include <algorithm>
#include <array>
#include <cstddef>
#include <cstdint>
#include <string>
#include <vector>

namespace support {

/// Looks at one snapshot. Threads: one at a time.
class snapshot_checker {
public:
    using snapshot = dmasync::domain_snapshot;
    using state = dmasync::acquisition_state;

    /// Returns: what is wrong with it; empty when it is as it should be.
    [[nodiscard]] static std::string problem(const snapshot& s) {
        for (std::size_t i = 0; i < s.buffers.size(); ++i) {
            if (const std::string p = problem_of_buffer(s, i); !p.empty()) { return "buffer " + std::to_string(i) + p; }
        }
        for (std::size_t i = 0; i < s.acquisitions.size(); ++i) {
            if (const std::string p = problem_of_acquisition(s, i); !p.empty()) {
                return "acquisition " + std::to_string(i) + p;
            }
        }
        return {};
    }

    /// Whether no counter is smaller than in an earlier snapshot.
    [[nodiscard]] static bool has_counted_on(const dmasync::domain_counters& before,
                                             const dmasync::domain_counters& after) {
        using c = dmasync::domain_counters;
        constexpr std::array all{
            &c::granted_at_once, &c::granted_after_wait, &c::timed_out,      &c::cancelled,     &c::leases_expired,
            &c::fences_waited,   &c::devices_overdue,    &c::devices_failed, &c::wounds,        &c::deaths,
            &c::retries,         &c::contended,          &c::stuck,          &c::brackets_told, &c::brackets_naive};
        static_assert(all.size() * sizeof(std::uint64_t) == sizeof(c), "a counter is missing here");
        return std::all_of(all.begin(), all.end(), [&](auto counter) { return before.*counter <= after.*counter; });
    }

private:
    [[nodiscard]] static bool holds(state s) { return s != state::waiting && s != state::expired; }

    [[nodiscard]] static std::string problem_of_buffer(const snapshot& s, std::size_t number) {
        const snapshot::buffer& b = s.buffers[number];
        const auto writes = [](const snapshot::use& u) { return is_write(u.mode); };
        const bool written = std::any_of(b.holders.begin(), b.holders.end(), writes);
        if (written && b.holders.size() != 1) { return " has a writer that is not alone"; }
        if ((b.token % 2 != 0) != written) { return " has a token that does not say whether a writer holds it"; }
        if (b.closed && !b.waiters.empty()) { return " is closed, and waited for"; }
        if (!are_uses(s, number, b.holders, holds)) { return " is held by one that does not hold it"; }
        if (!are_uses(s, number, b.waiters, [](state x) { return x == state::waiting; })) {
            return " is waited for by one that does not wait for it";
        }
        if (!are_uses(s, number, b.losers, [](state x) { return x == state::expired; })) {
            return " was lost by one that did not lose it";
        }
        for (std::size_t i = 1; i < b.waiters.size(); ++i) {
            const auto& first = s.acquisitions[b.waiters[i - 1].acquisition].ticket;
            const auto& second = s.acquisitions[b.waiters[i].acquisition].ticket;
            if (!first || !second || static_cast<std::int64_t>(*first - *second) >= 0) {
                return " has a queue that is not in order of age";
            }
        }
        return {};
    }

    /// Whether each use is that of an acquisition in such a state, which says so too, and no two are one's.
    template <class Wanted>
    [[nodiscard]] static bool are_uses(const snapshot& s, std::size_t number, const std::vector<snapshot::use>& uses,
                                       Wanted is_wanted) {
        std::vector<std::size_t> seen;
        for (const snapshot::use& u : uses) {
            if (u.acquisition >= s.acquisitions.size()) { return false; }
            const snapshot::acquisition& a = s.acquisitions[u.acquisition];
            const auto same = [&](const snapshot::part& p) { return p.buffer == number && p.mode == u.mode; };
            if (!is_wanted(a.state) || std::none_of(a.parts.begin(), a.parts.end(), same)) { return false; }
            seen.push_back(u.acquisition);
        }
        std::sort(seen.begin(), seen.end());
        return std::adjacent_find(seen.begin(), seen.end()) == seen.end();
    }

    [[nodiscard]] static std::string problem_of_acquisition(const snapshot& s, std::size_t number) {
        const snapshot::acquisition& a = s.acquisitions[number];
        for (const snapshot::part& p : a.parts) {
            if (p.buffer >= s.buffers.size() || !is_valid(p.mode)) { return " has a buffer that there is not"; }
            const snapshot::buffer& b = s.buffers[p.buffer];
            const auto& uses = a.state == state::waiting ? b.waiters : a.state == state::expired ? b.losers : b.holders;
            const auto is_it = [&](const snapshot::use& u) { return u.acquisition == number; };
            if (std::none_of(uses.begin(), uses.end(), is_it)) { return " uses a buffer that does not know of it"; }
        }
        if (a.wounded && !a.transaction) { return " is wounded, and no transaction"; }
        if (a.state != state::waiting) { return a.waits_for.empty() ? "" : " has its set, and waits"; }
        if (!a.ticket) { return " waits without a ticket"; }
        if (a.wounded) { return " is wounded, and waits"; }
        if (a.waits_for.empty()) { return " waits for nothing"; }
        for (const std::size_t other : a.waits_for) {
            if (!is_in_the_way(s, number, other)) { return " waits for one that is not in its way"; }
        }
        return leads_to_itself(s, number) ? " waits in a circle" : "";
    }

    [[nodiscard]] static bool is_in_the_way(const snapshot& s, std::size_t waiting, std::size_t other) {
        if (other == waiting || other >= s.acquisitions.size()) { return false; }
        const snapshot::acquisition& a = s.acquisitions[waiting];
        const snapshot::acquisition& o = s.acquisitions[other];
        if (o.state == state::expired) { return false; }
        if (o.state == state::waiting && static_cast<std::int64_t>(*o.ticket - *a.ticket) >= 0) { return false; }
        for (const snapshot::part& mine : a.parts) {
            for (const snapshot::part& its : o.parts) {
                if (mine.buffer == its.buffer && conflict(mine.mode, its.mode)) { return true; }
            }
        }
        return false;
    }

    /// Of all waits it is the one thing that no policy may leave behind.
    [[nodiscard]] static bool leads_to_itself(const snapshot& s, std::size_t wait) {
        return dmasync::detail::stuck_finder{s}.explain(wait).cycle == dmasync::stuck_cycle::certain;
    }
};

} // namespace support
