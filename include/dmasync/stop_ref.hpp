// SPDX-License-Identifier: MIT
#pragma once
/// \file stop_ref.hpp  A stop token on loan.

#include <dmasync/detail/base/lifetimebound.hpp>
#include <dmasync/version.hpp>

#include <stop_token>

namespace dmasync::inline DMASYNC_ABI {

/// Refers to a stop token of the caller's for the length of a call. Trivial, so that options can be written inside a
/// `co_await` expression.
class stop_ref {
public:
    constexpr stop_ref() noexcept = default;
    // NOLINTNEXTLINE(google-explicit-constructor)
    constexpr stop_ref(const std::stop_token& t DMASYNC_LIFETIMEBOUND) noexcept : token_{&t} {}

    [[nodiscard]] const std::stop_token* get() const noexcept { return token_; }
    [[nodiscard]] bool requested() const noexcept { return token_ != nullptr && token_->stop_requested(); }

private:
    const std::stop_token* token_ = nullptr; // invariant: null, or alive until the wait is over
};

} // namespace dmasync::inline DMASYNC_ABI
