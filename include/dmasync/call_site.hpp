// SPDX-License-Identifier: MIT
#pragma once
/// \file call_site.hpp  Where in the source a lock was asked for.

#include <version>

#if defined(__cpp_lib_source_location)
#include <source_location>
#else
#include <cstdint>
#endif

namespace dmasync {

#if defined(__cpp_lib_source_location)
/// A place in the source: file, line, function. A default one is nowhere: line 0, no file. As large as a pointer.
using call_site = std::source_location;
#else
/// The same for compilers that cannot tell (clang++ before 16): nowhere.
class call_site {
public:
    [[nodiscard]] static constexpr call_site current() noexcept { return {}; }
    [[nodiscard]] constexpr std::uint_least32_t line() const noexcept { return 0; }
    [[nodiscard]] constexpr std::uint_least32_t column() const noexcept { return 0; }
    [[nodiscard]] constexpr const char* file_name() const noexcept { return ""; }
    [[nodiscard]] constexpr const char* function_name() const noexcept { return ""; }
};
#endif

} // namespace dmasync
