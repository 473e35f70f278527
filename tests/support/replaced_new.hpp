// SPDX-License-Identifier: MIT
#pragma once
/// \file replaced_new.hpp  Replaces operator new of the program: every allocation goes through `support::allocate`, which the
/// file that includes this defines. For one file of a program.

#include <cstddef>
#include <cstdlib>
#include <new>

namespace support {

/// Memory, or null for none.
[[nodiscard]] void* allocate(std::size_t size, std::size_t alignment) noexcept;

/// What usually stands behind it.
[[nodiscard]] inline void* allocate_from_heap(std::size_t size, std::size_t alignment) noexcept {
    // NOLINTNEXTLINE(cppcoreguidelines-no-malloc): this is what replaces new
    return std::aligned_alloc(alignment, (size + alignment - 1) / alignment * alignment);
}

// Not inlined: GCC would see free() take what it knows to come from new.
[[nodiscard, gnu::noinline]] inline void* allocate_or_throw(std::size_t size, std::size_t alignment) {
    void* p = allocate(size, alignment);
#if defined(__cpp_exceptions)
    if (p == nullptr) { throw std::bad_alloc{}; }
#else
    if (p == nullptr) { std::abort(); }
#endif
    return p;
}

} // namespace support

// NOLINTBEGIN(cppcoreguidelines-no-malloc,misc-definitions-in-headers)
[[gnu::noinline]] void* operator new(std::size_t size) {
    return support::allocate_or_throw(size, alignof(std::max_align_t));
}
[[gnu::noinline]] void* operator new(std::size_t size, std::align_val_t alignment) {
    return support::allocate_or_throw(size, static_cast<std::size_t>(alignment));
}
[[gnu::noinline]] void* operator new(std::size_t size, std::align_val_t alignment, const std::nothrow_t&) noexcept {
    return support::allocate(size, static_cast<std::size_t>(alignment));
}
[[gnu::noinline]] void operator delete(void* p) noexcept { std::free(p); }
[[gnu::noinline]] void operator delete(void* p, std::size_t) noexcept { std::free(p); }
[[gnu::noinline]] void operator delete(void* p, std::align_val_t) noexcept { std::free(p); }
[[gnu::noinline]] void operator delete(void* p, std::size_t, std::align_val_t) noexcept { std::free(p); }
// NOLINTEND(cppcoreguidelines-no-malloc,misc-definitions-in-headers)
