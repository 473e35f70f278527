// SPDX-License-Identifier: MIT
#pragma once
/// \file watch_table.hpp  Names for watches that the kernel can hand back long after the watch is gone.

#include <dmasync/error.hpp>
#include <dmasync/version.hpp>
#include <dmasync/work.hpp>

#include <cstddef>
#include <cstdint>
#include <vector>

namespace dmasync::inline DMASYNC_ABI::detail {

/// Gives every active watch a number, its key: a slot in the low half, how often the slot has been used in the high.
/// A completion that carries the key of a watch that is gone finds nothing.
class watch_table {
public:
    static constexpr std::uint64_t key_limit = std::uint64_t{1} << 62U; // keys are below; above is free for the loops

    /// Returns: whether there is memory for it.
    [[nodiscard]] bool add(fd_watch& w) noexcept {
        if (free_ == none && !grow()) { return false; }
        w.slot = free_;
        slot& s = slots_[w.slot];
        free_ = s.next_free;
        s.watch = &w;
        return true;
    }

    [[nodiscard]] std::uint64_t key(const fd_watch& w) const noexcept {
        return std::uint64_t{slots_[w.slot].generation} << 32U | w.slot;
    }

    void remove(fd_watch& w) noexcept {
        slot& s = slots_[w.slot];
        s.watch = nullptr;
        next_generation(s);
        s.next_free = free_;
        free_ = w.slot;
    }

    /// Gives an active watch another key: what carries the old one finds nothing.
    void rename(fd_watch& w) noexcept { next_generation(slots_[w.slot]); }

    /// The watch with this key; null when it is gone.
    [[nodiscard]] fd_watch* find(std::uint64_t k) const noexcept {
        const auto index = static_cast<std::uint32_t>(k);
        if (index >= slots_.size() || slots_[index].generation != k >> 32U) { return nullptr; }
        return slots_[index].watch;
    }

    /// Any watch that is active; null when there is none.
    [[nodiscard]] fd_watch* any() const noexcept {
        for (const slot& s : slots_) {
            if (s.watch != nullptr) { return s.watch; }
        }
        return nullptr;
    }

    template <class Visit>
    void for_each(Visit visit) const {
        for (const slot& s : slots_) {
            if (s.watch != nullptr) { visit(*s.watch); } // may rename it
        }
    }

private:
    static constexpr std::uint32_t none = ~std::uint32_t{0};

    struct slot {
        fd_watch* watch = nullptr;
        std::uint32_t generation = 0;
        std::uint32_t next_free = none;
    };

    static void next_generation(slot& s) noexcept { s.generation = (s.generation + 1) % (1U << 30U); }

    [[nodiscard]] bool grow() noexcept {
        if (try_allocating([this] { slots_.emplace_back(); }) != errc{}) { return false; }
        free_ = static_cast<std::uint32_t>(slots_.size() - 1);
        return true;
    }

    std::vector<slot> slots_;
    std::uint32_t free_ = none; // head of the list of unused slots
};

} // namespace dmasync::inline DMASYNC_ABI::detail
