// SPDX-License-Identifier: MIT
#pragma once
/// \file position_index.hpp  Finds the position of a pointer in a long array without looking at each.

#include <dmasync/version.hpp>

#include <bit>
#include <cstddef>
#include <cstdint>
#include <vector>

namespace dmasync::inline DMASYNC_ABI::detail {

/// A hash table of positions, with linear probing. The pointers, each one once, stay in the caller's array: `at(position)` gives
/// them. An array that is short is looked through, and its table stays empty.
class position_index {
public:
    static constexpr std::size_t short_array = 16;

    /// Returns: the position of `key` among `count`; `count` when it is not there.
    template <class At>
    [[nodiscard]] std::size_t find(const void* key, std::size_t count, At at) const {
        if (slots_.empty()) {
            std::size_t position = 0;
            while (position < count && at(position) != key) { ++position; }
            return position;
        }
        for (std::size_t s = home_of(key); slots_[s] != free; s = next(s)) {
            if (at(slots_[s]) == key) { return slots_[s]; }
        }
        return count;
    }

    /// Has `insert` succeed for one more than `count`.
    /// Errors: throws std::bad_alloc, and is as before.
    template <class At>
    void make_room(std::size_t count, At at) {
        if (count < short_array || 2 * (count + 1) <= slots_.size()) { return; }
        position_index larger;
        larger.slots_.assign(std::bit_ceil(4 * (count + 1)), free);
        for (std::size_t position = 0; position < count; ++position) { larger.insert(at(position), position); }
        slots_.swap(larger.slots_);
    }

    /// As if what stands from `from` on had just been put there, one by one; null pointers are left out.
    /// Errors: throws std::bad_alloc, and is as before.
    template <class At>
    void append(std::size_t from, std::size_t count, At at) {
        if (2 * (count + 1) > slots_.size()) {
            slots_.assign(std::bit_ceil(4 * (count + 1)), free);
            from = 0;
        }
        for (std::size_t position = from; position < count; ++position) {
            if (at(position) != nullptr) { insert(at(position), position); }
        }
    }

    /// `key`, which is new, comes to stand at `position`. After `make_room`.
    void insert(const void* key, std::size_t position) noexcept {
        if (!slots_.empty()) { slots_[free_slot(key)] = static_cast<std::uint32_t>(position); }
    }

    /// The pointer at `position` is about to be taken out, and the one at `last` to take its place.
    template <class At>
    void remove(std::size_t position, std::size_t last, At at) noexcept {
        if (slots_.empty()) { return; }
        std::size_t gap = slot_of(at(position), position);
        const std::size_t moved = slot_of(at(last), last);
        slots_[moved] = static_cast<std::uint32_t>(position);
        // Closes the gap: whatever was put behind it, because it was taken, is moved into it.
        for (std::size_t s = next(gap); slots_[s] != free; s = next(s)) {
            const std::size_t key_position = s == moved ? last : slots_[s];
            if (distance(home_of(at(key_position)), s) < distance(gap, s)) { continue; }
            slots_[gap] = slots_[s];
            gap = s;
        }
        slots_[gap] = free;
    }

    void clear() noexcept { slots_.clear(); }

private:
    static constexpr std::uint32_t free = UINT32_MAX;

    [[nodiscard]] std::size_t mask() const noexcept { return slots_.size() - 1; }
    [[nodiscard]] std::size_t next(std::size_t slot) const noexcept { return (slot + 1) & mask(); }
    [[nodiscard]] std::size_t distance(std::size_t from, std::size_t to) const noexcept { return (to - from) & mask(); }

    /// The highest bits of a product with the golden ratio: addresses differ in low bits, a few in the lowest.
    [[nodiscard]] std::size_t home_of(const void* key) const noexcept {
        const std::uint64_t product = std::uint64_t{reinterpret_cast<std::uintptr_t>(key)} * 0x9E37'79B9'7F4A'7C15U;
        return static_cast<std::size_t>(product >> (64 - std::countr_zero(slots_.size())));
    }

    [[nodiscard]] std::size_t free_slot(const void* key) const noexcept {
        std::size_t s = home_of(key);
        while (slots_[s] != free) { s = next(s); }
        return s;
    }

    [[nodiscard]] std::size_t slot_of(const void* key, std::size_t position) const noexcept {
        std::size_t s = home_of(key);
        while (slots_[s] != position) { s = next(s); }
        return s;
    }

    std::vector<std::uint32_t> slots_; // empty, or a power of two of positions, at most half of them not free
};

} // namespace dmasync::inline DMASYNC_ABI::detail
