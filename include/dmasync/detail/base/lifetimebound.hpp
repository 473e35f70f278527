// SPDX-License-Identifier: MIT
#pragma once
/// \file lifetimebound.hpp  Marks what a result refers to, so that a compiler can warn when the result outlives it.

#if defined(__clang__) && __has_cpp_attribute(clang::lifetimebound)
/// Behind a parameter, or behind the signature of a member function for `*this`.
#define DMASYNC_LIFETIMEBOUND [[clang::lifetimebound]]
#else
#define DMASYNC_LIFETIMEBOUND
#endif
