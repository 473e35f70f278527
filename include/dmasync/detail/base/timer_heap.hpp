// SPDX-License-Identifier: MIT
#pragma once
/// \file timer_heap.hpp  The earliest of many points in time, without allocation.

#include <dmasync/version.hpp>

#include <chrono>
#include <cstdint>
#include <utility>

namespace dmasync::inline DMASYNC_ABI::detail {

/// What a timer carries to be in a heap.
struct timer_node {
    std::chrono::steady_clock::time_point when{};
    std::uint64_t order = 0;       // of arming: equal times fire in the order in which they were armed
    timer_node* child = nullptr;   // the first of those that are not earlier than this one
    timer_node* sibling = nullptr; // the next child of the same parent
    timer_node* back = nullptr;    // previous sibling, or the parent of a first child; null at the root
};

/// An intrusive pairing heap (Fredman, Sedgewick, Sleator, Tarjan 1986): push is one comparison, taking out a timer
/// that never became the earliest is a few pointer writes, removing the earliest is logarithmic, amortised.
///
/// Threads: one at a time.
class timer_heap {
public:
    [[nodiscard]] bool empty() const noexcept { return root_ == nullptr; }
    [[nodiscard]] timer_node* top() const noexcept { return root_; }

    /// What is armed from now on has this `order` or a later one.
    [[nodiscard]] std::uint64_t next_order() const noexcept { return next_order_; }

    void push(timer_node& t) noexcept {
        t.order = next_order_++;
        t.child = t.sibling = t.back = nullptr;
        root_ = root_ == nullptr ? &t : meld(root_, &t);
    }

    void erase(timer_node& t) noexcept {
        if (&t == root_) {
            root_ = meld_all(t.child);
            return;
        }
        (t.back->child == &t ? t.back->child : t.back->sibling) = t.sibling;
        if (t.sibling != nullptr) { t.sibling->back = t.back; }
        if (timer_node* orphans = meld_all(t.child); orphans != nullptr) { root_ = meld(root_, orphans); }
    }

private:
    [[nodiscard]] static bool earlier(const timer_node& a, const timer_node& b) noexcept {
        return a.when != b.when ? a.when < b.when : a.order < b.order;
    }

    /// Makes the later of two roots the first child of the earlier.
    static timer_node* meld(timer_node* a, timer_node* b) noexcept {
        if (earlier(*b, *a)) { std::swap(a, b); }
        b->sibling = a->child;
        if (b->sibling != nullptr) { b->sibling->back = b; }
        b->back = a;
        a->child = b;
        return a;
    }

    /// Melds siblings in pairs, left to right, then the pairs, right to left: this order makes the cost logarithmic.
    static timer_node* meld_all(timer_node* first) noexcept {
        timer_node* pairs = nullptr; // linked through `sibling`, last pair first
        while (first != nullptr) {
            timer_node* second = first->sibling;
            timer_node* rest = second == nullptr ? nullptr : second->sibling;
            first->sibling = nullptr;
            timer_node* pair = second == nullptr ? first : meld(first, second);
            pair->sibling = pairs;
            pairs = pair;
            first = rest;
        }
        timer_node* root = nullptr;
        while (pairs != nullptr) {
            timer_node* rest = std::exchange(pairs->sibling, nullptr);
            root = root == nullptr ? pairs : meld(root, pairs);
            pairs = rest;
        }
        if (root != nullptr) { root->back = nullptr; }
        return root;
    }

    timer_node* root_ = nullptr;
    std::uint64_t next_order_ = 0;
};

} // namespace dmasync::inline DMASYNC_ABI::detail
