// SPDX-License-Identifier: MIT
#pragma once
/// \file in_time.hpp  What to do about a lease that ran out: nothing made under it counts, so make it again.

#include <dmasync/error.hpp>
#include <dmasync/guard.hpp>
#include <dmasync/task.hpp>

#include <string>
#include <system_error>

namespace pipeline {

inline constexpr int most_attempts = 3;

/// Gives back what a step has held. Throws std::system_error with `errc::lease_expired` unless the hold has lasted until
/// now: only then no other stage has touched the frames meanwhile.
inline void finish(dmasync::guard& held) {
    if (const std::error_code ec = held.unlock(); ec) { throw std::system_error{ec}; }
}

/// Runs `step(args...)`, and again when it was late. A step must be repeatable: it takes its locks itself, makes all of
/// its result from what it is not going to change, and ends with finish().
/// Errors: what `step` throws; `errc::lease_expired`, naming `what`, when it was late too often.
template <class Step, class... Args>
[[nodiscard]] dmasync::task<> in_time(std::string what, Step step, Args&... args) {
    for (int attempt = 1;; ++attempt) {
        try {
            co_await step(args...);
            co_return;
        } catch (const std::system_error& error) {
            if (error.code() != dmasync::errc::lease_expired) { throw; }
            if (attempt == most_attempts) {
                throw std::system_error{error.code(), what + ": too slow " + std::to_string(attempt) + " times"};
            }
        }
    }
}

} // namespace pipeline
