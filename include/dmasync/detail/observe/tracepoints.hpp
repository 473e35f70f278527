// SPDX-License-Identifier: MIT
#pragma once
/// \file tracepoints.hpp  Where a domain says what happens in it, for a recorder.

#include <dmasync/access_mode.hpp>
#include <dmasync/deadlock_policy.hpp>
#include <dmasync/detail/base/failure.hpp>
#include <dmasync/detail/domain/buffer_state.hpp>
#include <dmasync/detail/domain/claim.hpp>
#include <dmasync/detail/policy/admission.hpp>
#include <dmasync/detail/sync/threading.hpp>
#include <dmasync/event_loop.hpp>
#include <dmasync/name.hpp>
#include <dmasync/observe/trace.hpp>
#include <dmasync/version.hpp>

#include <atomic>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <span>

namespace dmasync::inline DMASYNC_ABI::detail {

/// Each function says that something has happened just now. No recorder listens most of the time: then it is one look at a word
/// beside the domain's lock. What is done for a listener is kept out of the callers' code.
///
/// Threads: every member under the domain's lock, unless it says otherwise.
class tracepoints {
public:
    explicit tracepoints(const event_loop& loop) noexcept : loop_{loop} {}

    /// From now on `r` records; null for none. It outlives its being listened to.
    void attach(trace_recorder* r) noexcept {
        if constexpr (trace_is_compiled_in) { recorder_.store(r, std::memory_order_relaxed); }
    }

    /// Threads: any; outside of the lock it is a hint.
    [[nodiscard]] bool is_on() const noexcept {
        // relaxed: under the lock, which orders it with attach
        if constexpr (trace_is_compiled_in) { return recorder_.load(std::memory_order_relaxed) != nullptr; }
        return false;
    }

    void buffer(const buffer_state& b) const noexcept {
        if (is_on()) [[unlikely]] { record_buffer(b); }
    }

    /// The claim is about to stand in the queues of its buffers.
    void waits(const claim& c) const noexcept { record(trace_kind::waits, c, c.ticket); }

    /// The buffers are marked as the claim's, but it waits for devices first.
    void fenced(const claim& c) const noexcept { record(trace_kind::fenced, c); }

    /// The claim has become a hold; of a transaction's, what it has from entry `first` on.
    void granted(const claim& c, std::uint32_t first = 0) const noexcept {
        record(trace_kind::granted, c, static_cast<std::uint64_t>(c.lease.count()), {}, first);
    }

    /// The claim is about to be released: it has been held, or was on its way through the gate.
    void released(const claim& c) const noexcept { record(trace_kind::released, c); }
    void released(const claim& c, const entry& e) const noexcept { record(trace_kind::released, c, e); }

    /// A claim that was going to be a hold will not be one. One that has not begun to wait names no buffers yet.
    void gave_up(const claim& c, failure why) const noexcept {
        if (is_on() && c.state_now() != phase::idle) [[unlikely]] { record_set(trace_kind::gave_up, c, 0, why, 0); }
    }

    /// A try_lock failed; nothing was queued.
    void refused(std::span<const request> set, const name& label, failure why) const noexcept {
        if (is_on()) [[unlikely]] { record_refusal(set, label, why); }
    }

    /// The lease has run out; the buffers are about to be taken away.
    void expired(const claim& c) const noexcept { record(trace_kind::expired, c); }

    /// The entry's access is another one now.
    void changed(const claim& c, const entry& e) const noexcept { record(trace_kind::changed, c, e); }

    /// What `from` had, `to` has now, from its entry `first` on.
    void moved(const claim& from, const claim& to, std::uint32_t first) const noexcept {
        record(trace_kind::moved, to, id_of(&from), {}, first);
    }

    void lent(const claim& c) const noexcept { record(trace_kind::lent, c); }
    void overdue(const claim& c) const noexcept { record(trace_kind::overdue, c); }
    void device_failed(const claim& c, failure why) const noexcept { record(trace_kind::device_failed, c, 0, why); }
    void renewed(const claim& c, std::chrono::nanoseconds by) const noexcept {
        record(trace_kind::renewed, c, static_cast<std::uint64_t>(by.count()));
    }

    /// The transaction has to give back.
    void gives_way(const transaction_node& t, deadlock_policy by) const noexcept {
        if (is_on()) [[unlikely]] { record_transaction(t, by); }
    }

