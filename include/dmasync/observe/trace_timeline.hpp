// SPDX-License-Identifier: MIT
#pragma once
/// \file trace_timeline.hpp  What was held when, and what waited for what: the records of a trace, put together.

#include <dmasync/access_mode.hpp>
#include <dmasync/observe/trace.hpp>
#include <dmasync/version.hpp>

#include <algorithm>
#include <array>
#include <cstddef>
#include <cstdint>
#include <map>
#include <string>
#include <string_view>
#include <tuple>
#include <utility>
#include <vector>

namespace dmasync::inline DMASYNC_ABI {

/// A stretch of time on one buffer's track.
enum class slice_kind : std::uint8_t {
    hold,  ///< held
    wait,  ///< stood in the queue for it
    fence, ///< was granted it, and waited for devices
};

/// How such a stretch ended.
enum class slice_end : std::uint8_t {
    open,        ///< not before the trace did
    unknown,     ///< the record of it is lost
    granted,     ///< of a wait: it became a hold, or waits for devices now
    released,    ///< unlocked
    device_done, ///< unlocked, when the device had finished that it was lent to
    expired,     ///< the lease ran out
    changed,     ///< goes on with another access
    gave_up,     ///< of a wait: `why`
};

[[nodiscard]] constexpr std::string_view to_string(slice_kind k) noexcept {
    constexpr std::array<std::string_view, 3> names{"hold", "wait", "fence"};
    return names[static_cast<std::size_t>(k)];
}
[[nodiscard]] constexpr std::string_view to_string(slice_end e) noexcept {
    constexpr std::array<std::string_view, 8> names{"open",        "unknown", "granted", "released",
                                                    "device done", "expired", "changed", "gave up"};
    return names[static_cast<std::size_t>(e)];
}

/// Everything that a trace tells, in the order of buffers and of time. Units: nanoseconds of the recorded clock.
struct trace_timeline {
    struct track {
        std::string name;
        std::string domain;
        std::uint64_t bytes = 0; ///< 0 when the record of it is lost
        std::uint32_t holds = 0; ///< lanes that holds take, since readers share
        std::uint32_t waits = 0; ///< lanes that waits take
    };

    struct slice {
        std::uint32_t track = 0;
        slice_kind kind{};
        access_mode mode{};
        slice_end end = slice_end::open;
        bool began_before = false; ///< the record of its begin is lost, or there was no trace yet
        std::uint32_t lane = 0;    ///< slices of one kind in one lane do not overlap; waits and fences share theirs
        std::uint32_t lock = 0;    ///< the same for all the slices of an acquisition
        std::uint32_t set = 0;     ///< index in `sets`
        std::uint32_t begin_thread = 0; ///< index in `threads`
        std::uint32_t end_thread = 0;
        std::int32_t why = 0; ///< of `gave_up`: an errc; below zero: an errno, negated
        std::int64_t begin = 0;
        std::int64_t until = 0;
        std::int64_t waited = 0; ///< of a hold: for how long it waited, in the queue and for devices
        std::int64_t lent = -1;  ///< of a hold: since when it is lent to a device; -1 if it is not
    };

    struct mark {
        std::uint32_t track = 0;
        trace_kind kind{}; ///< refused, expired, lent, overdue, device_failed, renewed, wounded, died
        access_mode mode{};
        std::uint32_t set = 0;
        std::uint32_t thread = 0;
        std::int32_t why = 0;
        std::int64_t time = 0;
    };

    std::vector<track> tracks;
    std::vector<slice> slices;         ///< by begin, then by end
    std::vector<mark> marks;           ///< by time
    std::vector<std::string> sets{{}}; ///< names; the first is empty
    std::vector<trace_log::thread> threads;
    std::int64_t begin = 0;
    std::int64_t end = 0;
    std::uint64_t locks = 0;        ///< sets that were granted
    std::uint64_t recorded = 0;     ///< records
    std::uint64_t lost = 0;         ///< of them
    std::int64_t complete_from = 0; ///< nothing is lost of what happened after this

    trace_timeline() = default;
    explicit trace_timeline(const trace_log& log);
};

namespace detail {

/// Puts a timeline together, record by record.
class trace_timeline_builder {
public:
    trace_timeline_builder(trace_timeline& out, const trace_log& log) : out_{out} {
        out.threads = log.threads;
        out.recorded = log.recorded;
        out.lost = log.lost;
        for (const trace_log::traced_domain& d : log.domains) { domains_[d.id] = d.name; }
        for (std::uint32_t i = 0; i < log.threads.size(); ++i) { threads_.emplace(log.threads[i].id, i); }
        if (!log.events.empty()) { out.begin = out.complete_from = log.events.front().time; }
        out.end = out.begin;
        for (const trace_event& e : log.events) {
            out.end = std::max(out.end, e.time);
            if (e.sequence < log.complete_from) { out.complete_from = std::max(out.complete_from, e.time); }
            add(e);
        }
        finish();
    }

private:
    using key = std::pair<std::uint64_t, std::uint64_t>; // claim, buffer

