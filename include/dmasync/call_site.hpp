// SPDX-License-Identifier: MIT
#pragma once
/// \file call_site.hpp  Where in the source a lock was asked for.

#include <dmasync/version.hpp>

#include <version>

#include <bit>
#include <cstdint>
#include <type_traits>

#if defined(__cpp_lib_source_location)
#include <source_location>
#endif

namespace dmasync::inline DMASYNC_ABI {

/// A place in the source: file, line, function. A default one is nowhere: line 0, no file. So is every one for compilers that
/// cannot tell (clang++ before 16).
///
/// It is a `std::source_location`, but for one thing: what a function takes as its default argument is a plain pointer, the
/// address of what the compiler knows of the place. Of an object GCC would keep three copies in the frame of every coroutine that
/// locks, and write them at every lock.
class call_site {
public:
    using address = const void*;

    constexpr call_site() noexcept = default;
    constexpr call_site(address a) noexcept : address_{a} {} // NOLINT(google-explicit-constructor)

    [[nodiscard]] constexpr operator address() const noexcept {
        return address_;
    } // NOLINT(google-explicit-constructor)

#if defined(__cpp_lib_source_location)
    // As default arguments: the place of the call. Not consteval: that would be the place of the declaration.
    [[nodiscard]] static constexpr address here(address a = __builtin_source_location()) noexcept { return a; }
    [[nodiscard]] static constexpr call_site current(address a = __builtin_source_location()) noexcept { return a; }

    [[nodiscard]] std::uint_least32_t line() const noexcept { return location().line(); }
    [[nodiscard]] std::uint_least32_t column() const noexcept { return location().column(); }
    [[nodiscard]] const char* file_name() const noexcept { return location().file_name(); }
    [[nodiscard]] const char* function_name() const noexcept { return location().function_name(); }

private:
    // That address is all that there is to either library's: what they make of it is theirs.
    static_assert(sizeof(std::source_location) == sizeof(address) &&
                  std::is_trivially_copyable_v<std::source_location>);

    [[nodiscard]] std::source_location location() const noexcept {
        return std::bit_cast<std::source_location>(address_);
    }
#else
    [[nodiscard]] static constexpr address here() noexcept { return nullptr; }
    [[nodiscard]] static constexpr call_site current() noexcept { return {}; }

    [[nodiscard]] constexpr std::uint_least32_t line() const noexcept { return 0; }
    [[nodiscard]] constexpr std::uint_least32_t column() const noexcept { return 0; }
    [[nodiscard]] constexpr const char* file_name() const noexcept { return ""; }
    [[nodiscard]] constexpr const char* function_name() const noexcept { return ""; }

private:
#endif
    address address_ = nullptr;
};

} // namespace dmasync::inline DMASYNC_ABI
