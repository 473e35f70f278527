// SPDX-License-Identifier: MIT
#pragma once
/// \file operation.hpp  One acquisition by one caller, from the question to the answer.

#include <dmasync/call_site.hpp>
#include <dmasync/detail/domain/acquire.hpp>
#include <dmasync/detail/domain/claim.hpp>
#include <dmasync/detail/domain/core.hpp>
#include <dmasync/detail/domain/fences.hpp>
#include <dmasync/detail/domain/leases.hpp>
#include <dmasync/detail/domain/observation.hpp>
#include <dmasync/detail/domain/state.hpp>
#include <dmasync/detail/domain/transactions.hpp>
#include <dmasync/guard.hpp>
#include <dmasync/lock_options.hpp>
#include <dmasync/version.hpp>

#include <coroutine>
#include <cstddef>
#include <optional>
#include <span>
#include <stop_token>
#include <system_error>
#include <utility>

namespace dmasync::inline DMASYNC_ABI {

/// One acquisition by one caller: what all forms of locking have in common.
///
/// It asks at once, and waits only when it must. While it waits, three others may settle it: the one that releases the
/// buffers, the deadline, and a stop request. The domain's lock decides which; the waiter is told once.
class lock_operation {
public:
    /// `options` outlive the operation. `registration` is a lock_set's mark that it is in use.
    lock_operation(detail::domain_state* domain, std::span<const detail::request> set, const lock_options& options,
                   detail::options_id id, std::error_code* ec, call_site place,
                   detail::claim** registration = nullptr) noexcept
        : asked_{set, options, id, place, registration}, domain_{domain}, ec_{ec} {}

    /// The acquisition is a part of a transaction.
    lock_operation(detail::domain_state* domain, std::span<const detail::request> set, const lock_options& options,
                   detail::options_id id, std::error_code* ec, call_site place, detail::transaction_state& t) noexcept
        : asked_{set, options, id, place}, domain_{domain}, transaction_{&t}, ec_{ec} {}

    lock_operation(const lock_operation&) = delete;
    lock_operation& operator=(const lock_operation&) = delete;

    /// Destroying a waiting coroutine is a way to give up. Where it would have resumed, or while its loop rests.
    ~lock_operation() {
        if (asked_.mine != nullptr) { abandon(); }
    }

    /// Returns: whether there is nothing to wait for, be it that the set is granted or that it never will be.
    [[nodiscard]] bool try_now(bool sweep = false) noexcept {
        if (domain_ == nullptr) {
            asked_.why = errc::wrong_domain;
        } else if (is_stopped()) {
            detail::observation::count_cancelled(*domain_);
            asked_.why = errc::cancelled;
        } else if (transaction_ != nullptr) {
            extend(sweep);
            enter();
        } else {
            take_result(sweep ? detail::acquire::ask_swept(*domain_, asked_) : detail::acquire::ask(*domain_, asked_));
        }
        return asked_.why != errc::would_block;
    }

    /// All at once: `try_now`, and `suspend` when that has to wait.
    /// Returns: whether the coroutine has to wait to be resumed. It may have been by then: nothing of `this` is touched
    /// after the claim has been published.
    [[nodiscard]] bool begin(std::coroutine_handle<> waiter) noexcept {
        if (domain_ == nullptr || stop() != nullptr || transaction_ != nullptr) {
            return !try_now() && suspend(waiter);
        }
        asked_.waiter = waiter;
        const detail::acquire_result result = detail::acquire::ask(*domain_, asked_);
        return result != detail::acquire_result::held && (result == detail::acquire_result::waits || go_on(result));
    }

    /// As `begin`, after `try_now`.
    [[nodiscard]] bool suspend(std::coroutine_handle<> waiter) noexcept {
        if (asked_.mine != nullptr) { return publish_granted(waiter); }
        return prepare() && publish(waiter, false);
    }

