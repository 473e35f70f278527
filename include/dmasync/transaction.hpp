// SPDX-License-Identifier: MIT
#pragma once
/// \file transaction.hpp  Locks buffers one after the other, as they are discovered, without deadlock.
///
///     task<guard> compose(transaction& tx, scene& s) {
///         co_await tx.lock(write(s.screen));
///         for (const layer& l : s.layers_in(tx.bytes(s.screen))) { co_await tx.lock(read(l.pixels)); }
///         co_return tx.done();
///     }
///     guard held = co_await run_transaction(media, compose, std::ref(s));      // see run_transaction.hpp
///
/// Where all buffers are known beforehand `lock` is the better way: it holds nothing while it waits and never begins again.

#include <dmasync/buffer.hpp>
#include <dmasync/detail/domain/acquire.hpp>
#include <dmasync/detail/domain/core.hpp>
#include <dmasync/detail/domain/state.hpp>
#include <dmasync/detail/domain/transactions.hpp>
#include <dmasync/detail/lock/operation.hpp>
#include <dmasync/domain.hpp>
#include <dmasync/guard.hpp>
#include <dmasync/lock.hpp>
#include <dmasync/lock_options.hpp>
#include <dmasync/version.hpp>

#include <coroutine>
#include <optional>
#include <system_error>
#include <type_traits>
#include <utility>

namespace dmasync::inline DMASYNC_ABI {

/// One or more requests, then a `std::error_code&` if any: the options are the transaction's.
template <class... Args>
concept describes_part =
    describes_lock<Args...> && std::is_same_v<typename detail::arguments_of<Args...>::options_type, detail::no_options>;

/// An acquisition that grows: it locks sets of buffers one after the other, in any order, and holds them meanwhile.
///
/// Where two transactions would wait for each other the younger one gives way (`domain_options::policy`): its next lock, or
/// the one that it waits in, answers `errc::wounded`. It then has to give back everything and begin again: `restart()`. It
/// keeps its age meanwhile, so that it is the oldest sooner or later, and the oldest never gives way. What it has may be
/// used until it is given back. `run_transaction` does all that.
///
/// `done()` makes it complete: a guard like any other, which is not taken back. It is the last thing to do with it.
/// Everything has one lease, from the first lock on. When that runs out the buffers have been given away, and the next lock
/// answers `errc::lease_expired`; `restart` or `unlock` begin anew.
///
/// Threads: one at a time, and one lock at a time. Destroying it gives everything back.
/// Lifetime: neither copied nor moved. Its domain, or one of the buffers, outlives it; its locks do not (aborts).
/// Source:  S4; kernel Documentation/locking/ww-mutex-design.rst. docs/transactions.md has the kernel's names beside ours.
class transaction : private guard {
public:
    /// `options` hold for every lock; the deadline is for the last of them.
    explicit transaction(domain& d) noexcept : domain_{d.state_} {}
    transaction(domain& d, const lock_options& options) noexcept : domain_{d.state_}, own_options_{options} {}
    transaction(const transaction&) = delete;
    transaction& operator=(const transaction&) = delete;
    ~transaction() {
        if (state_.waiting != nullptr) { detail::misuse("transaction destroyed while one of its locks waits"); }
        forget_contended();
        if (state_.held != nullptr) { static_cast<void>(unlock()); }
    }

    /// Locks more buffers: all of these, or none. `co_await tx.lock(read(a), write(b))`.
    /// Returns: an awaitable of nothing. Uncontended it neither suspends, allocates nor calls the kernel.
    /// Errors:  thrown as std::system_error, or set in a trailing std::error_code:
    ///          `wounded`: give back and try again (`restart`); until then every lock says so;
    ///          `already_locked`: the transaction has one of the buffers, and goes on; not thrown when it has all that is asked
    ///          for. So does a transaction that is waiting in another lock;
    ///          `transaction_done` after `done()`; else as `dmasync::lock`, and `lease_expired` for what it had before.
    /// Threads: as `dmasync::lock`.
    template <class... Args>
        requires describes_part<Args...>
    [[nodiscard]] auto lock(Args&&... args) noexcept {
        return part_awaitable<detail::arguments_of<Args...>>{*this, args...};
    }

