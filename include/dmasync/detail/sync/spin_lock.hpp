// SPDX-License-Identifier: MIT
#pragma once
/// \file spin_lock.hpp  The lock around a domain's state, for critical sections of tens of nanoseconds.

#include <dmasync/detail/sync/back_off.hpp>
#include <dmasync/detail/sync/threading.hpp>
#include <dmasync/version.hpp>

#include <atomic>

namespace dmasync::inline DMASYNC_ABI::detail {

struct inspector; // of tests: sees what is private

/// One compare-and-swap to lock, one plain store to unlock. A thread that has to wait backs off.
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

    /// Whether a thread has it. For assertions: the answer is certain only where it is the calling one.
    [[nodiscard]] bool is_held() const noexcept { return peek(word_) != 0; }

    /// After an attempt that has failed.
    [[gnu::noinline]] void lock_contended() noexcept {
        back_off wait;
        do { wait.pause(); } while (word_.load(std::memory_order_relaxed) != 0 || !try_lock());
    }

private:
    friend struct inspector;

    atomic<unsigned> word_{0};
};

} // namespace dmasync::inline DMASYNC_ABI::detail
