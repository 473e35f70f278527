// SPDX-License-Identifier: MIT
#pragma once
/// \file holds.hpp  What a guard can do with its hold: end it, in whole or in part, change it, look at it.

#include <dmasync/access_mode.hpp>
#include <dmasync/detail/base/assertion.hpp>
#include <dmasync/detail/base/failure.hpp>
#include <dmasync/detail/domain/brackets.hpp>
#include <dmasync/detail/domain/buffer_state.hpp>
#include <dmasync/detail/domain/claim.hpp>
#include <dmasync/detail/domain/clock.hpp>
#include <dmasync/detail/domain/core.hpp>
#include <dmasync/detail/domain/critical_section.hpp>
#include <dmasync/detail/domain/leases.hpp>
#include <dmasync/detail/domain/loans.hpp>
#include <dmasync/detail/domain/sleeper.hpp>
#include <dmasync/detail/domain/waiting_loops.hpp>
#include <dmasync/dma_buf.hpp>
#include <dmasync/error.hpp>
#include <dmasync/fence.hpp>
#include <dmasync/unique_fd.hpp>
#include <dmasync/version.hpp>

#include <atomic>
#include <cstdint>
#include <mutex>
#include <system_error>
#include <utility>

namespace dmasync::inline DMASYNC_ABI::detail {

/// Threads: one at a time for each hold.
class holds {
public:
    /// Ends a hold. Its claim is gone afterwards.
    /// Returns: `lease_expired` when the buffers were given away before; what the kernel says at the end of a bracket.
    static failure unlock(claim& c) noexcept {
        domain_state& d = *c.domain;
        if (!d.lock.lock_biased()) [[unlikely]] { return unlock_shared(d, c); }
        return unlock_inside<&biased_lock::unlock_biased>(locked{d}, c);
    }

    /// As `loans`' functions. The CPU has no bytes from here on: brackets of the hold's own end before the device has it, not
    /// after, for what the CPU has written has to be in memory by then.
    static errc lend(claim& c) noexcept {
        const errc e = end_cpu_use(c);
        return e == errc{} ? loans::lend(c) : e;
    }
    static errc lend_until(claim& c, unique_fd until) noexcept {
        const errc e = end_cpu_use(c);
        return e == errc{} ? loans::lend_until(c, std::move(until)) : e;
    }

    /// Ends the hold of one buffer.
    static failure release(claim& c, const buffer_state* b) noexcept {
        return change_entry(c, b, [&c](critical_section& s, entry& e) {
            buffer_state& released = core::state_of(e);
            s->trace.released(c, e);
            c.flags.set(claim_flags::partial);
            s->policy.release(e, s.out);
            core::bury_if_dead(s, released);
        });
    }

    static failure downgrade(claim& c, const buffer_state* b) noexcept {
        return change_entry(c, b, [&c](critical_section& s, entry& e) {
            s->policy.downgrade(e, s.out);
            s->trace.changed(c, e);
        });
    }

    /// Makes the sole reader of a buffer its writer, unless a claim waits for it, or devices are still reading it.
    /// Returns: `would_block` when it cannot be done at once.
    static failure try_upgrade(claim& c, const buffer_state* b) noexcept {
        core::index(c);
        entry* e = core::find(c, b);
        if (e != nullptr && b->is_dma_buf() && !is_write(e->mode)) { return try_upgrade_dma_buf(c, *e); }
        critical_section s{*c.domain};
        errc why = refuse_change(c, b);
        if (why == errc{} && !admission::try_upgrade(*e)) { why = errc::would_block; }
        if (why == errc{}) { s->trace.changed(c, *e); }
        return why;
    }

    /// Makes one buffer of a hold a hold of its own, with the same end.
    /// Returns: its claim; null with `why`.
    [[nodiscard]] static claim* split(claim& c, const buffer_state* b, failure& why) noexcept {
        claim* part = core::prepare(*c.domain, 1);
        if (part == nullptr) {
            why = errc::out_of_memory;
            return nullptr;
        }
        core::index(c);
        critical_section s{*c.domain};
        why = refuse_change(c, b);
        if (!why) {
            move_entry(s, c, *core::find(c, b), *part);
            return part;
        }
        core::disown(s, *part);
        return nullptr;
    }