    /// Locks more buffers now: all of these, or none. Never waits, wounds or gives way, so that it may be called in any order
    /// and while others wait (the kernel's `ww_mutex_trylock`).
    /// Returns: whether the transaction has got them by this call; false also for what it has already.
    /// Errors:  `would_block`, when a buffer is not free or a device is at work on it, is not thrown, but set in a trailing
    ///          std::error_code; else as `lock`. Unlike the kernel's it answers `wounded`, as every lock does.
    /// Threads: any, one at a time.
    template <class... Args>
        requires describes_part<Args...>
    [[nodiscard]] bool try_lock(Args&&... args) {
        return part_awaitable<detail::arguments_of<Args...>>{*this, args...}.try_and_take();
    }

    /// The same as `lock`, blocking the thread. Further error: `would_deadlock`, as `dmasync::blocking_lock`.
    template <class... Args>
        requires describes_part<Args...>
    void blocking_lock(Args&&... args) {
        part_awaitable<detail::arguments_of<Args...>>{*this, args...}.block_and_take();
    }

    /// Completes the transaction: it can be wounded no more, and nothing can be added. Also for one that has been wounded
    /// and has not heard of it: it needs nothing more.
    /// Returns: the guard of everything it has; empty on failure.
    /// Errors:  `transaction_done` the second time, `wounded`, `lease_expired`, `not_locked` when it has nothing,
    ///          `already_locked` while one of its locks waits.
    [[nodiscard]] guard done() { return done(nullptr); }
    [[nodiscard]] guard done(std::error_code& ec) noexcept { return done(&ec); }

    class restart_awaitable;

    /// Gives everything back, and begins again with the same age. One that was wounded while it waited waits first, holding
    /// nothing, until it could have had that: no sooner is there a point in trying.
    /// Errors: `transaction_done`, and `already_locked` while one of its locks waits: nothing is given back then; `timed_out`,
    /// `cancelled`: everything has been.
    [[nodiscard]] restart_awaitable restart() noexcept;
    [[nodiscard]] restart_awaitable restart(std::error_code& ec) noexcept;

    /// The same, blocking the thread. Further error: `would_deadlock`, as `dmasync::blocking_lock`.
    void blocking_restart();
    void blocking_restart(std::error_code& ec) noexcept;

    /// Gives everything back, and may begin again at once.
    /// Returns: nothing; `errc::lease_expired`, `errc::not_locked`.
    std::error_code unlock() noexcept {
        forget_contended();
        return detail::transactions::give_back(*domain_, state_, false).code();
    }

    /// Whether one of its locks has answered `errc::wounded`, and nothing has been given back since.
    [[nodiscard]] bool must_restart() const noexcept {
        return state_.phase_now() == detail::transaction_phase::restarting;
    }

    /// Whether it has this buffer.
    [[nodiscard]] bool holds(const buffer& b) const noexcept {
        if (claim_ == nullptr) { return false; }
        detail::core::index(*claim_);
        return detail::core::find(*claim_, b.state_) != nullptr;
    }

    // What can be done with the buffers it has so far; see `guard`.
    using guard::bytes;
    using guard::downgrade;
    using guard::expired;
    using guard::expires_at;
    using guard::release;
    using guard::renew;
    using guard::stop_token;
    using guard::token;
    using guard::try_upgrade;
    using guard::writable_bytes;

private:
    template <class Arguments>
    class part_awaitable;

    void forget_contended() noexcept {
        if (state_.contended != nullptr) { detail::transactions::forget_contended(state_); }
    }

    [[nodiscard]] bool is_done() const noexcept { return state_.phase_now() == detail::transaction_phase::done; }

    [[nodiscard]] guard done(std::error_code* ec) {
        errc why = errc::transaction_done;
        detail::claim* held =
            is_done() ? nullptr : detail::transactions::complete(*domain_, state_, why); // else its domain may be gone
        if (held == nullptr) [[unlikely]] {
            detail::deliver(why, ec, "dmasync: transaction::done");
            return guard{detail::failure{why}};
        }
        if (ec != nullptr) { ec->clear(); }
        return guard{*held};
    }

    [[nodiscard]] const lock_options& options() const noexcept {
        return own_options_ ? *own_options_ : detail::no_lock_options;
    }
    [[nodiscard]] detail::options_id own_id() const noexcept {
        return own_options_ ? detail::unidentified : detail::id_of_no_options;
    }

