// SPDX-License-Identifier: MIT
#pragma once
/// \file assertion.hpp  What must be true of the library's own state, checked where DMASYNC_ASSERTIONS is 1.
///
/// A failed assertion is a fault of the library, never of its user: what users do wrong is told by error codes and by
/// `misuse`. Assertions are a macro of their own, not NDEBUG's, and the name of the library's inline namespace says whether
/// they are on (version.hpp): a program may contain both kinds.

#include <dmasync/version.hpp>

#if DMASYNC_ASSERTIONS

#include <cstdio>
#include <cstdlib>

namespace dmasync::inline DMASYNC_ABI::detail {

[[noreturn, gnu::cold, gnu::noinline]] inline void assertion_failed(const char* condition, const char* file,
                                                                    int line) noexcept {
    std::fprintf(stderr, "dmasync: %s:%d: assertion failed: %s\n", file, line, condition);
    std::abort();
}

} // namespace dmasync::inline DMASYNC_ABI::detail

#define DMASYNC_ASSERT(...)                                                                                            \
    ((__VA_ARGS__) ? static_cast<void>(0) : ::dmasync::detail::assertion_failed(#__VA_ARGS__, __FILE__, __LINE__))

#else

// Compiled, never evaluated: a name in it cannot go stale.
#define DMASYNC_ASSERT(...) static_cast<void>(sizeof((__VA_ARGS__) ? 1 : 0))

#endif
