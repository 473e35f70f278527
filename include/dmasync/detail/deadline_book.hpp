// SPDX-License-Identifier: MIT
#pragma once
/// \file deadline_book.hpp  Which of many leases and deadlines have passed. Entering and leaving cost a few stores.

#include <dmasync/detail/intrusive_list.hpp>

#include <algorithm>
#include <array>
#include <bit>
#include <chrono>
#include <cstddef>
#include <cstdint>

namespace dmasync::detail {

struct timed_tag;

/// Something that lasts from `since` until `until` at most.
struct timed : list_hook<timed_tag> {
    std::chrono::steady_clock::time_point since{};
    std::chrono::steady_clock::time_point until{};
};

/// Keeps `T`s, which derive from `timed`, by *duration*: one list for every power of two, each in order of entry.
///
/// Most things leave long before their time, so nothing is sorted when they enter. Within a list nobody's time comes
/// before its entry plus the list's shortest duration: a search may stop at the first one for which that is too late.
/// What has no end is not searched at all.
/// Threads: one at a time.
template <class T>
class deadline_book {
public:
    using time_point = std::chrono::steady_clock::time_point;

    /// Enters `t` at `now`. A `now` that is behind that of an earlier entry is moved up to it: lists stay in order.
    void enter(T& t, time_point now, time_point until) noexcept {
        latest_ = std::max(latest_, now);
        t.since = latest_;
        t.until = until;
        (until == time_point::max() ? endless_ : lists_[list_of(until - latest_)]).push_back(t);
    }

    /// Changes when an entered `t` ends; counts as a new entry, but for `since`, when it began.
    void move(T& t, time_point now, time_point until) noexcept {
        const time_point began = t.since;
        leave(t);
        enter(t, now, until);
        t.since = began; // earlier than the order of the list says: makes a search go on for longer, never stop early
    }

    static void leave(T& t) noexcept { list::erase(t); }

    /// Takes out everything that has ended by `now` and hands it to `ended`.
    /// Returns: when the next one ends; `time_point::max()` without one.
    template <class Ended>
    time_point collect(time_point now, Ended ended) {
        time_point next = time_point::max();
        for (std::size_t i = 0; i < lists_.size(); ++i) {
            for (T* t = lists_[i].front(); t != nullptr;) {
                T* following = lists_[i].next(*t);
                if (t->until <= now) {
                    leave(*t);
                    ended(*t);
                } else {
                    next = std::min(next, t->until);
                    if (not_before(*t, i) >= next) { break; }
                }
                t = following;
            }
        }
        return next;
    }

    /// Hands over everything, in no particular order.
    template <class Visit>
    void for_each(Visit visit) {
        const auto each_of = [&visit](list& l) {
            for (T* t = l.front(); t != nullptr;) {
                T* following = l.next(*t);
                visit(*t);
                t = following;
            }
        };
        for (list& l : lists_) { each_of(l); }
        each_of(endless_);
    }

private:
    using list = intrusive_list<T, timed_tag>;
    static constexpr unsigned unit_bits = 20; // durations are told apart in units of 2^20 ns, about a millisecond
    static constexpr std::size_t list_count = 32;

    /// List 0 is for durations below one unit, list i for 2^(i-1) units and above, the last one for all the rest.
    [[nodiscard]] static std::size_t list_of(std::chrono::nanoseconds duration) noexcept {
        const auto units = static_cast<std::uint64_t>(std::max<std::int64_t>(duration.count(), 0)) >> unit_bits;
        return std::min<std::size_t>(static_cast<std::size_t>(std::bit_width(units)), list_count - 1);
    }

    [[nodiscard]] static time_point not_before(const T& t, std::size_t i) noexcept {
        const std::int64_t shortest = i == 0 ? 0 : std::int64_t{1} << (i - 1 + unit_bits);
        return t.since + std::chrono::nanoseconds{shortest};
    }

    std::array<list, list_count> lists_; // invariant: in each, order of entry
    list endless_;                       // invariant: all that last until the end of time, and nothing else
    time_point latest_{};
};

} // namespace dmasync::detail
