// SPDX-License-Identifier: MIT
#pragma once
/// \file failure.hpp  Why something failed, in one word: the library's own judgement, or what the kernel answered.

#include <dmasync/error.hpp>
#include <dmasync/version.hpp>

#include <system_error>

namespace dmasync::inline DMASYNC_ABI::detail {

/// A `std::error_code` of one of two categories, small enough to be kept in every guard. No failure by default.
class failure {
public:
    constexpr failure() noexcept = default;
    constexpr failure(errc e) noexcept : value_{static_cast<int>(e)} {} // NOLINT(google-explicit-constructor)

    /// What a system call answered, or an `errc` that has been made an error code before.
    [[nodiscard]] static failure from(const std::error_code& ec) noexcept {
        failure f{static_cast<errc>(ec.value())};
        if (ec && !is_category_of_errc(ec.category())) { f.value_ = -ec.value(); }
        return f;
    }

    /// The failure that has this `value`.
    [[nodiscard]] static constexpr failure of_value(int value) noexcept { return failure{static_cast<errc>(value)}; }

    [[nodiscard]] constexpr bool operator==(const failure&) const noexcept = default;
    [[nodiscard]] constexpr explicit operator bool() const noexcept { return value_ != 0; }

    /// An errc; below zero: an errno, negated.
    [[nodiscard]] constexpr int value() const noexcept { return value_; }

    [[nodiscard]] std::error_code code() const noexcept {
        return value_ < 0 ? std::error_code{-value_, std::system_category()} : code_of(static_cast<errc>(value_));
    }

private:
    int value_ = 0; // an errc; below zero: an errno, negated
};

} // namespace dmasync::inline DMASYNC_ABI::detail
