// SPDX-License-Identifier: MIT
#pragma once
/// \file threading.hpp  What the library shares between threads, for threads that a seed switches between.
///
/// Stands in for <dmasync/detail/sync/threading.hpp>. Every atomic operation is a place where the running thread may lose the
/// processor to another one; memory is sequentially consistent. Nothing here blocks the one real thread there is.

#include <dmasync/version.hpp>

#include <sim/scheduler.hpp>

#include <atomic>
#include <chrono>
#include <cstdint>
#include <type_traits>
#include <utility>

namespace dmasync::inline DMASYNC_ABI::detail {

template <class T>
class atomic {
public:
    static constexpr bool is_always_lock_free = true;

    constexpr atomic() noexcept = default;
    constexpr atomic(T v) noexcept : value_{v} {} // NOLINT(google-explicit-constructor): as std::atomic
    atomic(const atomic&) = delete;
    atomic& operator=(const atomic&) = delete;

    [[nodiscard]] T load(std::memory_order order = std::memory_order_seq_cst) const noexcept {
        if (is_place(order)) { sim::point(); }
        return value_;
    }

    void store(T v, std::memory_order order = std::memory_order_seq_cst) noexcept {
        if (is_place(order)) { sim::point(); }
        value_ = v;
        if constexpr (std::is_same_v<T, unsigned>) {
            if (v == 0 && sim::is_watched(this)) { sim::lock_freed(); }
        }
    }

    T exchange(T v, std::memory_order = std::memory_order_seq_cst) noexcept {
        sim::point();
        return std::exchange(value_, v);
    }

    bool compare_exchange_strong(T& expected, T v, std::memory_order, std::memory_order) noexcept {
        sim::point();
        if (value_ != expected) {
            expected = value_;
            return false;
        }
        value_ = v;
        return true;
    }
    bool compare_exchange_weak(T& expected, T v, std::memory_order a, std::memory_order b) noexcept {
        return compare_exchange_strong(expected, v, a, b);
    }

    T fetch_add(T v, std::memory_order = std::memory_order_seq_cst) noexcept {
        return exchange_by([v](T old) { return static_cast<T>(old + v); });
    }
    T fetch_sub(T v, std::memory_order = std::memory_order_seq_cst) noexcept {
        return exchange_by([v](T old) { return static_cast<T>(old - v); });
    }
    T fetch_or(T v, std::memory_order = std::memory_order_seq_cst) noexcept {
        return exchange_by([v](T old) { return static_cast<T>(old | v); });
    }
    T fetch_and(T v, std::memory_order = std::memory_order_seq_cst) noexcept {
        return exchange_by([v](T old) { return static_cast<T>(old & v); });
    }

    /// For an onlooker.
    [[nodiscard]] T peek() const noexcept { return value_; }

private:
    /// A relaxed access to an enumerator, the phase of a claim, is made under a lock or by the only thread that is concerned:
    /// it is plain data there, and how often it is read does not change the run.
    [[nodiscard]] static constexpr bool is_place(std::memory_order order) noexcept {
        return !(std::is_enum_v<T> && order == std::memory_order_relaxed);
    }

    template <class Change>
    T exchange_by(Change change) noexcept {
        sim::point();
        const T old = value_;
        value_ = change(old);
        return old;
    }

    T value_{};
};

template <class T>
[[nodiscard]] T peek(const atomic<T>& a) noexcept {
    return a.peek();
}

struct thread_id {
    int number = 0; // 0 is no thread's
    [[nodiscard]] bool operator==(const thread_id&) const noexcept = default;
};

[[nodiscard]] inline thread_id this_thread_id() noexcept {
    return {sim::counts_as_one_thread ? 1 : sim::current_thread() + 2};
}

/// Which loop a thread is in is not modelled: null whenever it is looked at.
template <class T>
[[nodiscard]] T*& own_pointer() noexcept {
    static T* nothing = nullptr;
    return nothing = nullptr;
}

inline void compiler_fence() noexcept { sim::point(); }
[[nodiscard]] inline bool has_process_fence() noexcept { return true; }
[[nodiscard]] inline bool process_fence() noexcept {
    sim::point();
    return true;
}
/// A lock that is one thread's alone has been left: no atomic tells of that.
inline void left_exclusive(const void* word) noexcept {
    if (sim::is_watched(word)) { sim::lock_freed(); }
}

inline constexpr std::uint32_t uses_before_bias = 3;
inline constexpr std::uint32_t bias_growth = 1;
inline constexpr unsigned spins_at_first = 4;
inline constexpr unsigned looks_before_sleep = 0;
inline constexpr unsigned looks_before_queue = 2;

/// A thread that spins waits for another one: that one goes first.
inline void spin_hint() noexcept { sim::spin(); }
inline void nap() noexcept { sim::spin(); }

/// A lock under which a thread may call the kernel, or be switched away from.
class mutex {
public:
    void lock() noexcept {
        sim::point();
        while (taken_) { sim::spin(); }
        taken_ = true;
    }
    void unlock() noexcept {
        taken_ = false;
        sim::point();
    }

private:
    bool taken_ = false;
};

using futex_word = atomic<std::uint32_t>;

inline void futex_wait(const futex_word& word, std::uint32_t expected, std::chrono::nanoseconds) noexcept {
    if (word.load() == expected) { sim::sleep_on(&word); }
}

inline void futex_wake(const futex_word& word) noexcept {
    sim::point();
    sim::wake(&word);
}

} // namespace dmasync::inline DMASYNC_ABI::detail
