// SPDX-License-Identifier: MIT
#pragma once
/// \file callbacks.hpp  What loops call for a domain: turns of its claims, fences that have ended, its timer.

#include <dmasync/detail/base/assertion.hpp>
#include <dmasync/detail/domain/claim.hpp>
#include <dmasync/detail/domain/clock.hpp>
#include <dmasync/detail/domain/core.hpp>
#include <dmasync/detail/domain/critical_section.hpp>
#include <dmasync/detail/domain/fences.hpp>
#include <dmasync/detail/domain/leases.hpp>
#include <dmasync/detail/domain/loans.hpp>
#include <dmasync/detail/domain/state.hpp>
#include <dmasync/detail/domain/waiting_loop.hpp>
#include <dmasync/detail/domain/waiting_loops.hpp>
#include <dmasync/detail/kernel/sync_file.hpp>
#include <dmasync/domain_options.hpp>
#include <dmasync/event_loop.hpp>
#include <dmasync/version.hpp>
#include <dmasync/work.hpp>

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <system_error>
#include <utility>

namespace dmasync::inline DMASYNC_ABI::detail {

class callbacks {
public:
    /// The state of a new domain. `buffers::close_all` gives it up. `first_ticket` is for tests, which start it near its wrap.
    [[nodiscard]] static domain_state* make_domain(event_loop& loop, domain_options options,
                                                   std::uint64_t first_ticket = 0) {
        const std::size_t reserve = std::max<std::size_t>(options.reserve, 1);
        auto* d = new domain_state{loop, std::move(options), {on_alarm, on_call, on_turn, on_fence}, first_ticket};
        core::grow(*d, 1, reserve);
        return d;
    }

private:
    /// The loop's turn for a claim: its waiter goes on, as a rule.
    static void on_turn(work& w, disposition d) noexcept {
        claim& c = static_cast<claim&>(w);
        if (c.waiter == nullptr) { return take_turn_without_waiter(c, d); }
        if (c.has_dma_buf()) [[unlikely]] { return take_turn_for_fences(c, d); }
        c.posted = false;
        if (d == disposition::run) { resume(c); }
    }

    /// What a claim waits for, or is lent until, has ended; or the loop has failed, or goes away.
    static void on_fence(work& w, disposition d) noexcept {
        claim& c = static_cast<claim::fence_watch&>(w).owner;
        const std::error_code result = result_of(c, d);
        c.fence_end.fence.reset();
        if (c.waiter == nullptr) { return loans::end(c, result); }
        const bool ended = d == disposition::run    ? fence_waits::fence_ended(c, result)
                           : d == disposition::fail ? fence_waits::fail(c, failure::from(result))
                                                    : false;
        if (ended) { resume(c); }
    }

    [[nodiscard]] static std::error_code result_of(const claim& c, disposition d) noexcept {
        if (d == disposition::run) { return completion_result(c.fence_end.fence.get()); }
        return d == disposition::fail ? c.loop->error() : std::error_code{};
    }

    /// Something of the domain may have ended; or the loop has failed, or goes away.
    static void on_alarm(work& w, disposition d) noexcept {
        waiting_loop& l = static_cast<waiting_loop::part<timer>&>(w).owner;
        if (d != disposition::run) { return end_with_loop(l); }
        leases::sweep(l.domain);

        const critical_section s{l.domain};
        clock::set_alarm(s, l);
    }

    /// The record of a loop has been called.
    static void on_call(work& w, disposition d) noexcept {
        waiting_loop& l = static_cast<waiting_loop::part<work>&>(w).owner;
        l.wait_for_caller();
        std::unique_ptr<waiting_loop> dropped;
        critical_section s{l.domain};
        DMASYNC_ASSERT(l.called);
        l.called = false;
        if (&l == &s->home) { s->lazy_timestamps = false; }
        if (d == disposition::run && s->open) { return clock::set_alarm(s, l); }
        l.loop.disarm(l.alarm);
        dropped = end_with_loop(s, l);
    }

    /// The loop calls the record no more, once what is in its queue has had its turn.
    static void end_with_loop(waiting_loop& l) noexcept {
        std::unique_ptr<waiting_loop> dropped;
        bool called = false;
        {
            critical_section s{l.domain};
            called = l.called;
            if (!called) { dropped = end_with_loop(s, l); }
        }
        if (called) { l.wait_for_caller(); }
    }

    [[nodiscard]] static std::unique_ptr<waiting_loop> end_with_loop(critical_section& s, waiting_loop& l) noexcept {
        if (s->open) { core::end_waits_on(s, l.loop, failure::from(l.loop.error())); }
        return waiting_loops::drop(s, l);
    }

    /// The claim waits for the fences of devices.
    [[gnu::noinline]] static void take_turn_for_fences(claim& c, disposition d) noexcept {
        if (d == disposition::run && fence_waits::take_turn(c)) { resume(c); }
    }

    /// The claim has been disowned, or lent until a fence ends, for which the wait begins now.
    [[gnu::noinline]] static void take_turn_without_waiter(claim& c, disposition d) noexcept {
        bool disowned = false;
        {
            critical_section s{*c.domain};
            DMASYNC_ASSERT(c.posted);
            c.posted = false;
            disowned = c.flags.has(claim_flags::disowned);
            core::free_if_done(s, c);
        }
        if (disowned) { return; }
        if (d == disposition::run) {
            loans::watch(c);
        } else {
            loans::end(c, {});
        }
    }

    static void resume(claim& c) noexcept { std::exchange(c.waiter, nullptr).resume(); }
};

} // namespace dmasync::inline DMASYNC_ABI::detail