    /// Adds a fence to a dma-buf that is held, for drivers that do not know this library.
    static failure publish(const claim& c, const buffer_state* b, const fence& f) noexcept {
        const entry* e = core::find(c, b);
        if (c.state.load(std::memory_order_acquire) == phase::expired) { return errc::lease_expired; } // with expire
        if (e == nullptr) { return errc::not_in_set; }
        if (!b->is_dma_buf()) { return errc::not_a_dma_buf; }
        std::error_code ec;
        dma_buf::import_fence(b->memory.fd.get(), f, e->mode, ec);
        return failure::from(ec);
    }

    /// The fencing token of a buffer that the claim holds, or held until its lease ran out.
    static errc token(claim& c, const buffer_state* b, std::uint64_t& value) noexcept {
        core::index(c);
        const lock_section s{*c.domain};
        const entry* e = core::find(c, b);
        if (e == nullptr) { return errc::not_in_set; }
        value = c.state_now() == phase::expired ? e->token : e->buffer->token();
        return errc{};
    }

    /// Ends a hold, with the brackets that it has opened for itself. Returns: what the kernel says at the end of these.
    static failure end(critical_section& s, claim& c) noexcept {
        DMASYNC_ASSERT(leases::is_held_or_lent(c));
        const failure f = brackets::may_have_own(c) ? brackets::close_all(s, c) : failure{};
        core::end_hold(s, c);
        return f;
    }

    /// Makes a claim a hold with the same lease, and the same end, as another one.
    static void hold_like(locked d, const claim& from, claim& to) noexcept {
        DMASYNC_ASSERT(to.state_now() == phase::idle && from.state_now() == phase::held);
        to.brackets = from.brackets;
        to.lease = from.lease;
        to.lease_span = from.lease_span;
        to.options = from.options;
        to.label = from.label;
        to.user = from.user;
        to.place = from.place;
        to.since = from.since;
        to.flags.copy(from.flags, claim_flags::domain_gone);
        set_phase(to, phase::held);
        clock::reenter(d, to, clock::coarse_now(d), from.until);
    }

private:
    /// Under the lock, which `Leave` unlocks.
    template <void (biased_lock::*Leave)() noexcept>
    [[gnu::always_inline]] static failure unlock_inside(locked d, claim& c) noexcept {
        if (!c.flags.none() || d->trace.is_on()) [[unlikely]] { return unlock_carefully(d, c); }
        DMASYNC_ASSERT(c.state_now() == phase::held);
        clock::leave(c);
        if (const std::uint32_t wanted = admission::release_whole(c); wanted != 0) [[unlikely]] {
            return hand_over(d, c, wanted);
        }
        core::free_unspecial(d, c);
        (d->lock.*Leave)();
        return {};
    }

    [[gnu::noinline]] static failure unlock_shared(domain_state& d, claim& c) noexcept {
        d.lock.lock();
        return unlock_inside<&biased_lock::unlock>(locked{d}, c);
    }

    // The rest of `unlock`, where something is out of the ordinary. Each ends the critical section.

    /// A buffer that has just been released is waited for, or has no handle any more.
    [[gnu::noinline]] static failure hand_over(locked d, claim& c, std::uint32_t wanted) noexcept {
        claim_node* const next = admission::sole_successor(c);
        if (next == nullptr) { return hand_over_by_policy(d, c, wanted); }
        core::free_unspecial(d, c);
        hand_over_to(d, static_cast<claim&>(*next));
        return {};
    }

    [[gnu::noinline]] static failure hand_over_by_policy(locked d, claim& c, std::uint32_t wanted) noexcept {
        critical_section s{d, std::adopt_lock};
        s->policy.pass_on(c, s.out);
        if ((wanted & buffer_node::orphan) != 0) { core::bury_orphans(s, c); } // seldom, and looks at each buffer
        core::free_unspecial(s, c);
        return {};
    }

    /// What a critical section does for a claim that is granted, with less.
    static void hand_over_to(locked d, claim& next) noexcept {
        DMASYNC_ASSERT(next.state_now() == phase::waiting && !next.has_dma_buf());
        admission::succeed(next);
        core::end_wait(next);
        waiting_loops::part(next);
        set_phase(next, phase::held);
        clock::begin_lease(d, next);
        ++d->counters.granted_after_wait;
        if (!next.is_blocking()) { next.posted = true; }
        sleeper* const to_call = d->sleepers_are_late ? clock::schedule(d) : nullptr;
        d->lock.unlock();
        waiting_loops::call(to_call);
        core::notify(next);
    }

