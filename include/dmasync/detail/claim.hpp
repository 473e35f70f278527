// SPDX-License-Identifier: MIT
#pragma once
/// \file claim.hpp  One acquisition, from request to release, and the pool that its record comes from.

#include <dmasync/call_site.hpp>
#include <dmasync/detail/admission.hpp>
#include <dmasync/detail/deadline_book.hpp>
#include <dmasync/detail/failure.hpp>
#include <dmasync/detail/intrusive_list.hpp>
#include <dmasync/detail/threading.hpp>
#include <dmasync/event_loop.hpp>
#include <dmasync/lock_options.hpp>
#include <dmasync/name.hpp>
#include <dmasync/unique_fd.hpp>

#include <array>
#include <atomic>
#include <bit>
#include <chrono>
#include <coroutine>
#include <cstddef>
#include <cstdint>
#include <new>
#include <stop_token>
#include <system_error>

namespace dmasync::detail {

class domain_state;
struct patience_tag;
struct inspector; // of tests: sees what nobody else can

/// Where an acquisition stands. Changed under the domain's lock only.
enum class phase : std::uint8_t {
    idle,     ///< in the pool, or being prepared
    waiting,  ///< in the queues
    fenced,   ///< granted; waits on its loop for the fences of devices before it is handed over
    entering, ///< granted or about to be released; a thread tells the kernel so, and nobody takes it away meanwhile
    held,     ///< granted and handed over, not yet released
    lent,     ///< held for a device that is at work: not given away when its lease ends
    expired,  ///< was held; the lease has run out
    failed,   ///< will never be granted; `why` says why
};

/// The record of one acquisition. Belongs to the awaiter that asks, then to the guard; never moves, so that queues,
/// deadlines and the loop can point at it while guards are moved about.
///
/// Why not in the awaiter: the hold outlives it, and moving a linked record into the guard would cost every lock a
/// second critical section.
struct claim : claim_node, timed, work, list_hook<patience_tag> {
    claim(domain_state& h, entry* first, std::uint32_t capacity, std::uint32_t size_class, function& resume,
          function& on_fence) noexcept
        : work{resume}, home{&h}, pool_class{size_class}, room{capacity}, fence_end{*this, on_fence} {
        entries = first;
    }

    // What every lock touches is in as few cache lines as can be: what is inherited, and from here to `next_free`.
    domain_state* home;               // fixed
    std::uint32_t pool_class;         // fixed
    std::uint32_t room;               // fixed: for so many buffers
    atomic<phase> state{phase::idle}; // read without the lock only by its owner
    bool plain = false;    // once it is held: whole, nothing but its guard refers to it, nothing to clean up after it
    bool posted = false;   // in a loop's queue, which then frees it if it was abandoned
    bool let_go = false;   // its owner has no more use for it
    bool blocking = false; // a thread waits on `told`, not a coroutine on `loop`
    bool pinned = false;   // its buffers are kept alive for it though it has lost them, or may at any time
    bool overdue = false;  // lent, and its lease has run out
    bool stuck = false;    // it waits for longer than is good
    bool stuck_unsaid = false;          // and that has not been reported yet
    std::uint8_t reports = 0;           // being made of it; the last one frees it if it was let go
    failure why{};                      // why it failed, or is going to when it is about to wait
    deadline_span lease_span;           // of the lease, as the book wants it
    claim** registration = nullptr;     // the owning lock_set's mark that it is in use; cleared when it no longer is
    options_id adopted = ~unidentified; // lease, loop, label and user are what these options say; never `unidentified`
    call_site place;                    // that asked for it; of a transaction's hold, that added to it last
    claim* next_free = nullptr;         // the pool's

    event_loop* loop = nullptr;     // where the coroutine resumes
    std::coroutine_handle<> waiter; // null when abandoned, or not waiting
    std::chrono::nanoseconds lease{};
    futex_word told{0};
    std::size_t waiters_at_expiry = 0;
    std::error_code device_error{}; // that the report is about
    std::stop_source stop{std::nostopstate};
    name label;
    void* user = nullptr;

    /// The fence that the claim waits for, or that it is lent until. The loop's thread alone.
    struct fence_watch : fd_watch {
        fence_watch(claim& c, function& f) noexcept : fd_watch{f}, owner{c} {}
        claim& owner;
        unique_fd fence;
    };

    // For sets with a dma-buf:
    fence_watch fence_end;
    fences wait_for_fences = fences::wait;
    cpu_access brackets = cpu_access::tracked;
    std::chrono::nanoseconds fence_timeout{};
    std::chrono::steady_clock::time_point deadline{};
};

/// Recycles claims, so that no acquisition allocates once as many have been alive together.
///
/// Threads: under the domain's lock, but for `allocate`, which is the one that takes time.
class claim_pool {
public:
    /// Some claims of one size, not yet in the pool.
    struct chunk {
        chunk* next;
        std::uint32_t pool_class;
        std::size_t count;
    };

