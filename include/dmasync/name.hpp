// SPDX-License-Identifier: MIT
#pragma once
/// \file name.hpp  A short name that is copied, never pointed to.

#include <dmasync/detail/base/lifetimebound.hpp>
#include <dmasync/version.hpp>

#include <algorithm>
#include <array>
#include <cstddef>
#include <string_view>

namespace dmasync::inline DMASYNC_ABI {

/// A name of at most 31 bytes, kept by value; a longer one is cut. The limit is the kernel's for dma-buf names.
///
/// Kept by value because the names of sets end up in reports that are made after the set is gone; trivial so that the
/// option aggregates it lives in may be written inside a `co_await` expression.
class name {
public:
    static constexpr std::size_t max_size = 31;

    constexpr name() noexcept = default;
    constexpr name(std::string_view text) noexcept { // NOLINT(google-explicit-constructor): a string is a name
        std::copy_n(text.data(), std::min(text.size(), max_size), text_.data());
    }
    constexpr name(const char* text) noexcept : name{std::string_view{text}} {} // NOLINT(google-explicit-constructor)

    [[nodiscard]] constexpr std::string_view view() const noexcept DMASYNC_LIFETIMEBOUND { return {text_.data()}; }
    [[nodiscard]] constexpr bool empty() const noexcept { return text_[0] == '\0'; }

private:
    std::array<char, max_size + 1> text_{}; // invariant: ends with a zero
};

} // namespace dmasync::inline DMASYNC_ABI