    /// What is known of a buffer of an acquisition that is under way.
    struct state {
        std::size_t slice = 0; // the one that is open
        std::uint32_t lock = 0;
        std::int64_t asked = 0; // since when it has waited
    };

    void add(const trace_event& e) {
        const std::uint32_t t = track_of(e);
        switch (e.kind) {
        case trace_kind::buffer: out_.tracks[t].bytes = e.other; break;
        case trace_kind::waits: open(e, t, slice_kind::wait); break;
        case trace_kind::fenced: open(e, t, slice_kind::fence); break;
        case trace_kind::granted: grant(e, t); break;
        case trace_kind::gave_up: close(e, t, slice_kind::wait, slice_end::gave_up); break;
        case trace_kind::released: close(e, t, slice_kind::hold, slice_end::released); break;
        case trace_kind::device_done: close(e, t, slice_kind::hold, slice_end::device_done); break;
        case trace_kind::expired:
            close(e, t, slice_kind::hold, slice_end::expired);
            mark(e, t);
            break;
        case trace_kind::changed: change(e, t); break;
        case trace_kind::moved: move(e); break;
        case trace_kind::lent: lend(e, t); break;
        case trace_kind::refused:
        case trace_kind::overdue:
        case trace_kind::device_failed:
        case trace_kind::renewed:
        case trace_kind::wounded:
        case trace_kind::died: mark(e, t); break;
        }
    }

    /// Begins a slice; of a wait or fence of the same acquisition that is open it is the continuation.
    void open(const trace_event& e, std::uint32_t t, slice_kind k) {
        const auto found = open_.find({e.claim, e.buffer});
        state next{out_.slices.size(), 0, e.time};
        given_up_.erase({e.claim, e.buffer});
        if (found != open_.end()) {
            trace_timeline::slice& before = out_.slices[found->second.slice];
            if (before.kind == k && k == slice_kind::fence) { return; } // several fences
            const bool goes_on = before.kind != slice_kind::hold && k != slice_kind::wait;
            end(before, e, goes_on ? slice_end::granted : slice_end::unknown);
            if (goes_on) { next.asked = found->second.asked; }
        }
        next.lock = lock_of(e, found == open_.end() ? nullptr : &found->second);
        out_.slices.push_back(slice_of(e, t, k, next.lock));
        open_[{e.claim, e.buffer}] = next;
    }

    void grant(const trace_event& e, std::uint32_t t) {
        out_.locks += e.leads ? 1 : 0;
        open(e, t, slice_kind::hold);
        const state& s = open_[{e.claim, e.buffer}];
        out_.slices[s.slice].waited = e.time - s.asked;
    }

    void close(const trace_event& e, std::uint32_t t, slice_kind k, slice_end how) {
        const auto found = open_.find({e.claim, e.buffer});
        if (found == open_.end()) {
            if (const auto at = given_up_.find({e.claim, e.buffer}); at != given_up_.end()) {
                out_.slices[at->second].why = e.why;
                given_up_.erase(at);
                return;
            }
            trace_timeline::slice unseen = slice_of(e, t, k, next_lock_++);
            unseen.begin = out_.begin;
            unseen.began_before = true;
            end(unseen, e, how);
            out_.slices.push_back(unseen);
            return;
        }
        trace_timeline::slice& open = out_.slices[found->second.slice];
        const bool gave_up_at_gate = open.kind != slice_kind::hold && how != slice_end::gave_up;
        end(open, e, gave_up_at_gate ? slice_end::gave_up : how);
        open.why = e.why;
        if (gave_up_at_gate) { given_up_[{e.claim, e.buffer}] = found->second.slice; }
        open_.erase(found);
    }

    void change(const trace_event& e, std::uint32_t t) {
        const auto found = open_.find({e.claim, e.buffer});
        if (found == open_.end()) { return; }
        trace_timeline::slice& before = out_.slices[found->second.slice];
        if (before.mode == e.mode) { return; }
        end(before, e, slice_end::changed);
        trace_timeline::slice after = slice_of(e, t, slice_kind::hold, found->second.lock);
        after.lent = before.lent;
        found->second.slice = out_.slices.size();
        out_.slices.push_back(after);
    }

    void move(const trace_event& e) {
        auto node = open_.extract({e.other, e.buffer});
        if (node.empty()) { return; }
        node.key() = {e.claim, e.buffer};
        open_.insert(std::move(node));
    }

    void lend(const trace_event& e, std::uint32_t t) {
        const auto found = open_.find({e.claim, e.buffer});
        if (found != open_.end()) { out_.slices[found->second.slice].lent = e.time; }
        mark(e, t);
    }

