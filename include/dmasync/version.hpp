// SPDX-License-Identifier: MIT
#pragma once
/// \file version.hpp  Which dmasync this is.

#include <string_view>

/// The version as numbers, for the preprocessor. Before 1.0 a new minor version may break what was.
#define DMASYNC_VERSION_MAJOR 0
#define DMASYNC_VERSION_MINOR 1
#define DMASYNC_VERSION_PATCH 0

/// Whether the library checks its own state as it goes (detail/base/assertion.hpp): 0, unless it is defined as 1.
#if !defined(DMASYNC_ASSERTIONS)
#define DMASYNC_ASSERTIONS 0
#endif

// Everything is in an inline namespace that is named after the version and after each choice that inline functions depend on:
// assertions, the trace, io_uring, exceptions. Translation units that differ in one of them have two libraries between them, not one
// that is broken; what they would share does not link. NDEBUG is no such choice: nothing depends on it.
#if DMASYNC_ASSERTIONS
#define DMASYNC_ABI_ASSERTIONS _asserting
#else
#define DMASYNC_ABI_ASSERTIONS
#endif
#if defined(DMASYNC_TRACE) && !DMASYNC_TRACE
#define DMASYNC_ABI_TRACE _untraced
#else
#define DMASYNC_ABI_TRACE
#endif
#if defined(DMASYNC_WITHOUT_URING)
#define DMASYNC_ABI_LOOPS _core
#else
#define DMASYNC_ABI_LOOPS
#endif
#if defined(__cpp_exceptions)
#define DMASYNC_ABI_ERRORS
#else
#define DMASYNC_ABI_ERRORS _nothrow
#endif
#define DMASYNC_ABI_JOIN(version, a, b, c, d) version##a##b##c##d
#define DMASYNC_ABI_OF(version, a, b, c, d) DMASYNC_ABI_JOIN(version, a, b, c, d)
#define DMASYNC_ABI                                                                                                    \
    DMASYNC_ABI_OF(v0_1, DMASYNC_ABI_ASSERTIONS, DMASYNC_ABI_TRACE, DMASYNC_ABI_LOOPS, DMASYNC_ABI_ERRORS)

namespace dmasync::inline DMASYNC_ABI {

/// The version as text: major.minor.patch.
inline constexpr std::string_view version = "0.1.0";

} // namespace dmasync::inline DMASYNC_ABI