    [[gnu::noinline]] static failure unlock_carefully(locked d, claim& c) noexcept {
        critical_section s{d, std::adopt_lock};
        failure f;
        const bool in_time = leases::is_held_or_lent(c);
        if (in_time) { f = end(s, c); }
        core::disown(s, c);
        return in_time ? f : errc::lease_expired;
    }

    static failure try_upgrade_dma_buf(claim& c, entry& e) noexcept {
        buffer_state& b = core::state_of(e);
        const int fd = b.memory.fd.get();
        const access_mode was = e.mode;
        if (c.wait_for_fences == fences::wait && !dma_buf::is_idle(fd, as_writer(was))) { return errc::would_block; }
        critical_section s{*c.domain};
        if (const errc refusal = refuse_change(c); refusal != errc{}) { return refusal; }
        if (!admission::try_upgrade(e)) { return errc::would_block; }
        std::error_code ec;
        std::uint64_t made = 0;
        {
            const kernel_section outside{s, c};
            ec = e.own_bracket ? reopen_own(e, was, made) : b.bracket.enter(fd, e.mode, made);
        }
        s->counters.brackets_told += made;
        if (ec) { s->policy.downgrade(e, s.out); }
        s->trace.changed(c, e);
        kernel_section::put_back(s, c);
        return failure::from(ec);
    }

    /// For another access than it `was` opened for.
    [[nodiscard]] static std::error_code reopen_own(entry& e, access_mode was, std::uint64_t& made) noexcept {
        ++made;
        const std::error_code ec = cpu_bracket::leave_always(core::state_of(e).memory.fd.get(), was);
        if (ec) { return ec; }
        ++made;
        return brackets::open_own(e);
    }

    /// The hold has no brackets of its own any more. What the kernel refuses to end is left to the next device.
    static errc end_cpu_use(claim& c) noexcept {
        if (!brackets::may_have_own(c)) { return errc{}; }
        critical_section s{*c.domain};
        if (!leases::is_held_or_lent(c)) { return errc::lease_expired; }
        static_cast<void>(brackets::close_all(s, c));
        kernel_section::put_back(s, c);
        return errc{};
    }

    /// Changes one entry of a hold. A bracket that the hold has for itself is closed before and, if the entry is still the
    /// hold's, opened anew after.
    template <class Change>
    static failure change_entry(claim& c, const buffer_state* b, Change change) noexcept {
        core::index(c);
        critical_section s{*c.domain};
        if (const errc refusal = refuse_change(c, b); refusal != errc{}) { return refusal; }
        entry& e = *core::find(c, b);
        if (!brackets::wants_own(c, e)) {
            change(s, e);
            return {};
        }
        failure f;
        std::uint64_t made = 0;
        {
            const kernel_section outside{s, c};
            f = brackets::close(c, &e, made);
        }
        change(s, e);
        {
            const kernel_section outside{s, c};
            if (e.buffer != nullptr) {
                ++made;
                if (const std::error_code ec = brackets::open_own(e); ec) { f = failure::from(ec); }
            }
        }
        s->counters.brackets_told += made;
        kernel_section::put_back(s, c);
        return f;
    }

    /// Moves a held entry of `from` to `to`, which becomes a hold like it.
    static void move_entry(locked d, claim& from, entry& e, claim& to) noexcept {
        DMASYNC_ASSERT(e.claim == &from && e.buffer != nullptr && to.room >= 1);
        to.size = 1;
        to.entries[0].buffer = std::exchange(e.buffer, nullptr);
        to.entries[0].mode = e.mode;
        to.entries[0].own_bracket = std::exchange(e.own_bracket, false);
        to.set_reaches_device(from.reaches_device);
        hold_like(d, from, to);
        from.flags.set(claim_flags::partial);
        d->trace.moved(from, to, 0);
    }

    /// Why a hold cannot be changed: it is with a device, or over; or it does not have the buffer.
    [[nodiscard]] static errc refuse_change(const claim& c) noexcept {
        switch (c.state_now()) {
        case phase::held: return errc{};
        case phase::lent: return errc::invalid_access;
        default: return errc::lease_expired;
        }
    }
    [[nodiscard]] static errc refuse_change(const claim& c, const buffer_state* b) noexcept {
        if (const errc refusal = refuse_change(c); refusal != errc{}) { return refusal; }
        return core::find(c, b) == nullptr ? errc::not_in_set : errc{};
    }
};

} // namespace dmasync::inline DMASYNC_ABI::detail
