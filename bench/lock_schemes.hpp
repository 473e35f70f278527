// SPDX-License-Identifier: MIT
#pragma once
/// \file lock_schemes.hpp  Ways to lock some words of memory for some tens of nanoseconds, to be weighed against each other.

#include <dmasync/detail/sync/biased_lock.hpp>
#include <dmasync/detail/sync/spin_lock.hpp>

#include <atomic>
#include <cstdint>
#include <mutex>

#include <linux/futex.h>
#include <pthread.h>
#include <sys/syscall.h>
#include <unistd.h>

namespace schemes {

/// What domains have: plain stores for the thread that uses it most, else as the next one.
struct biased : dmasync::detail::biased_lock {
    static constexpr const char* what = "biased towards its owner; else as the next one";
};

/// Compare-and-swap, plain store; a waiter backs off, and sleeps in the end.
struct plain_store_back_off : dmasync::detail::spin_lock {
    static constexpr const char* what = "plain store; back-off that sleeps";
};

/// The same, with waiters that look again as soon as they can, and never sleep.
class plain_store_spin {
public:
    static constexpr const char* what = "plain store; spins for ever";

    void lock() noexcept {
        while (!try_lock()) {
            do { dmasync::detail::spin_hint(); } while (word_.load(std::memory_order_relaxed) != 0);
        }
    }
    [[nodiscard]] bool try_lock() noexcept {
        std::uint32_t expected = 0;
        return word_.compare_exchange_strong(expected, 1, std::memory_order_acquire, std::memory_order_relaxed);
    }
    void unlock() noexcept { word_.store(0, std::memory_order_release); }

private:
    std::atomic<std::uint32_t> word_{0};
};

/// Compare-and-swap, exchange, futex: a waiter says so in the word and sleeps until it is woken.
/// Source: Drepper, "Futexes Are Tricky" (2011), mutex 2.
class exchange_futex {
public:
    static constexpr const char* what = "exchange; futex";

    void lock() noexcept {
        if (try_lock()) { return; }
        while (word_.exchange(awaited, std::memory_order_acquire) != unlocked) {
            ::syscall(SYS_futex, &word_, FUTEX_WAIT_PRIVATE, awaited, nullptr, nullptr, 0);
        }
    }
    [[nodiscard]] bool try_lock() noexcept {
        std::uint32_t expected = unlocked;
        return word_.compare_exchange_strong(expected, locked, std::memory_order_acquire, std::memory_order_relaxed);
    }
    void unlock() noexcept {
        if (word_.exchange(unlocked, std::memory_order_release) == awaited) {
            ::syscall(SYS_futex, &word_, FUTEX_WAKE_PRIVATE, 1, nullptr, nullptr, 0);
        }
    }

private:
    static constexpr std::uint32_t unlocked = 0;
    static constexpr std::uint32_t locked = 1;
    static constexpr std::uint32_t awaited = 2; // locked, and a thread may be asleep
    std::atomic<std::uint32_t> word_{unlocked};
};

/// The kernel lends the holder the priority of the thread that waits for it.
/// Source: pthread_mutexattr_setprotocol(3), futex(2): FUTEX_LOCK_PI.
class pi_mutex {
public:
    static constexpr const char* what = "`pthread_mutex_t`, priority inheritance";

    pi_mutex() noexcept {
        pthread_mutexattr_t options{};
        ::pthread_mutexattr_init(&options);
        ::pthread_mutexattr_setprotocol(&options, PTHREAD_PRIO_INHERIT);
        ::pthread_mutex_init(&mutex_, &options);
        ::pthread_mutexattr_destroy(&options);
    }
    pi_mutex(const pi_mutex&) = delete;
    pi_mutex& operator=(const pi_mutex&) = delete;
    ~pi_mutex() { ::pthread_mutex_destroy(&mutex_); }

    void lock() noexcept { ::pthread_mutex_lock(&mutex_); }
    [[nodiscard]] bool try_lock() noexcept { return ::pthread_mutex_trylock(&mutex_) == 0; }
    void unlock() noexcept { ::pthread_mutex_unlock(&mutex_); }

private:
    pthread_mutex_t mutex_{};
};

struct std_mutex : std::mutex {
    static constexpr const char* what = "`std::mutex`";
};

} // namespace schemes
