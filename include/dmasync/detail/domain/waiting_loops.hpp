// SPDX-License-Identifier: MIT
#pragma once
/// \file waiting_loops.hpp  The loops that claims of a domain wait on: how they become known to it, and are called.

#include <dmasync/detail/base/assertion.hpp>
#include <dmasync/detail/base/failure.hpp>
#include <dmasync/detail/domain/claim.hpp>
#include <dmasync/detail/domain/sleeper.hpp>
#include <dmasync/detail/domain/state.hpp>
#include <dmasync/detail/domain/waiting_loop.hpp>
#include <dmasync/detail/sync/threading.hpp>
#include <dmasync/error.hpp>
#include <dmasync/event_loop.hpp>
#include <dmasync/version.hpp>

#include <atomic>
#include <memory>
#include <new>
#include <utility>

namespace dmasync::inline DMASYNC_ABI::detail {

class waiting_loops {
public:
    /// The loop that the calling thread is in a turn of; null outside of turns. As this shared object has it, else the one that
    /// made the domain's loop.
    [[nodiscard]] static event_loop* of_this_thread(locked d) noexcept {
        event_loop* const l = event_loop::current();
        return l != nullptr || !d->open ? l : d->loop.current_where_made();
    }

    /// Where a coroutine that the calling thread runs goes on after a wait that begins now: on the loop that its options name,
    /// else the one it runs on, else the domain's.
    [[nodiscard]] static event_loop& choose(locked d, event_loop* on) noexcept {
        event_loop* const l = on != nullptr ? on : of_this_thread(d);
        return l != nullptr ? *l : d->loop;
    }

    /// The record of a loop; null where there is none.
    [[nodiscard]] static waiting_loop* find(locked d, const event_loop& l) noexcept {
        if (&l == &d->loop) { return &d->home; }
        waiting_loop* w = first_elsewhere(d);
        while (w != nullptr && &w->loop != &l) { w = next_elsewhere(d, *w); }
        return w;
    }

    // The records of other loops than the domain's.
    [[nodiscard]] static waiting_loop* first_elsewhere(locked d) noexcept {
        return static_cast<waiting_loop*>(d->elsewhere.front());
    }
    [[nodiscard]] static waiting_loop* next_elsewhere(locked d, const waiting_loop& w) noexcept {
        return static_cast<waiting_loop*>(d->elsewhere.next(w));
    }

    /// Chooses the loop of a wait that is about to begin, and makes it known to the domain. Locks. Aborts when the loop has
    /// another clock than the domain's: what ends there could not be told here.
    /// Returns: null without memory. A loop that has come to its end is not made known: `join` says so.
    [[nodiscard]] static event_loop* prepare(domain_state& d, event_loop* on) noexcept {
        bool is_known = false;
        event_loop& l = choose(d, on, is_known);
        return is_known || make_known(d, l) ? &l : nullptr;
    }

    /// A claim is about to wait on a loop, as `prepare` has given it.
    /// Returns: the loop's error when it has come to its end; `out_of_memory` for null.
    [[nodiscard]] static failure join(locked d, claim& c, event_loop* l) noexcept {
        return l == nullptr ? failure{errc::out_of_memory} : join(d, c, *l);
    }
    [[nodiscard]] static failure join(locked d, claim& c, event_loop& l) noexcept {
        DMASYNC_ASSERT(c.elsewhere == nullptr && !c.is_blocking());
        c.loop = &l;
        if (&l == &d->loop) {
            if (d->home.is_attached || !d->open) { return {}; }
            d->sleepers_are_late = true;
            return failure::from(l.error());
        }
        c.elsewhere = find(d, l);
        if (c.elsewhere == nullptr) { return d->open ? failure::from(l.error()) : failure{}; }
        ++c.elsewhere->waits;
        if (c.elsewhere->sleeps_to > d->horizon) { d->sleepers_are_late = true; }
        return {};
    }

    /// A claim waits no longer.
    static void part(claim& c) noexcept {
        if (c.elsewhere == nullptr) [[likely]] { return; }
        DMASYNC_ASSERT(c.elsewhere->waits != 0);
        --std::exchange(c.elsewhere, nullptr)->waits;
    }

    // ---- calls -------------------------------------------------------------------------------------------------------

    /// The record is going to be called by its loop: the caller has to do that, with `call`, when the lock is free.
    static void begin_call(waiting_loop& w) noexcept {
        DMASYNC_ASSERT(!w.called);
        w.called = true;
        w.is_being_called.store(true, std::memory_order_relaxed);
    }

    /// Calls `first`, and what is chained to it: its loop is posted its record, or the thread woken. Not under the lock.
    static void call(sleeper* first) noexcept {
        while (first != nullptr) {
            sleeper& s = *std::exchange(first, first->next_called);
            if (s.is_thread) {
                futex_wake(static_cast<blocked_thread&>(s).word);
            } else {
                waiting_loop& w = static_cast<waiting_loop&>(s);
                w.loop.post(w.call);
            }
            s.is_being_called.store(false, std::memory_order_release); // with wait_for_caller; it may be gone now
        }
    }

    /// Takes a record that is not going to be called out of the domain's list.
    /// Returns: the record, to be freed when the lock is free; null for the domain's own.
    [[nodiscard]] static std::unique_ptr<waiting_loop> drop(locked d, waiting_loop& w) noexcept {
        DMASYNC_ASSERT(!w.called && w.waits == 0);
        w.is_attached = false;
        if (&w == &d->home) { return nullptr; }
        sleeper_list::erase(w);
        return std::unique_ptr<waiting_loop>{&w};
    }

private:
    [[nodiscard]] static event_loop& choose(domain_state& d, event_loop* on, bool& is_known) noexcept {
        const lock_section s{d};
        event_loop& l = choose(s, on);
        is_known = !s->open || &l == &s->loop || find(s, l) != nullptr;
        return l;
    }

    /// Returns: false without memory.
    [[nodiscard]] static bool make_known(domain_state& d, event_loop& l) noexcept {
        if (l.error()) { return true; }
        std::unique_ptr<waiting_loop> fresh{new (std::nothrow)
                                                waiting_loop{d, l, *d.home.alarm.call, *d.home.call.call}};
        if (fresh == nullptr) { return false; }
        {
            const lock_section s{d};
            if (!s->open || find(s, l) != nullptr) { return true; } // another thread was faster
            if (!l.shares_clock_with(s->loop)) {
                misuse("a lock waits on a loop that has another clock than the domain's");
            }
            s->elsewhere.push_back(*fresh);
            if (l.in_this_thread()) {
                l.arm(fresh->alarm, event_loop::time_point::max());
                fresh.release()->is_attached = true;
                return true;
            }
            begin_call(*fresh);
        }
        call(fresh.release());
        return true;
    }
};

} // namespace dmasync::inline DMASYNC_ABI::detail
