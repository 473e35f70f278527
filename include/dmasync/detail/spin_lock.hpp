// SPDX-License-Identifier: MIT
#pragma once
/// \file spin_lock.hpp  The lock around a domain's state, for critical sections of tens of nanoseconds.

#include <atomic>

#include <time.h>

namespace dmasync::detail {

/// Tells the processor that this is a waiting loop.
inline void spin_hint() noexcept {
#if defined(__x86_64__) || defined(__i386__)
    __builtin_ia32_pause();
#elif defined(__aarch64__) || defined(__arm__)
    asm volatile("yield" ::: "memory");
#endif
}

/// One compare-and-swap to lock, one plain store to unlock. A thread that has to wait backs off exponentially, which
/// lets the holder keep its cache line, and in the end sleeps, so that a real-time thread cannot spin out the thread it
/// has preempted.
///
///   unlock: store 0, release   ---synchronises with-->   lock: compare 0 -> 1, acquire
class spin_lock {
public:
    void lock() noexcept {
        if (!try_lock()) [[unlikely]] { lock_contended(); }
    }

    [[nodiscard]] bool try_lock() noexcept {
        unsigned expected = 0;
        return word_.compare_exchange_strong(expected, 1, std::memory_order_acquire, std::memory_order_relaxed);
    }

    void unlock() noexcept { word_.store(0, std::memory_order_release); }

private:
    [[gnu::noinline]] void lock_contended() noexcept {
        constexpr unsigned longest_spin = 1U << 10U;
        constexpr unsigned spins_before_sleep = 16; // of the longest: some tens of microseconds
        constexpr timespec nap{0, 50'000};
        unsigned spin = 4;
        for (unsigned rounds = 0;; ++rounds) {
            for (unsigned i = 0; i < spin; ++i) { spin_hint(); }
            if (word_.load(std::memory_order_relaxed) == 0 && try_lock()) { return; }
            if (spin < longest_spin) {
                spin *= 2;
                rounds = 0;
            } else if (rounds >= spins_before_sleep) {
                ::clock_nanosleep(CLOCK_MONOTONIC, 0, &nap, nullptr);
            }
        }
    }

    std::atomic<unsigned> word_{0};
};

} // namespace dmasync::detail
