// SPDX-License-Identifier: MIT
#pragma once
/// \file claim_pool.hpp  Where the records of acquisitions come from.

#include <dmasync/detail/base/assertion.hpp>
#include <dmasync/detail/domain/claim.hpp>
#include <dmasync/version.hpp>

#include <array>
#include <bit>
#include <cstddef>
#include <cstdint>
#include <new>

namespace dmasync::inline DMASYNC_ABI::detail {

struct inspector; // of tests: looks into private state

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

    claim_pool(domain_state& d, work::function& on_turn, work::function& on_fence) noexcept
        : domain_{d}, on_turn_{on_turn}, on_fence_{on_fence} {}
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
        DMASYNC_ASSERT(&c == first(size));
        free_[class_of(size)] = c.next_free;
        ++taken_;
    }

    /// A record that is in the pool is in nothing else.
    void give(claim& c) noexcept {
        DMASYNC_ASSERT(c.state_now() == phase::idle && c.flags.none() && !c.posted);
        DMASYNC_ASSERT(!ready_list::is_linked(c) && !claim_list::is_linked(c) && !patience_list::is_linked(c));
        DMASYNC_ASSERT(c.transaction == nullptr && c.registration == nullptr && c.elsewhere == nullptr && !c.waiter &&
                       !c.why);
        DMASYNC_ASSERT(!c.fence_end.active && !c.stop.stop_possible());
        DMASYNC_ASSERT(is_in_no_list_of_a_buffer(c));
        DMASYNC_ASSERT(taken_ != 0);
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
            auto* c = ::new (static_cast<void*>(at)) claim{domain_, room, size_of_room, k, on_turn_, on_fence_};
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

    [[nodiscard]] static bool is_in_no_list_of_a_buffer(const claim& c) noexcept {
        for (std::uint32_t i = 0; i < c.room; ++i) {
            if (entry_list::is_linked(c.entries[i]) || c.entries[i].own_bracket) { return false; }
        }
        return true;
    }

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
    domain_state& domain_;
    work::function& on_turn_;
    work::function& on_fence_;
};

} // namespace dmasync::inline DMASYNC_ABI::detail
