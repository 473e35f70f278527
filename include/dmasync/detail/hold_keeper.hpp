// SPDX-License-Identifier: MIT
#pragma once
/// \file hold_keeper.hpp  What a guard can do with its hold.

#include <dmasync/detail/buffer_state.hpp>
#include <dmasync/detail/claim.hpp>
#include <dmasync/detail/device_gate.hpp>
#include <dmasync/detail/failure.hpp>
#include <dmasync/dma_buf.hpp>
#include <dmasync/error.hpp>
#include <dmasync/fence.hpp>
#include <dmasync/unique_fd.hpp>

#include <cstdint>
#include <mutex>
#include <system_error>
#include <utility>

namespace dmasync::detail {

/// Holds: how they end, in whole or in part, and what is told about them. Threads: one at a time for each hold.
class hold_keeper : public device_gate {
public:
    using domain_core::state_of;

    /// Ends a hold. Its claim is gone afterwards.
    /// Returns: `lease_expired` when the buffers were given away before; what the kernel says at the end of a bracket.
    failure unlock(claim& c) noexcept {
        if (!lock_.lock_biased()) [[unlikely]] { return unlock_shared(c); }
        return unlock_inside<&domain_lock::unlock_biased>(c);
    }

    /// As `device_loan`'s. The CPU has no bytes from here on: brackets of the hold's own end before the device has it, not
    /// after, for what the CPU has written has to be in memory by then.
    errc lend(claim& c) noexcept {
        const errc e = end_cpu_use(c);
        return e == errc{} ? device_gate::lend(c) : e;
    }
    errc lend_until(claim& c, unique_fd until) noexcept {
        const errc e = end_cpu_use(c);
        return e == errc{} ? device_gate::lend_until(c, std::move(until)) : e;
    }

    /// Ends the hold of one buffer.
    failure release(claim& c, const buffer_state* b) noexcept {
        return change_entry(c, b, [&](entry& e, step& s) {
            buffer_state& released = state_of(e);
            trace_.released(c, e);
            c.plain = false;
            admission_.release(e, s.out);
            bury_if_dead(released, s);
        });
    }

    failure downgrade(claim& c, const buffer_state* b) noexcept {
        return change_entry(c, b, [this](entry& e, step& s) {
            admission_.downgrade(e, s.out);
            trace_.changed(static_cast<claim&>(*e.claim), e);
        });
    }

    /// Makes the sole reader of a buffer its writer, unless somebody waits for it, or devices are still reading it.
    /// Returns: `would_block` when it cannot be done at once.
    failure try_upgrade(claim& c, const buffer_state* b) noexcept {
        entry* e = find(c, b);
        if (e != nullptr && b->is_dma_buf() && !is_write(e->mode)) { return try_upgrade_dma_buf(c, *e); }
        const step s{*this};
        errc why{};
        const errc refusal = with_held_entry(c, b, [&](entry& held) {
            if (!admission::try_upgrade(held)) {
                why = errc::would_block;
            } else {
                trace_.changed(c, held);
            }
        });
        return refusal != errc{} ? refusal : why;
    }

    /// Makes one buffer of a hold a hold of its own, with the same end.
    /// Returns: its claim; null with `why`.
    [[nodiscard]] claim* split(claim& c, const buffer_state* b, failure& why) noexcept {
        claim* part = prepare(1);
        if (part == nullptr) {
            why = errc::out_of_memory;
            return nullptr;
        }
        step s{*this};
        why = with_held_entry(c, b, [&](entry& e) { move_entry(c, e, *part); });
        if (!why) { return part; }
        let_go(*part, s);
        return nullptr;
    }

    /// Adds a fence to a dma-buf that is held, for drivers that do not know this library.
    failure publish(const claim& c, const buffer_state* b, const fence& f) noexcept {
        const entry* e = find(c, b);
        if (c.state.load(std::memory_order_acquire) == phase::expired) { return errc::lease_expired; } // with expire
        if (e == nullptr) { return errc::not_in_set; }
        if (!b->is_dma_buf()) { return errc::not_a_dma_buf; }
        std::error_code ec;
        dma_buf::import_fence(b->memory.fd.get(), f, e->mode, ec);
        return failure::from(ec);
    }