    claim_pool(domain_state& home, work::function& resume, work::function& on_fence) noexcept
        : home_{home}, resume_{resume}, on_fence_{on_fence} {}
    claim_pool(const claim_pool&) = delete;
    claim_pool& operator=(const claim_pool&) = delete;

    ~claim_pool() {
        while (chunks_ != nullptr) {
            chunk* c = chunks_;
            chunks_ = c->next;
            for (std::size_t i = 0; i < c->count; ++i) { claim_in(*c, i)->~claim(); }
            ::operator delete(static_cast<void*>(c), alignment);
        }
    }

    /// A claim with room for `size` buffers; null when the pool has none left, or when `size` is none.
    [[nodiscard]] claim* take(std::size_t size) noexcept {
        claim* c = first(size);
        if (c != nullptr) [[likely]] { take_first(*c, size); }
        return c;
    }

    /// The same in two steps.
    [[nodiscard]] claim* first(std::size_t size) const noexcept { return free_[class_of(size)]; }
    void take_first(claim& c, std::size_t size) noexcept {
        free_[class_of(size)] = c.next_free;
        ++taken_;
    }

    void give(claim& c) noexcept {
        c.next_free = free_[c.pool_class];
        free_[c.pool_class] = &c;
        --taken_;
    }

    /// How many claims are in use.
    [[nodiscard]] std::size_t taken() const noexcept { return taken_; }

    /// Hands over the records that are in use and not just being prepared, in no particular order. Others may have to be
    /// passed on the way: it takes as long as there have ever been records in use at once.
    template <class Visit>
    void for_each_begun(Visit visit) const {
        std::size_t left = taken_;
        for (chunk* c = chunks_; c != nullptr; c = c->next) {
            for (std::size_t i = 0; i < c->count; ++i) {
                if (left == 0) { return; }
                claim& each = *claim_in(*c, i);
                if (each.state.load(std::memory_order_relaxed) == phase::idle) { continue; }
                visit(each);
                --left;
            }
        }
    }

    /// Memory for more claims of a size, to be given to `add`; null when there is none.
    [[nodiscard]] chunk* allocate(std::size_t size, std::size_t count) noexcept {
        const std::uint32_t k = class_of(size);
        void* memory = ::operator new(header + count * stride(k), alignment, std::nothrow);
        if (memory == nullptr) { return nullptr; }
        auto* made = ::new (memory) chunk{nullptr, k, count};
        for (std::size_t i = 0; i < count; ++i) {
            std::byte* at = static_cast<std::byte*>(memory) + header + i * stride(k);
            auto* room = reinterpret_cast<entry*>(at + sizeof(claim));
            for (std::size_t n = 0; n < capacity(k); ++n) { ::new (static_cast<void*>(room + n)) entry; }
            const auto size_of_room = static_cast<std::uint32_t>(capacity(k));
            auto* c = ::new (static_cast<void*>(at)) claim{home_, room, size_of_room, k, resume_, on_fence_};
            for (std::size_t n = 0; n < capacity(k); ++n) { room[n].claim = c; }
        }
        return made;
    }

    void add(chunk& fresh) noexcept {
        fresh.next = chunks_;
        chunks_ = &fresh;
        for (std::size_t i = fresh.count; i > 0; --i) {
            claim* c = claim_in(fresh, i - 1);
            c->next_free = free_[fresh.pool_class];
            free_[fresh.pool_class] = c;
        }
    }

private:
    friend struct inspector;

    static constexpr std::align_val_t alignment{64};
    static constexpr std::size_t header = 64; // keeps the claims behind it aligned

    // Sizes come in powers of four: room for 4, 16, 64, ... buffers. For none there is the last class, which is empty.
    [[nodiscard]] static std::uint32_t class_of(std::size_t size) noexcept {
        return size - 1 < 4 ? 0 : (static_cast<std::uint32_t>(std::bit_width(size - 1)) - 1U) / 2U;
    }
    [[nodiscard]] static std::size_t capacity(std::uint32_t k) noexcept { return std::size_t{4} << (2U * k); }
    [[nodiscard]] static std::size_t stride(std::uint32_t k) noexcept {
        return (sizeof(claim) + capacity(k) * sizeof(entry) + 63U) / 64U * 64U;
    }
    [[nodiscard]] static claim* claim_in(chunk& c, std::size_t i) noexcept {
        return std::launder(
            reinterpret_cast<claim*>(reinterpret_cast<std::byte*>(&c) + header + i * stride(c.pool_class)));
    }
    static_assert(sizeof(chunk) <= header && sizeof(claim) % alignof(entry) == 0 && alignof(claim) <= 64);

    std::size_t taken_ = 0;
    std::array<claim*, 32> free_{};
    chunk* chunks_ = nullptr;
    domain_state& home_;
    work::function& resume_;
    work::function& on_fence_;
};

} // namespace dmasync::detail
