// SPDX-License-Identifier: MIT
#pragma once
/// \file version.hpp  Which dmasync this is.

#include <string_view>

/// The version as numbers, for the preprocessor. Before 1.0 a new minor version may break what was.
#define DMASYNC_VERSION_MAJOR 0
#define DMASYNC_VERSION_MINOR 1
#define DMASYNC_VERSION_PATCH 0

/// Whether the library checks its own state as it goes (detail/assertion.hpp): 0, unless it is defined as 1.
#if !defined(DMASYNC_ASSERTIONS)
#define DMASYNC_ASSERTIONS 0
#endif

namespace dmasync {

/// The version as text: major.minor.patch.
inline constexpr std::string_view version = "0.1.0";

} // namespace dmasync