    /// What a recorder knows the domain by. Threads: any.
    [[nodiscard]] std::uint64_t domain_id() const noexcept { return id_of(this); }

private:
    void record(trace_kind k, const claim& c, std::uint64_t other = 0, failure why = {},
                std::uint32_t first = 0) const noexcept {
        if (is_on()) [[unlikely]] { record_set(k, c, other, why, first); }
    }
    void record(trace_kind k, const claim& c, const entry& e) const noexcept {
        if (is_on()) [[unlikely]] { record_one(k, c, e); }
    }

    [[gnu::noinline, gnu::cold]] void record_buffer(const buffer_state& b) const noexcept {
        trace_event e = event_of(trace_kind::buffer);
        e.other = b.memory.size;
        describe(e, b);
        push(e);
    }

    [[gnu::noinline, gnu::cold]] void record_refusal(std::span<const request> set, const name& label,
                                                     failure why) const noexcept {
        trace_event e = event_of(trace_kind::refused);
        e.why = value_of(why);
        e.set = label;
        e.leads = true;
        for (const request& r : set) {
            e.mode = r.mode;
            if (r.buffer != nullptr) {
                describe(e, static_cast<const buffer_state&>(*r.buffer));
                push(e);
                e.leads = false;
            }
            ++e.index;
        }
    }

    /// Returns: whether the next record of the same step is still its first.
    [[gnu::noinline, gnu::cold]] bool record_set(trace_kind k, const claim& c, std::uint64_t other, failure why,
                                                 std::uint32_t first, bool leads = true) const noexcept {
        trace_event e = event_of(k, c);
        e.other = other;
        e.why = value_of(why);
        e.leads = leads;
        for (const entry& each : c.set().subspan(first)) {
            if (record_entry(e, each)) { e.leads = false; }
        }
        return e.leads;
    }

    [[gnu::noinline, gnu::cold]] void record_transaction(const transaction_node& t, deadlock_policy by) const noexcept {
        const trace_kind k = by == deadlock_policy::wound_wait ? trace_kind::wounded : trace_kind::died;
        bool leads = true;
        for (const claim_node* c : {t.held, t.waiting}) {
            if (c != nullptr) { leads = record_set(k, static_cast<const claim&>(*c), 0, {}, 0, leads); }
        }
    }

    [[gnu::noinline, gnu::cold]] void record_one(trace_kind k, const claim& c, const entry& held) const noexcept {
        trace_event e = event_of(k, c);
        e.leads = true;
        record_entry(e, held);
    }

    /// Returns: whether it has a buffer; it has none once it has been released early.
    bool record_entry(trace_event& e, const entry& held) const noexcept {
        if (held.buffer == nullptr) { return false; }
        e.mode = held.mode;
        e.index = static_cast<std::uint16_t>(&held - held.claim->entries);
        describe(e, static_cast<const buffer_state&>(*held.buffer));
        push(e);
        return true;
    }

    void push(trace_event& e) const noexcept { recorder_.load(std::memory_order_relaxed)->record(e); }

    [[nodiscard]] trace_event event_of(trace_kind k) const noexcept {
        trace_event e;
        e.time = std::chrono::nanoseconds{loop_.now().time_since_epoch()}.count();
        e.kind = k;
        e.domain = domain_id();
        return e;
    }

    [[nodiscard]] trace_event event_of(trace_kind k, const claim& c) const noexcept {
        const bool by_device = k == trace_kind::released && c.state_now() == phase::lent;
        trace_event e = event_of(by_device ? trace_kind::device_done : k);
        e.claim = id_of(&c);
        e.set = c.label;
        return e;
    }

    static void describe(trace_event& e, const buffer_state& b) noexcept {
        e.buffer = id_of(&b);
        e.buffer_name = b.label;
    }

    [[nodiscard]] static std::int32_t value_of(failure why) noexcept { return why.value(); }

    [[nodiscard]] static std::uint64_t id_of(const void* p) noexcept { return reinterpret_cast<std::uintptr_t>(p); }

    const event_loop& loop_;
    atomic<trace_recorder*> recorder_{nullptr}; // changed under the lock
};

} // namespace dmasync::inline DMASYNC_ABI::detail
