// SPDX-License-Identifier: MIT
#pragma once
/// \file buffers.hpp  A domain's buffers and lock_sets: how they come, are found again, and go; the end of the domain itself.

#include <dmasync/detail/base/assertion.hpp>
#include <dmasync/detail/domain/buffer_state.hpp>
#include <dmasync/detail/domain/claim.hpp>
#include <dmasync/detail/domain/core.hpp>
#include <dmasync/detail/domain/critical_section.hpp>
#include <dmasync/detail/domain/state.hpp>
#include <dmasync/detail/domain/waiting_loops.hpp>
#include <dmasync/error.hpp>
#include <dmasync/event_loop.hpp>
#include <dmasync/lock_options.hpp>
#include <dmasync/memory.hpp>
#include <dmasync/name.hpp>
#include <dmasync/version.hpp>

#include <atomic>
#include <cstdint>
#include <iterator>
#include <memory>
#include <utility>

namespace dmasync::inline DMASYNC_ABI::detail {

class buffers {
public:
    /// A buffer for this memory: the one there is, or a new one. The caller owns one handle of it.
    /// Returns: null with `why` when the memory clashes with that of another buffer.
    [[nodiscard]] static buffer_state* add(domain_state& d, memory_object memory, dmasync::name name, errc& why) {
        const memory_identity identity = memory.identity;
        auto fresh = std::make_unique<buffer_state>(d, d.policy, std::move(memory), name);
        buffer_registry one;
        one.emplace(identity, fresh.get());
        fresh->node = one.extract(one.begin());

        const lock_section s{d};
        const auto found = s->registry.lower_bound(identity);
        why = clash_beside(s, found, fresh->memory);
        if (why != errc{}) { return nullptr; }
        if (found != s->registry.end() && found->first == identity) {
            buffer_state& b = *found->second;
            add_handle(b);
            b.state &= ~buffer_node::orphan;
            return &b;
        }
        s->trace.buffer(*fresh);
        s->registry.insert(std::move(fresh->node));
        s->all_buffers.push_back(*fresh);
        ++s->buffer_count;
        return fresh.release();
    }

    static void add_handle(buffer_state& b) noexcept { b.handles.fetch_add(1, std::memory_order_relaxed); }

    /// Only the step from one handle to none takes the lock: an import may be finding the buffer just now.
    static void drop_handle(buffer_state& b) noexcept {
        std::uint32_t n = b.handles.load(std::memory_order_relaxed);
        while (n > 1) {
            // release: what was done through this handle happens before the buffer is freed; with the one below
            if (b.handles.compare_exchange_weak(n, n - 1, std::memory_order_release, std::memory_order_relaxed)) {
                return;
            }
        }
        critical_section s{*b.domain};
        // acquire, with the release above; what comes here after this one has the lock after it
        if (b.handles.fetch_sub(1, std::memory_order_acquire) == 1) {
            b.state |= buffer_node::orphan;
            core::bury_if_dead(s, b);
        }
    }

    /// No claim is granted the buffer any more; those that wait for it fail with `closed`, those that hold it go on.
    static void close(buffer_state& b) noexcept {
        critical_section s{*b.domain};
        close(s, b);
    }

    /// The domain is going away: as if every buffer were closed, all at once, so that none is granted because the failure of
    /// another claim makes way; leases end no more.
    static void close_all(domain_state& d) noexcept {
        event_loop& loop = d.loop;
        {
            critical_section s{d};
            for (const auto& [identity, b] : s->registry) { b->state |= buffer_node::closed; }
            while (!s->registry.empty()) { close(s, *s->registry.begin()->second); }
            s->pool.for_each_begun([](claim& c) {
                c.flags.set(claim_flags::domain_gone);
                waiting_loops::part(c); // what waits for fences goes on, and is told by these of its loop's end
            });
            s->trace.attach(nullptr);
            s->open = false;
            s->horizon = domain_state::time_point::min();
            s->sleepers_are_late = true; // to be forgotten by its loops
        }
        loop.remove_user(); // the state may be gone by now
    }

    /// The token of the latest grant of a buffer.
    [[nodiscard]] static std::uint64_t token(const buffer_state& b) noexcept {
        const lock_section s{*b.domain};
        return b.token();
    }

    // ---- sets --------------------------------------------------------------------------------------------------------

    /// Whether a lock_set's mark says that it is locked or being locked.
    [[nodiscard]] static bool is_in_use(domain_state& d, claim* const& registration) noexcept {
        const lock_section s{d};
        return registration != nullptr;
    }

    /// A lock_set is made, and keeps the state alive until it is removed. Returns: the id of its options.
    [[nodiscard]] static options_id add_set(domain_state& d) noexcept {
        const lock_section s{d};
        ++s->set_count;
        return ++s->last_options_id;
    }

    /// The lock_set with this mark goes away; what it has locked goes on without it.
    static void remove_set(domain_state& d, claim*& registration) noexcept {
        const critical_section s{d};
        DMASYNC_ASSERT(s->set_count != 0);
        --s->set_count;
        if (registration != nullptr) { registration->registration = nullptr; }
    }

private:
    /// Why there cannot be a buffer of `memory` between those before and at `next`. Others are not looked at: adopted memory is
    /// in the order of its addresses, and none of it overlaps.
    [[nodiscard]] static errc clash_beside(locked d, buffer_registry::const_iterator next,
                                           const memory_object& memory) noexcept {
        const errc clash = next == d->registry.end() ? errc{} : next->second->memory.clash(memory);
        return clash != errc{} || next == d->registry.begin() ? clash : std::prev(next)->second->memory.clash(memory);
    }

    static void close(critical_section& s, buffer_state& b) noexcept {
        core::unregister(s, b);
        b.state |= buffer_node::closed;
        while (claim_node* c = admission::oldest_waiter(b)) { core::give_up(s, static_cast<claim&>(*c), errc::closed); }
        DMASYNC_ASSERT(b.waiters == 0);
    }
};

} // namespace dmasync::inline DMASYNC_ABI::detail
