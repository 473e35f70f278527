// SPDX-License-Identifier: MIT
#pragma once
/// \file lock_operation.hpp  One acquisition by one caller, from the question to the answer.

#include <dmasync/call_site.hpp>
#include <dmasync/detail/domain_state.hpp>
#include <dmasync/guard.hpp>
#include <dmasync/lock_options.hpp>

#include <coroutine>
#include <cstddef>
#include <optional>
#include <span>
#include <stop_token>
#include <system_error>
#include <utility>

namespace dmasync {

/// One acquisition by one caller: what all forms of locking have in common.
///
/// It asks at once, and waits only when it must. While it waits, three others may settle it: whoever releases the
/// buffers, the deadline, and a stop request. The domain's lock decides which; the waiter is told once.
class lock_operation {
public:
    lock_operation(const lock_operation&) = delete;
    lock_operation& operator=(const lock_operation&) = delete;

protected:
    /// `options` outlive the operation. `registration` is a lock_set's mark that it is in use.
    lock_operation(detail::domain_state* home, std::span<const detail::request> set, const lock_options& options,
                   std::error_code* ec, call_site place, detail::claim** registration = nullptr) noexcept
        : demand_{set, options, place, registration}, home_{home}, ec_{ec} {}

    /// The acquisition is a part of a transaction.
    lock_operation(detail::domain_state* home, std::span<const detail::request> set, const lock_options& options,
                   std::error_code* ec, call_site place, detail::transaction_state& t) noexcept
        : demand_{set, options, place}, home_{home}, transaction_{&t}, ec_{ec} {}

    /// Destroying a waiting coroutine is a way to give up. Where it would have resumed, or while its loop rests.
    ~lock_operation() {
        on_stop_.reset(); // first: a callback on another thread uses the claim
        give_back();
    }

    /// Returns: whether there is nothing to wait for, be it that the set is granted or that it never will be.
    [[nodiscard]] bool try_now(bool sweep = false) noexcept {
        if (home_ == nullptr) {
            why_ = errc::wrong_domain;
        } else if (is_stopped()) {
            home_->count_cancelled();
            why_ = errc::cancelled;
        } else {
            errc refusal{};
            if (transaction_ != nullptr) {
                refusal = home_->extend(*transaction_, demand_, claim_);
            } else {
                refusal = sweep ? home_->try_acquire_swept(demand_, claim_) : home_->try_acquire(demand_, claim_);
            }
            why_ = refusal;
            enter_gate();
        }
        return why_ != errc::would_block;
    }

    /// All at once: `try_now`, and `suspend` when that has to wait.
    /// Returns: whether the coroutine has to wait to be resumed. It may have been by then: nothing of `this` is touched
    /// after the claim has been published.
    [[nodiscard, gnu::always_inline]] bool begin(std::coroutine_handle<> waiter) noexcept {
        if (home_ == nullptr || stop() != nullptr) [[unlikely]] { return !try_now() && suspend(waiter); }
        const errc why = home_->acquire(demand_, waiter, claim_);
        if (why == errc::would_block) { return true; }
        if (why != errc{}) [[unlikely]] {
            why_ = why;
            return false;
        }
        if (!claim_->has_dma_buf) [[likely]] { return false; }
        enter_gate();
        return why_ == errc::would_block && publish_granted(waiter);
    }

    /// As `begin`, after `try_now`.
    [[nodiscard]] bool suspend(std::coroutine_handle<> waiter) noexcept {
        if (claim_ != nullptr) { return publish_granted(waiter); }
        return prepare() && publish(waiter, false);
    }

    /// Waits on this thread, until the set is granted or never will be.
    void block() noexcept {
        if (try_now(true) || look_again()) { return; }
        if (home_->is_loop_thread()) {
            give_back();
            why_ = errc::would_deadlock;
            return;
        }
        if (claim_ == nullptr && prepare() && publish(nullptr, true)) { home_->block(*claim_); }
        if (is_granted()) { home_->block_on_fences(*claim_, stop()); }
    }

    /// For those who do not wait: what is granted but not ready is given back.
    void try_only() noexcept {
        static_cast<void>(try_now(true));
        if (is_granted()) { give_back(); }
    }

    /// The outcome. To be called once.
    [[nodiscard, gnu::always_inline]] guard take() {
        on_stop_.reset();
        if (claim_ != nullptr && claim_->state.load(std::memory_order_relaxed) == detail::phase::held) [[likely]] {
            if (ec_ != nullptr) { ec_->clear(); }
            return guard{*std::exchange(claim_, nullptr)};
        }
        if (claim_ != nullptr) { why_ = outcome(*claim_); }
        return fail();
    }