    void mark(const trace_event& e, std::uint32_t t) {
        out_.marks.push_back({t, e.kind, e.mode, set_of(e), thread_of(e), e.why, e.time});
    }

    void finish() {
        for (const auto& [k, s] : open_) {
            trace_timeline::slice& open = out_.slices[s.slice];
            open.until = out_.end;
            open.end_thread = open.begin_thread;
            if (open.begin < out_.complete_from) {
                open.end = slice_end::unknown;
                open.until = out_.complete_from;
            }
        }
        const auto rank = [](const trace_timeline::slice& s) { // a wait comes before the hold that it became at once
            return std::tuple{s.begin, s.until, s.lock, s.track, s.kind == slice_kind::hold};
        };
        std::sort(out_.slices.begin(), out_.slices.end(),
                  [&rank](const auto& a, const auto& b) { return rank(a) < rank(b); });
        choose_lanes();
    }

    /// Each slice goes into the first lane of its track, of holds or of waits, that is free by then.
    void choose_lanes() {
        std::vector<std::array<std::vector<std::int64_t>, 2>> ends(out_.tracks.size());
        for (trace_timeline::slice& s : out_.slices) {
            std::vector<std::int64_t>& lanes = ends[s.track][s.kind == slice_kind::hold ? 0 : 1];
            const auto free =
                std::find_if(lanes.begin(), lanes.end(), [&s](std::int64_t end) { return end <= s.begin; });
            s.lane = static_cast<std::uint32_t>(free - lanes.begin());
            if (free == lanes.end()) {
                lanes.push_back(s.until);
            } else {
                *free = s.until;
            }
        }
        for (std::size_t t = 0; t < ends.size(); ++t) {
            out_.tracks[t].holds = static_cast<std::uint32_t>(ends[t][0].size());
            out_.tracks[t].waits = static_cast<std::uint32_t>(ends[t][1].size());
        }
    }

    void end(trace_timeline::slice& s, const trace_event& e, slice_end how) {
        s.end = how;
        s.until = std::max(s.begin, e.time);
        s.end_thread = thread_of(e);
    }

    trace_timeline::slice slice_of(const trace_event& e, std::uint32_t t, slice_kind k, std::uint32_t lock) {
        trace_timeline::slice s;
        s.track = t;
        s.kind = k;
        s.mode = e.mode;
        s.lock = lock;
        s.set = set_of(e);
        s.begin_thread = thread_of(e);
        s.begin = s.until = e.time;
        return s;
    }

    /// What an acquisition asks for in one step has one number, which it keeps.
    std::uint32_t lock_of(const trace_event& e, const state* known) {
        if (known != nullptr && e.kind != trace_kind::waits) { return known->lock; }
        const auto [found, fresh] = locks_.try_emplace(e.claim, next_lock_);
        if (e.leads || fresh) { found->second = next_lock_++; }
        return found->second;
    }

    std::uint32_t track_of(const trace_event& e) {
        const auto [found, fresh] =
            tracks_.try_emplace({e.buffer, std::string{e.buffer_name.view()}}, out_.tracks.size());
        if (fresh) {
            const auto domain = domains_.find(e.domain);
            out_.tracks.push_back({std::string{e.buffer_name.view()}, domain == domains_.end() ? "" : domain->second});
        }
        return static_cast<std::uint32_t>(found->second);
    }

    std::uint32_t set_of(const trace_event& e) {
        if (e.set.empty()) { return 0; }
        const auto [found, fresh] = sets_.try_emplace(std::string{e.set.view()}, out_.sets.size());
        if (fresh) { out_.sets.emplace_back(e.set.view()); }
        return static_cast<std::uint32_t>(found->second);
    }

    std::uint32_t thread_of(const trace_event& e) {
        const auto [found, fresh] = threads_.try_emplace(e.thread, static_cast<std::uint32_t>(out_.threads.size()));
        if (fresh) { out_.threads.push_back({e.thread, {}}); }
        return found->second;
    }

    trace_timeline& out_;
    std::map<std::uint64_t, std::string> domains_;
    std::map<std::uint32_t, std::uint32_t> threads_;
    std::map<std::string, std::size_t> sets_;
    std::map<std::pair<std::uint64_t, std::string>, std::size_t> tracks_;
    std::map<key, state> open_;
    std::map<key, std::size_t> given_up_;          // at the gate; why comes with the next record
    std::map<std::uint64_t, std::uint32_t> locks_; // the latest number of each claim
    std::uint32_t next_lock_ = 0;
};

} // namespace detail

inline trace_timeline::trace_timeline(const trace_log& log) { detail::trace_timeline_builder{*this, log}; }

} // namespace dmasync::inline DMASYNC_ABI
