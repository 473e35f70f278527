// SPDX-License-Identifier: MIT
#pragma once
/// \file biased_lock.hpp  The lock around a domain's state: nearly free for the one thread that uses it most.

#include <dmasync/detail/base/failure.hpp>
#include <dmasync/detail/sync/back_off.hpp>
#include <dmasync/detail/sync/spin_lock.hpp>
#include <dmasync/detail/sync/threading.hpp>
#include <dmasync/version.hpp>

#include <algorithm>
#include <atomic>
#include <cstdint>

namespace dmasync::inline DMASYNC_ABI::detail {

struct inspector; // of tests: sees what is private

/// A spin lock that can be *biased* towards one thread, its owner: that one locks and unlocks by plain stores.
///
/// Most domains are used by the thread of their loop alone, most of the time; an atomic read-modify-write, which drains the
/// processor's pipeline, is then a third of a whole lock and unlock. So a thread that has used the lock many times in a row,
/// and no other thread meanwhile, is given the bias. The first other one that comes revokes it:
///
///   owner: inside = 1; [compiler fence]; is the bias still mine?      others: bias = none;   [process fence]; inside == 0?
///
/// Of the two, the one that looks second sees what the other has stored: the process fence (membarrier) makes the owner's plain
/// store and load as good as if there were a full fence between them. A revocation costs microseconds, so the bias is given
/// again only after many times as many uses as before.
///
/// A *single-threaded* one is the owner's alone, for good: no atomic operations, and misuse is noticed.
///
///   `inside` has one writer ever, the first thread that was given the bias: an attempt of a former owner, taken away by the
///   scheduler between its two looks, would otherwise wipe out what the next one has stored.
///
///   unlock: inside or word = 0, release   ---synchronises with-->   revoke or lock: reads that 0, acquire
///
/// Source: Russell, Detlefs: Eliminating synchronization-related atomic operations with biased locking and bulk rebiasing,
/// 2006; membarrier(2).
class biased_lock {
public:
    /// One that is single-threaded is so for the calling thread.
    explicit biased_lock(bool single_threaded = false, std::uint32_t uses_wanted = uses_before_bias) noexcept
        : biased_{single_threaded}, exclusive_{single_threaded}, uses_wanted_{uses_wanted} {
        if (single_threaded) {
            candidate_ = this_thread_id();
            owner_.store(candidate_, std::memory_order_relaxed);
        } else if (!has_process_fence()) {
            uses_wanted_ = never;
        }
    }

    /// Returns: whether it was free; false when that took time.
    /// Errors:  aborts on a thread that a single-threaded one is not for.
    [[gnu::always_inline]] bool lock() noexcept { return lock_biased() || lock_shared(); }

    /// Locks where the calling thread has the bias. Returns: whether it has.
    [[nodiscard, gnu::always_inline]] bool lock_biased() noexcept {
        const thread_id me = this_thread_id();
        if (owner_.load(std::memory_order_relaxed) != me) [[unlikely]] { return false; }
        if (exclusive_) [[unlikely]] { return true; } // no other thread ever looks
        inside_.store(1, std::memory_order_relaxed);
        compiler_fence();
        if (owner_.load(std::memory_order_relaxed) == me) [[likely]] { return true; }
        inside_.store(0, std::memory_order_release); // with revoke, which need not wait
        return false;
    }

    [[gnu::always_inline]] void unlock() noexcept {
        if (biased_) [[likely]] {
            unlock_biased();
        } else {
            shared_.unlock();
        }
    }

    /// After `lock_biased`.
    [[gnu::always_inline]] void unlock_biased() noexcept {
        if (exclusive_) [[unlikely]] { return left_exclusive(&inside_); }
        inside_.store(0, std::memory_order_release); // with revoke
    }

    /// Whether a thread has it. For assertions: the answer is certain only where it is the calling one.
    [[nodiscard]] bool is_held() const noexcept {
        return biased_ ? exclusive_ || peek(inside_) != 0 : shared_.is_held();
    }

    /// Whether it is single-threaded.
    [[nodiscard]] bool is_exclusive() const noexcept { return exclusive_; }

    /// Whether another thread has had it in the last thousand times. For the thread that is inside.
    [[nodiscard]] bool is_shared_lately() const noexcept { return !biased_ && uses_ < uses_before_bias; }

private:
    friend struct inspector;

    static constexpr std::uint32_t never = UINT32_MAX;

    [[gnu::noinline]] bool lock_shared() noexcept {
        const thread_id me = this_thread_id();
        if (exclusive_) [[unlikely]] { misuse("a single-threaded domain is used by another thread"); }
        bool at_once = shared_.try_lock();
        if (!at_once) { shared_.lock_contended(); }
        if (biased_) [[unlikely]] {
            revoke();
            at_once = false;
        }
        count_use(me);
        return at_once;
    }

    void count_use(thread_id me) noexcept {
        if (me != last_user_) {
            last_user_ = me;
            uses_ = 0;
        }
        if (++uses_ >= uses_wanted_ && uses_wanted_ != never) [[unlikely]] { give_bias(me); }
    }

    /// From here on the calling thread, which is inside, is so as the owner.
    [[gnu::noinline]] void give_bias(thread_id me) noexcept {
        uses_ = 0;
        if (candidate_ == thread_id{}) { candidate_ = me; }
        if (candidate_ != me) { return; }
        uses_wanted_ = std::min(uses_wanted_, never / (2 * bias_growth)) * bias_growth;
        biased_ = true;
        inside_.store(1, std::memory_order_relaxed);
        owner_.store(me, std::memory_order_relaxed);
        shared_.unlock();
    }

    /// Inside the shared lock: no other thread revokes, and the owner does not come in anew.
    [[gnu::noinline]] void revoke() noexcept {
        owner_.store(thread_id{}, std::memory_order_relaxed);
        if (!process_fence()) { misuse("a sandbox has taken membarrier(2) from a process that uses it"); }
        for (back_off wait; inside_.load(std::memory_order_acquire) != 0;) { wait.pause(); } // with unlock
        biased_ = false;
    }

    atomic<thread_id> owner_{thread_id{}}; // whose the bias is
    atomic<unsigned> inside_{0};           // the owner is inside, or about to see whether it still may be
    bool biased_;                          // the thread that is inside is so as the owner; under the lock
    const bool exclusive_;
    std::uint32_t uses_wanted_; // in a row, before the bias is given
    std::uint32_t uses_ = 0;    // by `last_user_`, in a row; under the lock
    thread_id last_user_{};
    thread_id candidate_{}; // the one that may ever have the bias
    spin_lock shared_;      // of all threads while there is no owner
};

} // namespace dmasync::inline DMASYNC_ABI::detail
