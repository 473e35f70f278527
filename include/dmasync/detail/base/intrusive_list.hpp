// SPDX-License-Identifier: MIT
#pragma once
/// \file intrusive_list.hpp  Lists whose nodes live in the things listed: no allocation, removal in constant time.

#include <dmasync/detail/base/assertion.hpp>
#include <dmasync/version.hpp>

#include <cstddef>

namespace dmasync::inline DMASYNC_ABI::detail {

/// What a thing carries to be in a list; `Tag` tells several hooks of one thing apart.
template <class Tag>
struct list_hook {
    list_hook* next = nullptr;
    list_hook* prev = nullptr; // invariant: both null, or both set and the thing is in exactly one list
};

/// A doubly linked list of `T`, which derives from `list_hook<Tag>`. Does not own; order is the user's.
///
/// Circular through its own anchor, so neither insertion nor removal branches. Not movable: the first and last node
/// point at it.
template <class T, class Tag>
class intrusive_list {
public:
    using hook = list_hook<Tag>;

    intrusive_list() noexcept { clear(); }
    intrusive_list(const intrusive_list&) = delete;
    intrusive_list& operator=(const intrusive_list&) = delete;

    [[nodiscard]] bool empty() const noexcept { return anchor_.next == &anchor_; }
    [[nodiscard]] T* front() const noexcept { return thing(anchor_.next); }
    [[nodiscard]] T* back() const noexcept { return thing(anchor_.prev); }
    [[nodiscard]] T* next(const T& t) const noexcept { return thing(static_cast<const hook&>(t).next); }
    [[nodiscard]] T* prev(const T& t) const noexcept { return thing(static_cast<const hook&>(t).prev); }

    void push_back(T& t) noexcept { link(t, *anchor_.prev, anchor_); }
    void push_front(T& t) noexcept { link(t, anchor_, *anchor_.next); }

    /// Puts `t` behind `position`, or first when that is null.
    void insert_after(T* position, T& t) noexcept {
        hook& before = position == nullptr ? anchor_ : static_cast<hook&>(*position);
        link(t, before, *before.next);
    }

    T* pop_front() noexcept {
        T* t = front();
        if (t != nullptr) { erase(*t); }
        return t;
    }

    /// Takes `t` out of whichever list it is in.
    static void erase(T& t) noexcept {
        hook& h = t;
        DMASYNC_ASSERT(h.next != nullptr && h.prev != nullptr && h.next->prev == &h && h.prev->next == &h);
        h.prev->next = h.next; // NOLINT(clang-analyzer-core.NullDereference): a linked hook has neighbours
        h.next->prev = h.prev;
        h.next = h.prev = nullptr;
    }

    [[nodiscard]] static bool is_linked(const T& t) noexcept { return static_cast<const hook&>(t).next != nullptr; }

private:
    static void link(hook& h, hook& before, hook& after) noexcept {
        DMASYNC_ASSERT(h.next == nullptr && h.prev == nullptr); // in one list of a tag at most
        DMASYNC_ASSERT(before.next == &after && after.prev == &before);
        h.prev = &before;
        before.next = &h; // between the two: GCC would make one vector of those, at twice the cost
        h.next = &after;
        after.prev = &h;
    }

    [[nodiscard]] T* thing(hook* h) const noexcept { return h == &anchor_ ? nullptr : static_cast<T*>(h); }

    void clear() noexcept { anchor_.next = anchor_.prev = &anchor_; }

    hook anchor_;
};

} // namespace dmasync::inline DMASYNC_ABI::detail