    detail::domain_state* domain_;
    std::optional<lock_options> own_options_;
    detail::transaction_state state_{guard::claim_};
};

/// A lock of a transaction that is being waited for. Awaitable once, in any coroutine. As dmasync::lock's: an operation is
/// made of it only when it is not had at once.
template <class Arguments>
class [[nodiscard]] transaction::part_awaitable : Arguments {
public:
    template <class... Args>
    explicit part_awaitable(transaction& t, Args&... args) noexcept
        : Arguments{args...}, whole_{t}, ec_{this->error_in(args...)}, place_{this->place_in(args...)} {}

    part_awaitable(const part_awaitable&) = delete;
    part_awaitable& operator=(const part_awaitable&) = delete;
    [[gnu::always_inline]] ~part_awaitable() {} // inline: there is no operation, nearly always

    [[nodiscard, gnu::always_inline]] bool await_ready() noexcept {
        return this->extend_fast(*whole_.domain_, whole_.state_, whole_.own_id(), place_);
    }
    [[nodiscard, gnu::noinline]] bool await_suspend(std::coroutine_handle<> h) noexcept { return begin().begin(h); }
    [[gnu::always_inline]] void await_resume() {
        if (operation_) [[unlikely]] { return take(); }
        if (std::error_code* const ec = ec_; ec != nullptr) { ec->clear(); }
    }
    void block_and_take() {
        if (!await_ready()) { begin().block(); }
        await_resume();
    }
    [[nodiscard]] bool try_and_take() {
        if (await_ready()) {
            await_resume();
            return true;
        }
        begin().try_only();
        return operation_->take_tried_part();
    }

private:
    [[nodiscard]] lock_operation& begin() noexcept {
        detail::domain_state* const domain = this->domain() == whole_.domain_ ? whole_.domain_ : nullptr;
        return operation_.emplace(domain, this->requests(), whole_.options(), whole_.own_id(), ec_, place_,
                                  whole_.state_);
    }
    [[gnu::noinline]] void take() { operation_->take_part(); }

    transaction& whole_;
    [[no_unique_address]] typename Arguments::error_code_type ec_; // as dmasync::lock's
    call_site place_;
    std::optional<lock_operation> operation_;
};

/// A transaction that begins again. Awaitable once, in any coroutine.
class [[nodiscard]] transaction::restart_awaitable : lock_operation {
public:
    restart_awaitable(transaction& t, std::error_code* ec) noexcept
        : lock_operation{t.domain_, {}, t.options(), t.own_id(), ec, {}, t.state_}, subject_{t} {}

    [[nodiscard]] bool await_ready() noexcept {
        if (subject_.is_done() || subject_.state_.waiting != nullptr) {
            asked_.why = subject_.is_done() ? errc::transaction_done : errc::already_locked;
            return true;
        }
        static_cast<void>(detail::transactions::give_back(*domain_, subject_.state_, true));
        asked_.mine = std::exchange(subject_.state_.contended, nullptr);
        if (asked_.mine != nullptr) { detail::transactions::prepare_again(*asked_.mine); }
        return asked_.mine == nullptr;
    }
    [[nodiscard]] bool await_suspend(std::coroutine_handle<> h) noexcept { return wait(h, false); }
    void await_resume() {
        if (asked_.mine != nullptr) { asked_.why = end_wait_again(); }
        detail::deliver(asked_.why.code(), ec_, "dmasync: transaction::restart");
    }
    void block_and_take() {
        if (!await_ready()) {
            if (detail::acquire::is_loop_thread(*domain_)) {
                give_back();
                asked_.why = errc::would_deadlock;
            } else if (wait(nullptr, true)) {
                detail::acquire::block(*asked_.mine);
            }
        }
        await_resume();
    }

private:
    [[nodiscard]] bool wait(std::coroutine_handle<> h, bool blocking) noexcept {
        detail::claim& c = *asked_.mine;
        c.waiter = h;
        set_blocking(c, blocking);
        heed_stop();
        return detail::transactions::wait_again(subject_.state_, c, asked_);
    }

    transaction& subject_;
};

inline transaction::restart_awaitable transaction::restart() noexcept { return {*this, nullptr}; }
inline transaction::restart_awaitable transaction::restart(std::error_code& ec) noexcept { return {*this, &ec}; }
inline void transaction::blocking_restart() { restart_awaitable{*this, nullptr}.block_and_take(); }
inline void transaction::blocking_restart(std::error_code& ec) noexcept {
    restart_awaitable{*this, &ec}.block_and_take();
}

} // namespace dmasync::inline DMASYNC_ABI
