// SPDX-License-Identifier: MIT
#pragma once
/// \file stuck_finder.hpp  Follows a snapshot's waits back to the one that does not move, or round in a circle.

#include <dmasync/access_mode.hpp>
#include <dmasync/observe/domain_snapshot.hpp>
#include <dmasync/observe/stuck_report.hpp>
#include <dmasync/version.hpp>

#include <algorithm>
#include <cstddef>
#include <map>
#include <optional>
#include <string_view>
#include <utility>
#include <vector>

namespace dmasync::inline DMASYNC_ABI::detail {

/// Explains waits of one snapshot. A graph: an acquisition that waits leads to those in its way, and a hold to what waits
/// in the same transaction or on behalf of the same user, where that is known. One that leads nowhere does not move.
class stuck_finder {
public:
    explicit stuck_finder(const domain_snapshot& seen) : seen_{seen} {
        for (std::size_t i = 0; i < seen_.acquisitions.size(); ++i) {
            const acquisition& a = seen_.acquisitions[i];
            if (a.state != acquisition_state::waiting) { continue; }
            if (a.transaction) { by_transaction_[*a.transaction].push_back(i); }
            if (a.user != nullptr) { by_user_[a.user].push_back(i); }
            if (!a.set.empty()) { by_name_[a.set.view()].push_back(i); }
        }
    }

    /// One report for each of those that the waits in `stuck` come down to, on the first of these waits.
    template <class Sink>
    void explain(const std::vector<std::size_t>& stuck, const Sink& sink) const {
        std::vector<bool> explained(seen_.acquisitions.size());
        for (const std::size_t wait : stuck) {
            if (explained[wait]) { continue; }
            stuck_report r = explain(wait);
            explained[wait] = true;
            const std::vector<bool> behind = all_behind(r.chain.back().acquisition);
            for (const std::size_t other : stuck) {
                if (explained[other] || !behind[other]) { continue; }
                explained[other] = true;
                ++r.others;
            }
            sink(r);
        }
    }

    [[nodiscard]] stuck_report explain(std::size_t wait) const {
        stuck_report r;
        r.seen = seen_;
        for (const bool guess : {false, true}) {
            r.chain = path_to_circle(wait, guess, r.circle);
            if (r.chain.empty()) { continue; }
            r.cycle = guess ? stuck_cycle::possible : stuck_cycle::certain;
            return r;
        }
        r.chain = path_to_culprit(wait);
        return r;
    }

private:
    using acquisition = domain_snapshot::acquisition;
    using link = stuck_report::link;
    using step = stuck_report::step;

    /// What an acquisition leads to.
    [[nodiscard]] std::vector<link> next(std::size_t from, bool guess) const {
        const acquisition& a = seen_.acquisitions[from];
        std::vector<link> all;
        if (a.state == acquisition_state::waiting) {
            for (const std::size_t o : a.waits_for) {
                const bool waits = seen_.acquisitions[o].state == acquisition_state::waiting;
                all.push_back({o, waits ? step::waits_before : step::holds, shared(a, seen_.acquisitions[o])});
            }
        } else if (a.state != acquisition_state::expired) {
            if (a.transaction) { add(all, by_transaction_, *a.transaction); }
            if (a.user != nullptr) { add(all, by_user_, a.user, a.transaction); }
            if (guess && a.user == nullptr && !a.set.empty()) { add_by_name(all, a); }
        }
        return all;
    }

    /// Adds the waits of a user, but for those of the transaction whose own are listed already.
    template <class Key>
    void add(std::vector<link>& all, const std::map<Key, std::vector<std::size_t>>& waits, const Key& key,
             const std::optional<std::size_t>& listed = {}) const {
        const auto found = waits.find(key);
        if (found == waits.end()) { return; }
        for (const std::size_t w : found->second) {
            const bool is_listed = listed && seen_.acquisitions[w].transaction == listed;
            if (!is_listed) { all.push_back({w, step::also_waits, std::nullopt}); }
        }
    }

    /// What waits at the place where the hold was locked is another run of the same code. So may be any two transactions that
    /// have one name: they come to their locks in any order.
    void add_by_name(std::vector<link>& all, const acquisition& hold) const {
        const auto found = by_name_.find(hold.set.view());
        if (found == by_name_.end()) { return; }
        for (const std::size_t w : found->second) {
            const acquisition& wait = seen_.acquisitions[w];
            const bool same_place = wait.place.line() != 0 && wait.place.line() == hold.place.line() &&
                                    std::string_view{wait.place.file_name()} == hold.place.file_name();
            const bool are_transactions = wait.transaction && hold.transaction;
            if (!same_place && !are_transactions && wait.user == nullptr) {
                all.push_back({w, step::perhaps_also_waits, std::nullopt});
            }
        }
    }