    /// The fencing token of a buffer that the claim holds, or held until its lease ran out.
    errc token(claim& c, const buffer_state* b, std::uint64_t& value) noexcept {
        const std::lock_guard guard{lock_};
        const entry* e = find(c, b);
        if (e == nullptr) { return errc::not_in_set; }
        value = c.state.load(std::memory_order_relaxed) == phase::expired ? e->token : e->buffer->token();
        return errc{};
    }

    /// The token of the latest grant of a buffer.
    [[nodiscard]] std::uint64_t token(const buffer_state& b) noexcept {
        const std::lock_guard guard{lock_};
        return b.token();
    }

    /// The entry of a buffer in a claim; null when it is not there or was released. Threads: the claim's owner.
    [[nodiscard]] static entry* find(const claim& c, const buffer_state* b) noexcept {
        for (entry& e : c.set()) {
            if (e.buffer == b && b != nullptr) { return &e; }
        }
        return nullptr;
    }

protected:
    using device_gate::device_gate;

    /// Makes a claim a hold with the same lease, and the same end, as another one.
    void hold_like(const claim& from, claim& to) noexcept {
        to.brackets = from.brackets;
        to.lease = from.lease;
        to.lease_span = from.lease_span;
        to.loop = from.loop;
        to.adopted = from.adopted;
        to.label = from.label;
        to.user = from.user;
        to.place = from.place;
        to.since = from.since;
        to.state.store(phase::held, std::memory_order_relaxed);
        reenter_book(to, coarse_now(), from.until);
    }

private:
    /// Under the lock, which `Leave` unlocks.
    template <void (domain_lock::*Leave)() noexcept>
    [[gnu::always_inline]] failure unlock_inside(claim& c) noexcept {
        if (!c.plain || trace_.is_on()) [[unlikely]] { return unlock_with_care(c); }
        leave_book(c);
        if (const std::uint32_t wanted = admission::release_whole(c); wanted != 0) [[unlikely]] {
            return hand_over(c, wanted);
        }
        retire(c);
        (lock_.*Leave)();
        return {};
    }

    /// There is nothing to clean up: `recycle` for plain claims.
    void retire(claim& c) noexcept {
        clear_registration(c);
        c.state.store(phase::idle, std::memory_order_relaxed);
        pool_.give(c);
    }

    [[gnu::noinline]] failure unlock_shared(claim& c) noexcept {
        lock_.lock();
        return unlock_inside<&domain_lock::unlock>(c);
    }

    // The rest of `unlock`, where something is out of the ordinary. Each ends the critical section.

    /// A buffer that has just been released is waited for, or has no handle any more.
    [[gnu::noinline]] failure hand_over(claim& c, std::uint32_t wanted) noexcept {
        claim_node* const next = admission::sole_successor(c);
        if (next == nullptr) { return hand_over_with_step(c, wanted); }
        retire(c);
        hand_over_to(static_cast<claim&>(*next));
        return {};
    }

    [[gnu::noinline]] failure hand_over_with_step(claim& c, std::uint32_t wanted) noexcept {
        step s{*this, std::adopt_lock};
        admission_.pass_on(c, s.out);
        if ((wanted & buffer_node::orphan) != 0) { bury_orphans(c, s); } // seldom: `pass_on` would look at each buffer
        retire(c);
        return {};
    }

    /// What a step does for a claim that is granted, with less.
    void hand_over_to(claim& next) noexcept {
        admission::succeed(next);
        leave_book(next);
        lose_patience(next);
        next.state.store(phase::held, std::memory_order_relaxed);
        begin_lease(next);
        ++counters_.granted_after_wait;
        next.posted = !next.blocking;
        const bool post_rearm = timer_is_late_ && schedule_timer();
        lock_.unlock();
        if (post_rearm) [[unlikely]] { loop_.post(rearm_); }
        tell(next);
    }

    [[gnu::noinline]] failure unlock_with_care(claim& c) noexcept {
        if (c.has_dma_buf) {
            lock_.unlock();
            return unlock_dma_buf(c);
        }
        step s{*this, std::adopt_lock};
        const bool in_time = is_in_use(c);
        if (in_time) { end_hold(c, s); }
        let_go(c, s);
        return in_time ? failure{} : errc::lease_expired;
    }

