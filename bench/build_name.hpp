// SPDX-License-Identifier: MIT
#pragma once
/// \file build_name.hpp  How a program was built: what is counted of one build is not true of another.

#define DMASYNC_TEXT_OF(number) #number
#define DMASYNC_TEXT(number) DMASYNC_TEXT_OF(number)

#if defined(__clang__)
#define DMASYNC_COMPILER "clang++ " DMASYNC_TEXT(__clang_major__)
#else
#define DMASYNC_COMPILER "g++ " DMASYNC_TEXT(__GNUC__)
#endif

#if defined(__x86_64__)
#define DMASYNC_PROCESSOR "x86-64"
#else
#define DMASYNC_PROCESSOR "another processor"
#endif

#if defined(__OPTIMIZE__) && defined(NDEBUG)
#define DMASYNC_BUILD_TYPE "release"
#else
#define DMASYNC_BUILD_TYPE "debug"
#endif

constexpr const char* build_name = DMASYNC_COMPILER ", " DMASYNC_PROCESSOR ", " DMASYNC_BUILD_TYPE;
