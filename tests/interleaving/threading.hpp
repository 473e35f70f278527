// SPDX-License-Identifier: MIT
#pragma once
/// \file threading.hpp  Stands in for dmasync/detail/sync/threading.hpp: threads see each other as the checker has it.

#include <dmasync/version.hpp>

#include "checker.hpp"

#include <array>
#include <chrono>
#include <concepts>
#include <cstdint>
#include <cstring>
#include <type_traits>

namespace dmasync::inline DMASYNC_ABI::detail {

template <class T>
class atomic : interleave::location {
    static_assert(std::is_trivially_copyable_v<T> && sizeof(T) <= sizeof(interleave::word));
    using where = interleave::where;

public:
    // Not explicit and with a place: as std::atomic is initialised.
    atomic(T value = T{}, where made = where::current()) noexcept : location{to_word(value), sizeof(T), made} {}
    atomic(const atomic&) = delete;
    atomic& operator=(const atomic&) = delete;

    [[nodiscard]] T load(std::memory_order order, where at = where::current()) const noexcept {
        return to_value(load_word(order, at));
    }
    void store(T value, std::memory_order order, where at = where::current()) noexcept {
        store_word(to_word(value), order, at);
    }
    T exchange(T value, std::memory_order order, where at = where::current()) noexcept {
        return to_value(update_word(interleave::update::exchange, to_word(value), order, at));
    }
    bool compare_exchange_strong(T& expected, T desired, std::memory_order success, std::memory_order failure,
                                 where at = where::current()) noexcept {
        return compare_exchange(expected, desired, false, success, failure, at);
    }
    bool compare_exchange_weak(T& expected, T desired, std::memory_order success, std::memory_order failure,
                               where at = where::current()) noexcept {
        return compare_exchange(expected, desired, true, success, failure, at);
    }
    T fetch_add(T value, std::memory_order order, where at = where::current()) noexcept requires std::integral<T> {
        return to_value(update_word(interleave::update::add, to_word(value), order, at));
    }
    T fetch_sub(T value, std::memory_order order, where at = where::current()) noexcept requires std::integral<T> {
        return to_value(update_word(interleave::update::subtract, to_word(value), order, at));
    }
    T fetch_or(T value, std::memory_order order, where at = where::current()) noexcept requires std::integral<T> {
        return to_value(update_word(interleave::update::bit_or, to_word(value), order, at));
    }
    T fetch_and(T value, std::memory_order order, where at = where::current()) noexcept requires std::integral<T> {
        return to_value(update_word(interleave::update::bit_and, to_word(value), order, at));
    }

    void futex_wait(T expected, where at) const noexcept { wait_word(to_word(expected), at); }
    void futex_wake(where at) const noexcept { wake_word(at); }

private:
    bool compare_exchange(T& expected, T desired, bool weak, std::memory_order success, std::memory_order failure,
                          const where& at) noexcept {
        interleave::word seen = to_word(expected);
        const bool done = compare_exchange_word(seen, to_word(desired), weak, success, failure, at);
        if (!done) { expected = to_value(seen); }
        return done;
    }

    static interleave::word to_word(T value) noexcept {
        interleave::word w = 0;
        std::memcpy(&w, &value, sizeof value);
        return w;
    }
    static T to_value(interleave::word w) noexcept {
        T value;
        std::memcpy(static_cast<void*>(&value), &w, sizeof value);
        return value;
    }
};

using interleave::mutex;

enum class thread_id : std::uint32_t {}; // 0 is no thread's

[[nodiscard]] inline thread_id this_thread_id() noexcept { return thread_id{interleave::this_thread()}; }

/// Which loop a thread is in is not modelled: null whenever it is looked at.
template <class T>
[[nodiscard]] T*& own_pointer() noexcept {
    static std::array<T*, 8> nothing{}; // one for each thread: what several write is a race
    return nothing.at(interleave::this_thread()) = nullptr;
}

inline void compiler_fence() noexcept {} // steps are in the order of the program
[[nodiscard]] inline bool has_process_fence() noexcept { return true; }
[[nodiscard]] inline bool process_fence(interleave::where at = interleave::where::current()) noexcept {
    interleave::process_fence(at);
    return true;
}
inline constexpr unsigned spins_at_first = 4;
inline constexpr unsigned looks_before_sleep = 0;
inline constexpr unsigned looks_before_queue = 0; // each is a try_lock, and those are searched as such
template <class T>
[[nodiscard]] T peek(const atomic<T>& a) noexcept {
    return a.load(std::memory_order_relaxed);
}
inline void left_exclusive(const void*) noexcept {}
inline constexpr std::uint32_t uses_before_bias = 1000; // never, but where a program says otherwise
inline constexpr std::uint32_t bias_growth = 8;

inline void spin_hint() noexcept { interleave::pause(); }
inline void nap() noexcept { interleave::pause(); }

using futex_word = atomic<std::uint32_t>;

/// Time does not pass by itself here: what depends on the limit alone is a deadlock, and found.
inline void futex_wait(const futex_word& word, std::uint32_t expected, std::chrono::nanoseconds,
                       interleave::where at = interleave::where::current()) noexcept {
    word.futex_wait(expected, at);
}

inline void futex_wake(const futex_word& word, interleave::where at = interleave::where::current()) noexcept {
    word.futex_wake(at);
}

} // namespace dmasync::inline DMASYNC_ABI::detail