    failure unlock_dma_buf(claim& c) noexcept {
        const failure f = close_own_brackets(c);
        step s{*this};
        const bool in_time = c.state.load(std::memory_order_relaxed) != phase::expired;
        if (in_time) { end_hold(c, s); }
        let_go(c, s);
        return in_time ? f : errc::lease_expired;
    }

    failure try_upgrade_dma_buf(claim& c, entry& e) noexcept {
        buffer_state& b = state_of(e);
        const int fd = b.memory.fd.get();
        const access_mode was = e.mode;
        if (c.wait_for_fences == fences::wait && !dma_buf::is_idle(fd, as_writer(was))) { return errc::would_block; }
        {
            const step s{*this};
            if (const errc refusal = refuse_change(c); refusal != errc{}) { return refusal; }
            if (!admission::try_upgrade(e)) { return errc::would_block; }
            leave_book(c);
            c.state.store(phase::entering, std::memory_order_relaxed); // the kernel is told
        }
        std::error_code ec;
        std::uint64_t told = 0;
        if (e.own_bracket) {
            ++told;
            ec = cpu_bracket::leave_always(fd, was);
            if (!ec) {
                ++told;
                ec = open_own_bracket(e);
            }
        } else {
            ec = b.bracket.enter(fd, e.mode, told);
        }
        step s{*this};
        counters_.brackets_told += told;
        if (ec) { admission_.downgrade(e, s.out); }
        trace_.changed(c, e);
        c.state.store(phase::held, std::memory_order_relaxed);
        reenter_book(c, coarse_now(), c.until);
        return failure::from(ec);
    }

    /// The hold has no brackets of its own any more. What the kernel refuses to end is left to the next device.
    errc end_cpu_use(claim& c) noexcept {
        if (!c.has_dma_buf || c.brackets != cpu_access::always) { return errc{}; }
        if (close_own_brackets(c) == errc::lease_expired) { return errc::lease_expired; }
        const step s{*this};
        c.state.store(phase::held, std::memory_order_relaxed);
        reenter_book(c, coarse_now(), c.until);
        return errc{};
    }

    /// Changes one entry of a hold. A bracket that the hold has for itself is closed before and, if the entry is still
    /// the hold's, opened anew after.
    template <class Change>
    failure change_entry(claim& c, const buffer_state* b, Change change) noexcept {
        entry* e = find(c, b);
        if (e == nullptr || !wants_own_bracket(c, *e)) {
            step s{*this};
            return with_held_entry(c, b, [&](entry& held) { change(held, s); });
        }
        if (const errc refusal = refuse_change(c); refusal != errc{}) { return refusal; }
        failure f = close_own_brackets(c, e);
        if (f == errc::lease_expired) { return f; }
        {
            step s{*this};
            change(*e, s);
        }
        const bool reopened = e->buffer != nullptr;
        if (reopened) {
            const std::error_code ec = open_own_bracket(*e);
            if (ec) { f = failure::from(ec); }
        }
        const step s{*this};
        counters_.brackets_told += reopened ? 1U : 0U;
        c.state.store(phase::held, std::memory_order_relaxed);
        reenter_book(c, coarse_now(), c.until);
        return f;
    }

    /// Moves a held entry of `from` to `to`, which becomes a hold like it.
    void move_entry(claim& from, entry& e, claim& to) noexcept {
        to.size = 1;
        to.entries[0].buffer = std::exchange(e.buffer, nullptr);
        to.entries[0].mode = e.mode;
        to.entries[0].own_bracket = std::exchange(e.own_bracket, false);
        to.has_dma_buf = from.has_dma_buf;
        hold_like(from, to);
        from.plain = false;
        trace_.moved(from, to, 0);
    }

    template <class Change>
    errc with_held_entry(claim& c, const buffer_state* b, Change change) noexcept {
        if (const errc refusal = refuse_change(c); refusal != errc{}) { return refusal; }
        entry* e = find(c, b);
        if (e == nullptr) { return errc::not_in_set; }
        change(*e);
        return errc{};
    }

    /// What a hold must not be for its set to be changed: with a device, or over.
    [[nodiscard]] static errc refuse_change(const claim& c) noexcept {
        switch (c.state.load(std::memory_order_relaxed)) {
        case phase::held: return errc{};
        case phase::lent: return errc::invalid_access;
        default: return errc::lease_expired;
        }
    }
};

} // namespace dmasync::detail