    /// Waits on this thread, until the set is granted or never will be.
    void block() noexcept {
        if (try_now(true) || spin()) { return; }
        if (detail::acquire::is_loop_thread(*domain_)) {
            give_back();
            asked_.why = errc::would_deadlock;
            return;
        }
        if (asked_.mine == nullptr && prepare() && publish(nullptr, true)) { detail::acquire::block(*asked_.mine); }
        if (is_granted()) { detail::fence_waits::block(*asked_.mine, stop()); }
    }

    /// For callers that do not wait: what is granted but not ready is given back.
    void try_only() noexcept {
        static_cast<void>(try_now(true));
        if (is_granted()) { give_back(); }
    }

    /// The outcome. To be called once.
    template <class Guard = guard>
    [[nodiscard]] Guard take() {
        on_stop_.reset();
        if (asked_.mine != nullptr && asked_.mine->state_now() == detail::phase::held) {
            detail::claim& held = *std::exchange(asked_.mine, nullptr);
            if (ec_ != nullptr) { ec_->clear(); }
            return Guard{held};
        }
        return Guard{fail()};
    }

    /// For a claim that has been waited for already.
    void go_on_with(detail::claim& mine) noexcept { asked_.mine = &mine; }

    /// The outcome for a transaction, which has what was granted. To be called once.
    void take_part() {
        on_stop_.reset();
        trace_refusal();
        if (asked_.mine != nullptr) {
            asked_.why = detail::transactions::join(*transaction_, *std::exchange(asked_.mine, nullptr));
        }
        const bool enough = asked_.why == errc::already_locked && ec_ == nullptr &&
                            detail::transactions::covers(*transaction_, asked_.set);
        detail::deliver(enough ? std::error_code{} : asked_.why.code(), ec_, "dmasync: transaction");
    }

    /// The same for a transaction that does not wait.
    /// Returns: whether the transaction has got the set by this.
    [[nodiscard]] bool take_tried_part() {
        if (asked_.why == errc::would_block && ec_ == nullptr) {
            trace_refusal();
            return false;
        }
        take_part();
        return !asked_.why;
    }

    /// The outcome of the wait before a transaction begins again. To be called once.
    [[nodiscard]] detail::failure end_wait_again() noexcept {
        on_stop_.reset();
        return detail::transactions::end_wait_again(*transaction_, *std::exchange(asked_.mine, nullptr));
    }

    /// The same where a set that is not free is no failure.
    template <class Guard = guard>
    [[nodiscard]] Guard take_tried() {
        if (asked_.why == errc::would_block && ec_ == nullptr) {
            trace_refusal();
            return Guard{asked_.why};
        }
        return take<Guard>();
    }

    /// Before the claim waits: afterwards this object may be gone while the callback is still being put in place.
    void heed_stop() noexcept {
        if (stop() != nullptr && stop()->stop_possible()) { on_stop_.emplace(*stop(), canceller{asked_.mine}); }
    }

    void give_back() noexcept {
        if (asked_.mine != nullptr) { detail::acquire::abandon(*std::exchange(asked_.mine, nullptr)); }
    }

    static void set_blocking(detail::claim& c, bool blocking) noexcept {
        c.blocks_thread = blocking;
        c.flags.clear(detail::claim_flags::blocking);
        if (blocking) { c.flags.set(detail::claim_flags::blocking); }
    }

    [[nodiscard]] const std::stop_token* stop() const noexcept { return asked_.options.stop.get(); }
    [[nodiscard]] bool is_stopped() const noexcept { return asked_.options.stop.requested(); }

private:
    struct canceller {
        detail::claim* target;
        void operator()() const noexcept { detail::acquire::cancel(*target, errc::cancelled); }
    };

    /// A failure that no claim was there to tell of.
    void trace_refusal() noexcept {
        if (asked_.why && asked_.mine == nullptr && domain_ != nullptr) {
            detail::observation::trace_refused(*domain_, asked_.set, asked_.options.name, asked_.why);
        }
    }

