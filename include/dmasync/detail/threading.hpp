// SPDX-License-Identifier: MIT
#pragma once
/// \file threading.hpp  What threads share and how they wait for each other: all that the library needs of either.
///
/// Everything by which one thread can see another goes through here, so that a checker can stand in for the machine: with
/// DMASYNC_THREADING defined as a header's name, that header provides the same names instead, and the library's own code
/// runs under a scheduler that tries one interleaving after the other.

#if defined(DMASYNC_THREADING)
#include DMASYNC_THREADING
#else

#include <algorithm>
#include <atomic>
#include <chrono>
#include <climits>
#include <cstdint>
#include <mutex>
#include <thread>

#include <linux/futex.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

namespace dmasync::detail {

template <class T>
using atomic = std::atomic<T>;

using mutex = std::mutex; // around system calls; what is in memory has a spin_lock

using thread_id = std::thread::id; // a default one is no thread's

[[nodiscard]] inline thread_id this_thread_id() noexcept { return std::this_thread::get_id(); }

/// Tells the processor that this is a waiting loop.
inline void spin_hint() noexcept {
#if defined(__x86_64__) || defined(__i386__)
    __builtin_ia32_pause();
#elif defined(__aarch64__) || defined(__arm__)
    asm volatile("yield" ::: "memory");
#endif
}

/// Leaves the processor to others, a thread of lower priority among them, for some tens of microseconds.
inline void nap() noexcept {
    constexpr timespec length{0, 50'000};
    ::clock_nanosleep(CLOCK_MONOTONIC, 0, &length, nullptr);
}

using futex_word = atomic<std::uint32_t>;
static_assert(sizeof(futex_word) == sizeof(std::uint32_t) && futex_word::is_always_lock_free);

/// Sleeps while `word` is `expected`, for `limit` at most: `std::atomic::wait` with a time limit. May return early for no
/// reason: look at the word again.
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

#endif
