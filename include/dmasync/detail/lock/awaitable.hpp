// SPDX-License-Identifier: MIT
#pragma once
/// \file awaitable.hpp  What `co_await lock(...)` awaits.

#include <dmasync/call_site.hpp>
#include <dmasync/detail/domain/acquire.hpp>
#include <dmasync/detail/domain/claim.hpp>
#include <dmasync/detail/lock/operation.hpp>
#include <dmasync/version.hpp>

#include <atomic>
#include <coroutine>
#include <optional>
#include <system_error>
#include <utility>

namespace dmasync::inline DMASYNC_ABI {

/// A lock that is being waited for. Awaitable once, in any coroutine.
///
/// Nearly always it is had at once, or waited for as most are, and then a record of the domain's is all there is to it; an
/// operation is made of it only when something is out of the ordinary. `Asked` says what for: `acquire_fast` and `wait_fast`
/// are those common ways, `begin` makes the operation.
template <class Asked>
class [[nodiscard]] [[gnu::warn_unused]] lock_awaitable : Asked {
public:
    using guard_type = typename Asked::guard_type;

    template <class... Args>
    explicit lock_awaitable(std::error_code* ec, call_site place, Args&... args) noexcept
        : Asked{args...}, ec_{ec}, place_{place} {}
    lock_awaitable(const lock_awaitable&) = delete;
    lock_awaitable& operator=(const lock_awaitable&) = delete;
    [[gnu::always_inline]] ~lock_awaitable() {
        if (mine_ != nullptr) [[unlikely]] { detail::acquire::abandon(*mine_); } // as ~lock_operation
    }

    [[nodiscard, gnu::always_inline]] bool await_ready() noexcept {
        mine_ = this->acquire_fast(place_);
        return mine_ != nullptr;
    }
    /// It may have been resumed by the time that a wait has begun: nothing of `this` is touched afterwards.
    [[nodiscard]] bool await_suspend(std::coroutine_handle<> h) noexcept {
        return this->wait_fast(place_, h, mine_) || begin().begin(h);
    }
    [[nodiscard, gnu::always_inline]] guard_type await_resume() {
        if (mine_ != nullptr && mine_->state_now() == detail::phase::held) [[likely]] { return take_held(); }
        return take();
    }

    [[nodiscard]] guard_type block_and_take() {
        if (await_ready()) { return take_held(); }
        begin().block();
        return take();
    }
    [[nodiscard]] guard_type try_and_take() {
        if (await_ready()) { return take_held(); }
        begin().try_only();
        return operation_->template take_tried<guard_type>();
    }

private:
    [[nodiscard, gnu::noinline]] lock_operation& begin() noexcept {
        Asked::begin(operation_, ec_, place_);
        return *operation_;
    }
    [[nodiscard, gnu::always_inline]] guard_type take_held() noexcept {
        if (std::error_code* const ec = ec_; ec != nullptr) { ec->clear(); }
        return guard_type{*std::exchange(mine_, nullptr)};
    }
    [[nodiscard, gnu::noinline]] guard_type take() {
        if (mine_ != nullptr) { begin().go_on_with(*std::exchange(mine_, nullptr)); } // waited for in vain
        return operation_->template take<guard_type>();
    }

    [[no_unique_address]] typename Asked::error_code_type ec_; // a pointer, null without one
    call_site place_;
    detail::claim* mine_ = nullptr; // owned, until the guard takes it: what was had, or waited for, the common way
    std::optional<lock_operation> operation_;
};

} // namespace dmasync::inline DMASYNC_ABI
