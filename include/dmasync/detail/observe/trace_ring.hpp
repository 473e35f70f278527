// SPDX-License-Identifier: MIT
#pragma once
/// \file trace_ring.hpp  The latest records of one thread: written by it alone, read by any thread at any time.

#include <dmasync/version.hpp>

#include <array>
#include <atomic>
#include <bit>
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <memory>
#include <type_traits>

#include <sys/prctl.h>
#include <sys/syscall.h>
#include <unistd.h>

namespace dmasync::inline DMASYNC_ABI::detail {

/// The kernel's number of the calling thread. Asked for once per thread.
[[nodiscard]] inline std::uint32_t kernel_thread_id() noexcept {
    thread_local const auto id = static_cast<std::uint32_t>(::syscall(SYS_gettid));
    return id;
}

/// As many records of type `T` as fit, the latest ones: a new one takes the place of the oldest.
///
/// Record n is in slot n % capacity. A reader that has copied a slot looks whether the next record in it has begun:
///
///     writer of record n             reader of record m = n - capacity, in the same slot
///     begun_ = n + 1                 copies the words (acquire)
///     writes the words (release)     b = begun_
///     done_ = n + 1    (release)     the copy is m's <=> b <= m + capacity = n
///
/// A reader that has read a word of n sees begun_ > n, and drops the copy.
/// Threads: `push` by the owner, everything else by any.
template <class T>
class trace_ring {
public:
    static constexpr std::size_t words = sizeof(T) / sizeof(std::uint64_t);
    static_assert(std::is_trivially_copyable_v<T> && sizeof(T) % sizeof(std::uint64_t) == 0);

    /// Memory for `capacity` records, a power of two: the kernel gives it page by page as it is written.
    /// Returns: whether there is any; without, everything that is pushed is overwritten at once.
    bool allocate(std::size_t capacity) noexcept {
        memory_.reset(static_cast<std::uint64_t*>(std::calloc(capacity * words, sizeof(std::uint64_t))));
        capacity_ = memory_ ? capacity : 0;
        return capacity_ != 0;
    }

    /// Makes the calling thread the owner, if there is none.
    [[nodiscard]] bool claim(std::uint32_t thread) noexcept {
        std::uint32_t unowned = 0;
        if (!owner_.compare_exchange_strong(unowned, thread, std::memory_order_relaxed)) { return false; }
        std::array<char, sizeof name_> text{};
        ::prctl(PR_GET_NAME, text.data());
        const auto halves = std::bit_cast<std::array<std::uint64_t, 2>>(text);
        for (std::size_t i = 0; i < halves.size(); ++i) { name_[i].store(halves[i], std::memory_order_relaxed); }
        return true;
    }

    [[nodiscard]] std::uint32_t owner() const noexcept { return owner_.load(std::memory_order_relaxed); }

    /// What the owner was called when it wrote its first record: 15 bytes and a zero.
    [[nodiscard]] std::array<char, 16> owner_name() const noexcept {
        return std::bit_cast<std::array<char, 16>>(std::array<std::uint64_t, 2>{
            name_[0].load(std::memory_order_relaxed), name_[1].load(std::memory_order_relaxed)});
    }

    void push(const T& record) noexcept {
        const std::uint64_t n = done_.load(std::memory_order_relaxed); // no other thread changes it
        begun_.store(n + 1, std::memory_order_relaxed);                // the words' release keeps it before them
        if (capacity_ != 0) {
            const auto from = std::bit_cast<std::array<std::uint64_t, words>>(record);
            std::uint64_t* to = slot(n);
            for (std::size_t i = 0; i < words; ++i) {
                std::atomic_ref{to[i]}.store(from[i], std::memory_order_release); // with read
            }
        }
        done_.store(n + 1, std::memory_order_release); // with written
    }

    /// How many records have been pushed.
    [[nodiscard]] std::uint64_t written() const noexcept { return done_.load(std::memory_order_acquire); } // with push

    [[nodiscard]] std::size_t capacity() const noexcept { return capacity_; }

    /// Copies record `n`, one of those that `written` has told of.
    /// Returns: whether it was still there.
    [[nodiscard]] bool read(std::uint64_t n, T& out) const noexcept {
        if (capacity_ == 0) { return false; }
        std::array<std::uint64_t, words> copy{};
        std::uint64_t* from = slot(n);
        for (std::size_t i = 0; i < words; ++i) {
            copy[i] = std::atomic_ref{from[i]}.load(std::memory_order_acquire); // with push
        }
        out = std::bit_cast<T>(copy);
        return begun_.load(std::memory_order_relaxed) <= n + capacity_;
    }

private:
    struct release_memory {
        void operator()(std::uint64_t* p) const noexcept { std::free(p); } // NOLINT(cppcoreguidelines-no-malloc)
    };

    [[nodiscard]] std::uint64_t* slot(std::uint64_t n) const noexcept {
        return memory_.get() + (n & (capacity_ - 1)) * words;
    }

    std::unique_ptr<std::uint64_t[], release_memory> memory_; // NOLINT(modernize-avoid-c-arrays): zeroed, and untouched
    std::size_t capacity_ = 0;
    std::atomic<std::uint32_t> owner_{0}; // a thread, once and for all
    std::array<std::atomic<std::uint64_t>, 2> name_{};
    alignas(64) std::atomic<std::uint64_t> begun_{0}; // records, one of which is perhaps being written
    std::atomic<std::uint64_t> done_{0};
};

} // namespace dmasync::inline DMASYNC_ABI::detail