    /// The outcome for a transaction, which has what was granted. To be called once.
    void take_part() {
        on_stop_.reset();
        trace_refusal();
        if (claim_ != nullptr) { why_ = home_->join(*transaction_, *std::exchange(claim_, nullptr)); }
        if (!why_) [[likely]] {
            if (ec_ != nullptr) { ec_->clear(); }
            return;
        }
        const bool enough =
            why_ == errc::already_locked && ec_ == nullptr && detail::domain_state::covers(*transaction_, demand_.set);
        detail::deliver(enough ? std::error_code{} : why_.code(), ec_, "dmasync: transaction");
    }

    /// The outcome of the wait before a transaction begins again. To be called once.
    [[nodiscard]] detail::failure end_wait_again() noexcept {
        on_stop_.reset();
        return home_->end_wait_again(*transaction_, *std::exchange(claim_, nullptr));
    }

    /// The same for those to whom it is no failure that the set is not free.
    [[nodiscard]] guard take_tried() {
        if (why_ == errc::would_block && ec_ == nullptr) {
            trace_refusal();
            return guard{why_};
        }
        return take();
    }

    /// Before the claim waits: afterwards this object may be gone while the callback is still being put in place.
    void heed_stop() noexcept {
        if (stop() != nullptr && stop()->stop_possible()) { on_stop_.emplace(*stop(), canceller{claim_}); }
    }

    void give_back() noexcept {
        if (claim_ != nullptr) { home_->abandon(*std::exchange(claim_, nullptr)); }
    }

    [[nodiscard]] const std::stop_token* stop() const noexcept { return demand_.options.stop.get(); }
    [[nodiscard]] bool is_stopped() const noexcept { return stop() != nullptr && stop()->stop_requested(); }

private:
    struct canceller {
        detail::claim* target;
        void operator()() const noexcept { target->home->cancel(*target, errc::cancelled); }
    };

    /// A failure that no claim was there to tell of.
    void trace_refusal() noexcept {
        if (why_ && claim_ == nullptr && home_ != nullptr) {
            home_->trace_refused(demand_.set, demand_.options.name, why_);
        }
    }

    [[nodiscard]] bool prepare() noexcept {
        const std::size_t size = demand_.set.size();
        claim_ = transaction_ == nullptr ? home_->prepare(size) : home_->prepare_part(*transaction_, size);
        why_ = claim_ == nullptr ? errc::out_of_memory : errc{};
        if (claim_ != nullptr) { claim_->place = demand_.place; }
        return claim_ != nullptr;
    }

    [[nodiscard]] bool publish(std::coroutine_handle<> waiter, bool blocking) noexcept {
        detail::claim& c = *claim_;
        c.waiter = waiter;
        c.blocking = blocking;
        heed_stop();
        return c.home->wait(c, demand_);
    }

    /// The set is granted; only a device is still at work on it.
    [[nodiscard]] bool publish_granted(std::coroutine_handle<> waiter) noexcept {
        detail::claim& c = *claim_;
        c.waiter = waiter;
        heed_stop();
        return c.home->wait_for_fences(c);
    }

    /// Before a thread blocks: whether a set that was held can be had by now, or never will be.
    [[nodiscard]] bool look_again() noexcept {
        if (transaction_ != nullptr || claim_ != nullptr) { return false; }
        why_ = home_->look_again_if_it_pays(demand_, claim_);
        enter_gate();
        return why_ != errc::would_block;
    }

    /// A set that has been granted is not to be had before its devices have finished: `would_block` then.
    void enter_gate() noexcept {
        if (claim_ != nullptr && claim_->has_dma_buf) [[unlikely]] { why_ = home_->enter(*claim_); }
    }

    [[nodiscard, gnu::noinline]] guard fail() {
        trace_refusal();
        detail::deliver(why_.code(), ec_, "dmasync: lock");
        return guard{why_};
    }

    /// Whether there is a claim that is granted and has not been handed over.
    [[nodiscard]] bool is_granted() const noexcept {
        return claim_ != nullptr && claim_->state.load(std::memory_order_relaxed) == detail::phase::entering;
    }

    /// Why what was waited for is not held.
    [[nodiscard]] static detail::failure outcome(const detail::claim& c) noexcept {
        const bool resumed_late = c.state.load(std::memory_order_acquire) == detail::phase::expired; // with expire
        return resumed_late ? errc::lease_expired : c.why;
    }

protected:
    detail::demand demand_;
    detail::domain_state* home_;
    detail::transaction_state* transaction_ = nullptr;
    std::error_code* ec_;
    detail::claim* claim_ = nullptr; // owned, from the first attempt until the guard takes it
    detail::failure why_;
    std::optional<std::stop_callback<canceller>> on_stop_;
};

} // namespace dmasync
