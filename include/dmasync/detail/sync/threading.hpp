// SPDX-License-Identifier: MIT
#pragma once
/// \file threading.hpp  What threads share and how they wait for each other: all that the library needs of either.
///
/// Everything by which one thread can see another goes through here, so that a checker can stand in for the machine: with
/// DMASYNC_THREADING defined as a header's name, that header provides the same names instead, and the library's own code
/// runs under a scheduler that tries one interleaving after the other.

#include <dmasync/version.hpp>

#if defined(DMASYNC_THREADING)
#include DMASYNC_THREADING
#else

#include <algorithm>
#include <atomic>
#include <bit>
#include <chrono>
#include <climits>
#include <cstdint>
#include <limits>
#include <mutex>

#include <linux/futex.h>
#include <linux/membarrier.h>
#include <linux/time_types.h>
#include <pthread.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

namespace dmasync::inline DMASYNC_ABI::detail {

template <class T>
using atomic = std::atomic<T>;

using mutex = std::mutex; // around system calls; what is in memory has a spin_lock

/// Tells living threads apart. That of a thread which has ended may be another one's by now; null is no thread's.
using thread_id = const void*;

/// For processors whose way of telling is not known here. Not an address of a variable of the thread's: each shared object
/// that hides its symbols has its own. Not inlined, so that its result is not kept for longer than a call.
[[nodiscard, gnu::noinline]] inline thread_id thread_of_libc() noexcept {
    asm volatile("");
    return std::bit_cast<thread_id>(::pthread_self());
}

/// Where the thread keeps what is its own: one instruction, where the standard library calls a function. Asked for anew
/// each time: a coroutine may have moved to another thread since.
[[nodiscard]] inline thread_id this_thread_id() noexcept {
#if defined(__x86_64__) && !defined(__ILP32__)
    thread_id id = nullptr;
    asm volatile("mov %%fs:0, %0" : "=r"(id)); // the ABI has it point at itself
    return id;
#elif defined(__aarch64__)
    thread_id id = nullptr;
    asm volatile("mrs %0, tpidr_el0" : "=r"(id));
    return id;
#else
    return thread_of_libc();
#endif
}

/// A pointer of the calling thread's own, null at first: one for each `T`, in each shared object that hides its symbols. Not
/// inlined, so that the reference is not kept for longer than a call.
template <class T>
[[nodiscard, gnu::noinline]] T*& own_pointer() noexcept {
    static thread_local T* pointer = nullptr;
    asm volatile("");
    return pointer;
}

/// Keeps the compiler from moving memory accesses across it. The processor may: see `process_fence`.
inline void compiler_fence() noexcept { std::atomic_signal_fence(std::memory_order_seq_cst); }

/// Whether there is a `process_fence`. To be asked before the first.
[[nodiscard]] inline bool has_process_fence() noexcept {
    return ::syscall(SYS_membarrier, MEMBARRIER_CMD_REGISTER_PRIVATE_EXPEDITED, 0, 0) == 0;
}

/// Every thread of the process passes a full fence between the call and the return, wherever it is: some microseconds. So
/// threads that do one thing often need no more than a `compiler_fence`, if threads that do the opposite seldom have this.
/// Returns: whether it was made; a sandbox may have come to refuse it.
/// Source: membarrier(2).
[[nodiscard]] inline bool process_fence() noexcept {
    return ::syscall(SYS_membarrier, MEMBARRIER_CMD_PRIVATE_EXPEDITED, 0, 0) == 0;
}

/// What an atomic holds, for an assertion: to read it is no step of the program.
template <class T>
[[nodiscard]] T peek(const atomic<T>& a) noexcept {
    return a.load(std::memory_order_relaxed);
}

/// Called where the only thread of a single-threaded lock leaves it, which stores nothing. For a checker.
inline void left_exclusive(const void* /*word*/) noexcept {}

/// For how many `spin_hint`s a thread that finds a lock taken waits at first: some hundreds of nanoseconds to two microseconds. The other
/// one gets so much done meanwhile that it pays to have moved the lock, and what is behind it, from processor to processor.
inline constexpr unsigned spins_at_first = 32;

/// How often a loop looks for posts of other threads before it sleeps, where that pays (event_loop): about as long as it
/// takes the kernel to wake a thread.
inline constexpr unsigned looks_before_sleep = 400;

/// How often a caller that finds a set held by another thread looks again before it queues (domain_state).
inline constexpr unsigned looks_before_queue = 6;

/// How often in a row one thread has a lock to itself before it is given the bias (biased_lock).
inline constexpr std::uint32_t uses_before_bias = 1000;

/// How many times as often it has to be after each revocation: a thread that naps for its turn lets another one have thousands
/// in a row.
inline constexpr std::uint32_t bias_growth = 8;

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

/// How the kernel reads the time limit of SYS_futex: on 32 bits with two words of 32 bits, whatever the C library has made of
/// `timespec` (_TIME_BITS=64). A limit that has more seconds than fit is cut, which is an early return.
[[nodiscard]] inline __kernel_old_timespec futex_limit(std::chrono::nanoseconds limit) noexcept {
    using seconds = decltype(__kernel_old_timespec::tv_sec);
    const std::int64_t ns = std::max<std::int64_t>(limit.count(), 0);
    const std::int64_t most = std::numeric_limits<seconds>::max();
    return {static_cast<seconds>(std::min<std::int64_t>(ns / 1'000'000'000, most)),
            static_cast<long>(ns % 1'000'000'000)};
}

/// Sleeps while `word` is `expected`, for `limit` at most: `std::atomic::wait` with a time limit. May return early for no
/// reason: look at the word again.
inline void futex_wait(const futex_word& word, std::uint32_t expected, std::chrono::nanoseconds limit) noexcept {
    const __kernel_old_timespec timeout = futex_limit(limit);
    ::syscall(SYS_futex, &word, FUTEX_WAIT_PRIVATE, expected, &timeout, nullptr, 0);
}

/// Wakes the threads that sleep on `word`. The word may be gone by now: then this wakes no thread, or one for no reason.
inline void futex_wake(const futex_word& word) noexcept {
    ::syscall(SYS_futex, &word, FUTEX_WAKE_PRIVATE, INT_MAX, nullptr, nullptr, 0);
}

} // namespace dmasync::inline DMASYNC_ABI::detail

#endif
