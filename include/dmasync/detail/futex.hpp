// SPDX-License-Identifier: MIT
#pragma once
/// \file futex.hpp  A thread sleeps until a word changes. `std::atomic::wait` with a time limit.

#include <algorithm>
#include <atomic>
#include <chrono>
#include <climits>
#include <cstdint>

#include <linux/futex.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

namespace dmasync::detail {

using futex_word = std::atomic<std::uint32_t>;
static_assert(sizeof(futex_word) == sizeof(std::uint32_t) && futex_word::is_always_lock_free);

/// Sleeps while `word` is `expected`, for `limit` at most. May return early for no reason: look at the word again.
inline void futex_wait(const futex_word& word, std::uint32_t expected, std::chrono::nanoseconds limit) noexcept {
    const std::int64_t ns = std::max<std::int64_t>(limit.count(), 0);
    const timespec timeout{static_cast<time_t>(ns / 1'000'000'000), static_cast<long>(ns % 1'000'000'000)};
    ::syscall(SYS_futex, &word, FUTEX_WAIT_PRIVATE, expected, &timeout, nullptr, 0);
}

/// Wakes the threads that sleep on `word`. The word may be gone by now: then this wakes nobody, or somebody for no reason.
inline void futex_wake(const futex_word& word) noexcept {
    ::syscall(SYS_futex, &word, FUTEX_WAKE_PRIVATE, INT_MAX, nullptr, nullptr, 0);
}

} // namespace dmasync::detail
