// SPDX-License-Identifier: MIT
#pragma once
/// \file deadline_index.hpp  Which of many leases and deadlines have passed. Entering and leaving cost a few stores.

#include <dmasync/detail/base/intrusive_list.hpp>
#include <dmasync/version.hpp>

#include <algorithm>
#include <array>
#include <bit>
#include <chrono>
#include <cstddef>
#include <cstdint>

namespace dmasync::inline DMASYNC_ABI::detail {

struct timed_tag;

/// Something that lasts from `since` until `until` at most.
struct timed : list_hook<timed_tag> {
    std::chrono::steady_clock::time_point since{};
    std::chrono::steady_clock::time_point until{};
};

/// How long something lasts, and what a book makes of that: worked out once for many entries.
class deadline_span {
public:
    constexpr deadline_span() noexcept = default;
    /// From about 150 years on it has no end.
    constexpr explicit deadline_span(std::chrono::nanoseconds length) noexcept
        : length_{length < longest ? length : std::chrono::nanoseconds::max()}, list_{list_of(length)} {}

    [[nodiscard]] constexpr std::chrono::nanoseconds length() const noexcept { return length_; }

private:
    template <class T>
    friend class deadline_index;

    static constexpr unsigned unit_bits = 20; // durations are told apart in units of 2^20 ns, about a millisecond
    static constexpr std::uint32_t list_count = 32;
    static constexpr std::uint32_t endless = list_count; // one more list, which is never looked through
    static constexpr std::chrono::nanoseconds longest{std::int64_t{1} << 62U};

    /// List 0 is for durations below one unit, list i for 2^(i-1) units and above, the last one for all the rest.
    [[nodiscard]] static constexpr std::uint32_t list_of(std::chrono::nanoseconds length) noexcept {
        if (length >= longest) { return endless; }
        const auto units = static_cast<std::uint64_t>(std::max<std::int64_t>(length.count(), 0)) >> unit_bits;
        return std::min(static_cast<std::uint32_t>(std::bit_width(units)), list_count - 1);
    }

    std::chrono::nanoseconds length_ = std::chrono::nanoseconds::max();
    std::uint32_t list_ = endless;
};

/// Keeps `T`s, which derive from `timed`, by *duration*: one list for every power of two, each in order of entry.
///
/// Most things leave long before their time, so nothing is sorted when they enter. Within a list no time comes
/// before its entry plus the list's shortest duration: a search may stop at the first one for which that is too late.
/// What is known to have no end when it enters is in none that is searched.
///
/// A caller that reads the clock seldom enters things without a time, and says later what time it is: they begin then.
/// Threads: one at a time.
template <class T>
class deadline_index {
public:
    using time_point = std::chrono::steady_clock::time_point;

    /// Enters `t` at `now`. A `now` that is behind that of an earlier entry is moved up to it: lists stay in order.
    /// Returns: when it ends.
    [[gnu::always_inline]] time_point enter(T& t, time_point now, const deadline_span& span) noexcept {
        if (now < latest_) [[unlikely]] { now = latest_; }
        latest_ = t.since = now;
        lists_[span.list_].push_back(t);
        return t.until = end_of(now, span);
    }

    /// Enters `t`, which begins when `date` says what time it is. Until then `since` and `until` say nothing.
    void enter_undated(T& t) noexcept { undated_.push_back(t); }

    /// Whatever has been entered without a time, and not left, begins `now`. `span_of(t)`: for how long.
    /// Returns: when the first of them ends; `time_point::max()` without one.
    template <class SpanOf>
    time_point date(time_point now, SpanOf span_of) noexcept {
        time_point first = time_point::max();
        while (T* t = undated_.pop_front()) { first = std::min(first, enter(*t, now, span_of(*t))); }
        return first;
    }

    /// The same, with an end that is given.
    void enter(T& t, time_point now, time_point until) noexcept {
        latest_ = std::max(latest_, now);
        t.since = latest_;
        t.until = until;
        if (until != time_point::max()) { lists_[deadline_span::list_of(until - latest_)].push_back(t); }
    }

    /// Changes when an entered `t` ends; counts as a new entry, but for `since`, when it began.
    void move(T& t, time_point now, time_point until) noexcept {
        const time_point began = t.since;
        leave(t);
        enter(t, now, until);
        t.since = began; // earlier than the order of the list says: makes a search go on for longer, never stop early
    }

    /// Takes `t` out, if it is in.
    static void leave(T& t) noexcept {
        if (list::is_linked(t)) [[likely]] { list::erase(t); }
    }

    /// Takes out everything that has ended by `now` and hands it to `ended`.
    /// Returns: when the next one ends; `time_point::max()` without one.
    template <class Ended>
    time_point collect(time_point now, Ended ended) {
        time_point next = time_point::max();
        for (std::size_t i = 0; i < deadline_span::list_count; ++i) {
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

private:
    using list = intrusive_list<T, timed_tag>;

    /// The sum, or the end of time where there is no such time: it shows by its sign.
    [[nodiscard]] static time_point end_of(time_point now, const deadline_span& span) noexcept {
        const auto sum = static_cast<std::int64_t>(static_cast<std::uint64_t>(now.time_since_epoch().count()) +
                                                   static_cast<std::uint64_t>(span.length().count()));
        return sum < 0 ? time_point::max() : time_point{std::chrono::nanoseconds{sum}};
    }

    [[nodiscard]] static time_point not_before(const T& t, std::size_t i) noexcept {
        const std::int64_t shortest = i == 0 ? 0 : std::int64_t{1} << (i - 1 + deadline_span::unit_bits);
        return t.since + std::chrono::nanoseconds{shortest};
    }

    time_point latest_{};                                   // first: beside what else every lock touches
    std::array<list, deadline_span::list_count + 1> lists_; // invariant: in each, order of entry
    list undated_;
};

} // namespace dmasync::inline DMASYNC_ABI::detail
