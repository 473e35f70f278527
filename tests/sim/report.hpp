// SPDX-License-Identifier: MIT
#pragma once
/// \file report.hpp  What happened in a run, in words and as one number, and what went wrong.

#include <cstdint>
#include <string>

namespace sim {

/// What has to be true at every moment, by the numbers of docs/design.md where it has one. The value is an exit code.
enum class invariant : std::uint8_t {
    none = 0,
    exclusive = 10, ///< S1 one writer or only readers
    whole,          ///< S2 a set is visible all at once, an aborted one leaves nothing
    token,          ///< S3 tokens grow at conflicting grants, and what is stale is refused
    complete,       ///< S4 no wound hits a complete hold
    outcome,        ///< S5 exactly one outcome for each waiter
    ticket,         ///< S6 live tickets are distinct
    late,           ///< S7 a late unlock says so and changes nothing
    graph,          ///< S8 waits go to holders and older waiters, and nothing waits for nothing
    order,          ///< R2, R5 no claim overtakes an older waiter that conflicts; queues are by age
    lease,          ///< no lease ends before its time, none of what is over stays in the book
    bracket,        ///< no END without its START, no START left without its END
    fence,          ///< no lock is given what a device was at work on when it asked
    counters,       ///< they agree with what was seen
    drains,         ///< without faults everything comes to its end, and all is free again
    leaks,          ///< no descriptor and no claim is left
    ends,           ///< the run ends
    answers,        ///< a call answers what its contract says
    crash,          ///< the process died
    replay,         ///< the same seed gives the same run
    sight,          ///< a snapshot shows a state that can be
};

[[nodiscard]] const char* name_of(invariant i) noexcept;

/// Also believe what is not true: that a hold which was downgraded never expires.
extern bool believe_nonsense;

/// Something that was found wrong. Ends the run.
[[noreturn]] void violated(invariant i, const char* format, ...) __attribute__((format(printf, 2, 3)));

/// What was found wrong in the last run.
struct finding {
    invariant what = invariant::none;
    std::string text;
};
[[nodiscard]] const finding& found();

/// Words of an event; %d stands for up to three numbers. Hashed when it is compiled: no address leaks into the run's hash.
struct phrase {
    // NOLINTNEXTLINE(google-explicit-constructor)
    consteval phrase(const char* words) noexcept : text{words}, hash{14695981039346656037U} {
        for (const char* c = words; *c != '\0'; ++c) {
            hash = (hash ^ static_cast<unsigned char>(*c)) * 1099511628211U;
        }
    }
    const char* text;
    std::uint64_t hash;
};

/// Writes an event of the running thread down.
void note(phrase what, std::int64_t a = 0, std::int64_t b = 0, std::int64_t c = 0) noexcept;

/// Forgets everything. With `aloud` each event is printed as it is noted.
void start_report(bool aloud);

/// The virtual time of notes, in ns.
extern std::int64_t time_of_notes;

/// A number that two runs share only if they are the same.
[[nodiscard]] std::uint64_t hash_of_run() noexcept;

/// The last events, in words, a line each.
[[nodiscard]] std::string last_events();

} // namespace sim
