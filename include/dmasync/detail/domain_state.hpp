// SPDX-License-Identifier: MIT
#pragma once
/// \file domain_state.hpp  What can be done to a domain: every operation is one step of its state.

#include <dmasync/detail/buffer_state.hpp>
#include <dmasync/detail/claim.hpp>
#include <dmasync/detail/lock_keeper.hpp>
#include <dmasync/detail/threading.hpp>
#include <dmasync/domain_options.hpp>
#include <dmasync/event_loop.hpp>
#include <dmasync/lock_options.hpp>

#include <cstdint>
#include <iterator>
#include <memory>
#include <mutex>
#include <span>
#include <utility>

namespace dmasync::detail {

/// What handles, guards and awaiters call. Begins with a cache line, for what every lock touches lies together.
class alignas(64) domain_state final : public lock_keeper {
public:
    /// `first_ticket` is for tests, which start it near its wrap.
    domain_state(event_loop& loop, domain_options options, std::uint64_t first_ticket = 0)
        : lock_keeper{*this, loop, std::move(options), first_ticket} {}

    // ---- sets --------------------------------------------------------------------------------------------------------

    /// Whether a lock_set's mark says that it is locked or being locked.
    [[nodiscard]] bool in_use(claim* const& registration) noexcept {
        const std::lock_guard guard{lock_};
        return registration != nullptr;
    }

    /// A lock_set is made, and keeps the state alive until it is unregistered. Returns: the id of its options.
    [[nodiscard]] options_id register_set() noexcept {
        const std::lock_guard guard{lock_};
        ++sets_;
        return ++last_options_id_;
    }

    /// The lock_set with this mark goes away; what it locked goes on without it.
    void unregister_set(claim*& registration) noexcept {
        const step s{*this};
        --sets_;
        if (registration != nullptr) { registration->registration = nullptr; }
    }

    // ---- buffers -----------------------------------------------------------------------------------------------------

    /// A buffer for this memory: the one there is, or a new one. The caller owns one handle of it.
    /// Returns: null with `why` when the memory clashes with that of another buffer.
    [[nodiscard]] buffer_state* add_buffer(memory_object memory, dmasync::name name, errc& why) {
        const memory_identity identity = memory.identity;
        auto fresh = std::make_unique<buffer_state>(*this, admission_, std::move(memory), name);
        buffer_registry one;
        one.emplace(identity, fresh.get());
        fresh->node = one.extract(one.begin());

        const std::lock_guard guard{lock_};
        const auto found = registry_.lower_bound(identity);
        why = clash_beside(found, fresh->memory);
        if (why != errc{}) { return nullptr; }
        if (found != registry_.end() && found->first == identity) {
            buffer_state& b = *found->second;
            b.handles.fetch_add(1, std::memory_order_relaxed);
            b.state &= ~buffer_node::orphan;
            return &b;
        }
        trace_.buffer(*fresh);
        registry_.insert(std::move(fresh->node));
        all_.push_back(*fresh);
        ++buffers_;
        return fresh.release();
    }

    static void add_handle(buffer_state& b) noexcept { b.handles.fetch_add(1, std::memory_order_relaxed); }

    /// Only the step from one handle to none takes the lock: an import may be finding the buffer just now.
    void drop_handle(buffer_state& b) noexcept {
        std::uint32_t n = b.handles.load(std::memory_order_relaxed);
        while (n > 1) {
            // release: what was done through this handle happens before the buffer is freed; with the one below
            if (b.handles.compare_exchange_weak(n, n - 1, std::memory_order_release, std::memory_order_relaxed)) {
                return;
            }
        }
        step s{*this};
        // acquire, with the release above; whoever comes here after this one has the lock after it
        if (b.handles.fetch_sub(1, std::memory_order_acquire) == 1) {
            b.state |= buffer_node::orphan;
            bury_if_dead(b, s);
        }
    }

    /// Nobody is granted the buffer any more; who waits for it fails with `closed`, who holds it goes on.
    void close(buffer_state& b) noexcept {
        step s{*this};
        domain_core::close(b, s);
    }

