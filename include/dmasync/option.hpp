// SPDX-License-Identifier: MIT
#pragma once
/// \file option.hpp  A value that need not be given.

#include <dmasync/version.hpp>

#include <chrono>
#include <limits>
#include <type_traits>

namespace dmasync::inline DMASYNC_ABI {

/// A duration or an enumerator, or none; none is a value of `T` that is never given. As small as `T`, and trivial, so that
/// options are written in a `co_await` expression by plain stores: GCC 12 makes each `std::optional` in a coroutine's frame
/// and copies it from there, which waits for the stores and costs as much as a lock.
template <class T>
class option {
public:
    constexpr option() noexcept = default;
    // NOLINTNEXTLINE(google-explicit-constructor): a value is one that is given
    template <class U>
        requires std::is_convertible_v<U, T>
    constexpr option(U v) noexcept : value_{v} {}

    [[nodiscard]] constexpr explicit operator bool() const noexcept { return value_ != none(); }
    [[nodiscard]] constexpr const T& operator*() const noexcept { return value_; }
    [[nodiscard]] constexpr T value_or(T other) const noexcept { return *this ? value_ : other; }

    friend constexpr bool operator==(const option&, const option&) noexcept = default;

private:
    [[nodiscard]] static constexpr T none() noexcept {
        if constexpr (std::is_enum_v<T>) {
            return static_cast<T>(std::numeric_limits<std::underlying_type_t<T>>::max());
        } else {
            return T::min();
        }
    }

    T value_ = none();
};

} // namespace dmasync::inline DMASYNC_ABI