    [[nodiscard]] bool prepare() noexcept {
        const std::size_t size = asked_.set.size();
        asked_.mine = transaction_ == nullptr ? detail::core::prepare(*domain_, size)
                                              : detail::transactions::prepare_part(*domain_, *transaction_, size);
        asked_.why = asked_.mine == nullptr ? errc::out_of_memory : errc{};
        if (asked_.mine != nullptr) { asked_.mine->place = asked_.place; }
        return asked_.mine != nullptr;
    }

    [[nodiscard]] bool publish(std::coroutine_handle<> waiter, bool blocking) noexcept {
        detail::claim& c = *asked_.mine;
        c.waiter = waiter;
        set_blocking(c, blocking);
        heed_stop();
        return detail::acquire::wait(c, asked_);
    }

    /// For a transaction; `sweep`: what has had its time by now does not stand in the way.
    void extend(bool sweep) noexcept {
        asked_.why = detail::transactions::extend(*domain_, *transaction_, asked_);
        if (sweep && asked_.why == errc::would_block && detail::leases::sweep(*domain_)) {
            asked_.why = detail::transactions::extend(*domain_, *transaction_, asked_);
        }
    }

    /// The set is granted; only a device is still at work on it.
    [[nodiscard]] bool publish_granted(std::coroutine_handle<> waiter) noexcept {
        detail::claim& c = *asked_.mine;
        c.waiter = waiter;
        heed_stop();
        return detail::fence_waits::wait(c, asked_.options.on);
    }

    /// Before a thread blocks: whether a set that was held can be had by now, or never will be.
    [[nodiscard]] bool spin() noexcept {
        if (transaction_ != nullptr || asked_.mine != nullptr) { return false; }
        take_result(detail::acquire::spin_if_it_pays(*domain_, asked_));
        return asked_.why != errc::would_block;
    }

    void take_result(detail::acquire_result result) noexcept {
        if (result != detail::acquire_result::refused) { asked_.why = errc{}; }
        if (result == detail::acquire_result::fenced) { enter(); }
    }

    /// What was neither granted outright nor queued. Returns: whether the coroutine has to wait.
    [[nodiscard]] bool go_on(detail::acquire_result result) noexcept {
        take_result(result);
        return asked_.why == errc::would_block && suspend(asked_.waiter);
    }

    /// A set that has been granted is not to be had before its devices have finished: `would_block` then.
    void enter() noexcept {
        if (asked_.mine != nullptr && asked_.mine->has_dma_buf()) [[unlikely]] {
            asked_.why = detail::fence_waits::enter(*asked_.mine);
        }
    }

    void abandon() noexcept {
        on_stop_.reset(); // first: a callback on another thread uses the claim
        give_back();
    }

    [[nodiscard]] detail::failure fail() {
        if (asked_.mine != nullptr) { asked_.why = outcome(*asked_.mine); }
        trace_refusal();
        detail::deliver(asked_.why.code(), ec_, "dmasync: lock");
        return asked_.why;
    }

    /// Whether there is a claim that is granted and has not been handed over.
    [[nodiscard]] bool is_granted() const noexcept {
        return asked_.mine != nullptr && asked_.mine->state_now() == detail::phase::entering;
    }

    /// Why what was waited for is not held.
    [[nodiscard]] static detail::failure outcome(const detail::claim& c) noexcept {
        const bool resumed_late = c.state.load(std::memory_order_acquire) == detail::phase::expired; // with expire
        return resumed_late ? errc::lease_expired : c.why;
    }

protected:
    detail::acquire_request asked_;
    detail::domain_state* domain_;
    detail::transaction_state* transaction_ = nullptr;
    std::error_code* ec_;
    std::optional<std::stop_callback<canceller>> on_stop_;
};

} // namespace dmasync::inline DMASYNC_ABI