    /// The domain is going away: as if every buffer were closed, all at once, so that nobody is granted one because the
    /// failure of another lets him; leases end no more.
    void close() noexcept {
        event_loop& loop = loop_;
        {
            step s{*this};
            for (const auto& [identity, b] : registry_) { b->state |= buffer_node::closed; }
            while (!registry_.empty()) { domain_core::close(*registry_.begin()->second, s); }
            pool_.for_each_begun([](claim& c) { c.plain = false; }); // the last one frees the state
            trace_.attach(nullptr);
            owned_ = false;
            timer_is_late_ = true; // to be disarmed
        }
        loop.remove_user(); // the state may be gone by now
    }

    // ---- sight -------------------------------------------------------------------------------------------------------

    /// From now on `r` is told of everything; null for nobody.
    void trace_to(trace_recorder* r) noexcept {
        const std::lock_guard guard{lock_};
        trace_.attach(r);
        for (const auto& [identity, b] : registry_) { trace_.buffer(*b); }
    }

    /// What a recorder knows the domain by.
    [[nodiscard]] std::uint64_t trace_id() const noexcept { return trace_.domain_id(); }

    /// A set was asked for in vain, and nobody waits for it.
    void trace_refused(std::span<const request> set, const name& label, failure why) noexcept {
        if (!trace_.is_on()) { return; }
        const std::lock_guard guard{lock_};
        trace_.refused(set, label, why); // if it is still on
    }

    // ---- turns of the loop -------------------------------------------------------------------------------------------

    /// A turn of the loop for a claim that nobody waits for: it is lent until a fence ends, or was abandoned.
    [[gnu::noinline]] void turn_without_waiter(claim& c, disposition d) {
        bool abandoned = false;
        {
            step s{*this};
            c.posted = false;
            abandoned = c.let_go;
            free_if_done(c, s);
        }
        if (abandoned) { return; }
        if (d == disposition::run) {
            watch_loan(c);
        } else {
            end_loan(c, {});
        }
    }

    /// A turn of the loop for a claim with a dma-buf in its set.
    [[gnu::noinline]] void turn_with_devices(claim& c, disposition d) {
        if (d == disposition::run && pass_fences(c)) { std::exchange(c.waiter, nullptr).resume(); }
    }

    /// A fence has ended, or its loop goes away.
    void turn_of_fence(claim& c, disposition d) {
        std::error_code result;
        if (d == disposition::run) { result = completion_result(c.fence_end.fence.get()); }
        c.fence_end.fence.reset();
        if (c.waiter == nullptr) {
            end_loan(c, result);
        } else if (d == disposition::run && go_on_after_fence(c, result)) {
            std::exchange(c.waiter, nullptr).resume();
        }
    }

private:
    /// Why there cannot be a buffer of `memory` between those before and at `next`. Others are not looked at: adopted memory
    /// is in the order of its addresses, and none of it overlaps.
    [[nodiscard]] errc clash_beside(buffer_registry::const_iterator next, const memory_object& memory) const noexcept {
        const errc clash = next == registry_.end() ? errc{} : next->second->memory.clash(memory);
        return clash != errc{} || next == registry_.begin() ? clash : std::prev(next)->second->memory.clash(memory);
    }

    options_id last_options_id_ = id_of_no_options; // that has been given to a lock_set; under the lock
};

inline void domain_core::resume(work& w, disposition d) noexcept {
    claim& c = static_cast<claim&>(w);
    if (c.waiter == nullptr) {
        c.home->turn_without_waiter(c, d);
        return;
    }
    if (c.has_dma_buf) [[unlikely]] {
        c.home->turn_with_devices(c, d);
        return;
    }
    c.posted = false;
    if (d == disposition::run) { std::exchange(c.waiter, nullptr).resume(); }
}

inline void domain_core::fence_ended(work& w, disposition d) noexcept {
    claim& c = static_cast<claim::fence_watch&>(w).owner;
    c.home->turn_of_fence(c, d);
}

} // namespace dmasync::detail