    /// The buffer for which `other` is in the way of `waiting`, as `other` uses it.
    [[nodiscard]] static std::optional<domain_snapshot::part> shared(const acquisition& waiting,
                                                                     const acquisition& other) {
        for (const domain_snapshot::part& mine : waiting.parts) {
            for (const domain_snapshot::part& its : other.parts) {
                if (mine.buffer == its.buffer && conflict(mine.mode, its.mode)) { return its; }
            }
        }
        return std::nullopt;
    }

    /// One that waits is listed with the buffer that the one after it is in the way of.
    void name_what_is_wanted(std::vector<link>& chain) const {
        for (std::size_t i = 0; i < chain.size(); ++i) {
            const acquisition& a = seen_.acquisitions[chain[i].acquisition];
            if (a.state != acquisition_state::waiting || chain[i].how == step::waits_before) { continue; }
            if (i + 1 < chain.size()) { chain[i].what = shared(seen_.acquisitions[chain[i + 1].acquisition], a); }
            if (!chain[i].what && !a.parts.empty()) { chain[i].what = a.parts.front(); }
        }
    }

    /// A path from a wait into a circle and once round it; empty when there is none. `begins` is where the circle does.
    [[nodiscard]] std::vector<link> path_to_circle(std::size_t wait, bool guess, std::size_t& begins) const {
        constexpr std::size_t not_on_path = static_cast<std::size_t>(-1);
        struct branch {
            link from;
            std::vector<link> rest;
        };
        std::vector<bool> visited(seen_.acquisitions.size());
        std::vector<std::size_t> place(seen_.acquisitions.size(), not_on_path);
        std::vector<branch> path;
        const auto go_to = [&](const link& l) {
            visited[l.acquisition] = true;
            place[l.acquisition] = path.size();
            path.push_back({l, next(l.acquisition, guess)});
        };
        go_to({wait, step::waits, std::nullopt});
        while (!path.empty()) {
            if (path.back().rest.empty()) {
                place[path.back().from.acquisition] = not_on_path;
                path.pop_back();
                continue;
            }
            const link l = path.back().rest.back();
            path.back().rest.pop_back();
            if (place[l.acquisition] != not_on_path) {
                begins = place[l.acquisition];
                std::vector<link> chain;
                for (const branch& b : path) { chain.push_back(b.from); }
                chain.push_back(l);
                name_what_is_wanted(chain);
                return chain;
            }
            if (!visited[l.acquisition]) { go_to(l); }
        }
        return {};
    }

    /// A shortest path from a wait to the oldest of those that do not move.
    [[nodiscard]] std::vector<link> path_to_culprit(std::size_t wait) const {
        struct path_node {
            link at;
            std::size_t from;
        };
        std::vector<bool> visited(seen_.acquisitions.size());
        std::vector<path_node> reached{{{wait, step::waits, std::nullopt}, 0}};
        visited[wait] = true;
        std::size_t culprit = 0;
        for (std::size_t i = 0; i < reached.size(); ++i) {
            const std::size_t here = reached[i].at.acquisition;
            const std::vector<link> onward = next(here, false);
            if (onward.empty() && (culprit == 0 || is_older(here, reached[culprit].at.acquisition))) { culprit = i; }
            for (const link& l : onward) {
                if (!visited[l.acquisition]) { reached.push_back({l, i}); }
                visited[l.acquisition] = true;
            }
        }
        std::vector<link> chain;
        for (std::size_t i = culprit; i != 0; i = reached[i].from) { chain.push_back(reached[i].at); }
        chain.push_back(reached.front().at);
        std::reverse(chain.begin(), chain.end());
        name_what_is_wanted(chain);
        return chain;
    }

    /// One whose age is not known has been there for long.
    [[nodiscard]] bool is_older(std::size_t a, std::size_t b) const {
        const auto& age_of_a = seen_.acquisitions[a].age;
        const auto& age_of_b = seen_.acquisitions[b].age;
        return age_of_b && (!age_of_a || *age_of_a > *age_of_b);
    }

    /// All those whose waits lead to `culprit`.
    [[nodiscard]] std::vector<bool> all_behind(std::size_t culprit) const {
        std::vector<std::vector<std::size_t>> behind(seen_.acquisitions.size());
        for (std::size_t i = 0; i < behind.size(); ++i) {
            for (const link& l : next(i, false)) { behind[l.acquisition].push_back(i); }
        }
        std::vector<bool> found(behind.size());
        std::vector<std::size_t> open{culprit};
        found[culprit] = true;
        while (!open.empty()) {
            const std::size_t here = open.back();
            open.pop_back();
            for (const std::size_t i : behind[here]) {
                if (!found[i]) { open.push_back(i); }
                found[i] = true;
            }
        }
        return found;
    }

    const domain_snapshot& seen_;
    std::map<std::size_t, std::vector<std::size_t>> by_transaction_; // acquisitions that wait
    std::map<void*, std::vector<std::size_t>> by_user_;
    std::map<std::string_view, std::vector<std::size_t>> by_name_; // into `seen_`
};

} // namespace dmasync::inline DMASYNC_ABI::detail
