// SPDX-License-Identifier: MIT
#pragma once
/// \file state.hpp  All that a domain consists of: plain data under one lock.
///
/// What happens to it is done by the modules beside this file, classes of static functions that are given the state:
///
///     waiting_loops < clock < core < { buffers, leases < loans, brackets < fences } < holds < transactions < acquire < callbacks
///
/// A function that needs the lock asks for the proof that it is held, a `locked` or a `critical_section&`; one that is given a
/// `domain_state&` takes the lock itself. Nothing is allocated, freed, called back or resumed while the lock is held.

#include <dmasync/detail/base/assertion.hpp>
#include <dmasync/detail/base/deadline_index.hpp>
#include <dmasync/detail/domain/buffer_state.hpp>
#include <dmasync/detail/domain/claim.hpp>
#include <dmasync/detail/domain/claim_pool.hpp>
#include <dmasync/detail/domain/sleeper.hpp>
#include <dmasync/detail/domain/waiting_loop.hpp>
#include <dmasync/detail/observe/tracepoints.hpp>
#include <dmasync/detail/policy/admission.hpp>
#include <dmasync/detail/sync/adaptive_spin.hpp>
#include <dmasync/detail/sync/biased_lock.hpp>
#include <dmasync/domain_counters.hpp>
#include <dmasync/domain_options.hpp>
#include <dmasync/event_loop.hpp>
#include <dmasync/lock_options.hpp>
#include <dmasync/version.hpp>
#include <dmasync/work.hpp>

#include <cstddef>
#include <cstdint>
#include <utility>

namespace dmasync::inline DMASYNC_ABI::detail {

using buffer_list = intrusive_list<buffer_state, all_tag>;

/// What loops call for a domain: given to its state by callbacks.hpp, the only module that knows all the others.
struct domain_callbacks {
    work::function& on_alarm; // of a waiting_loop
    work::function& on_call;  // likewise
    work::function& on_turn;  // of a claim
    work::function& on_fence; // of a claim
};

/// The state of a domain. Begins with a cache line, for what every lock touches lies together.
///
/// Lives until its domain object, the last buffer, the last claim and the last lock_set are gone.
struct alignas(64) domain_state {
    using time_point = event_loop::time_point;

    /// `first_ticket` is for tests, which start it near its wrap.
    domain_state(event_loop& l, domain_options o, const domain_callbacks& call, std::uint64_t first_ticket)
        : lock{o.single_threaded},
          has_virtual_time{l.has_virtual_time()},
          reads_kernel_clock{!o.single_threaded && !l.has_virtual_time()},
          trace{l},
          loop{l},
          coarse_lag{l.coarse_lag()},
          home{*this, l, call.on_alarm, call.on_call},
          policy{first_ticket, o.policy},
          pool{*this, call.on_turn, call.on_fence},
          options{std::move(o)} {
        loop.add_user();
    }
    domain_state(const domain_state&) = delete;
    domain_state& operator=(const domain_state&) = delete;
    ~domain_state() { DMASYNC_ASSERT(is_unused() && all_buffers.empty() && patient.empty()); }

    /// Whether nothing refers to it, but for the domain object.
    [[nodiscard]] bool is_unused() const noexcept {
        return pool.taken() == 0 && buffer_count == 0 && set_count == 0 && !home.called && elsewhere.empty();
    }

    // Everything that is not const is changed under the lock only.
    biased_lock lock;
    bool open = true;               // the domain object exists
    bool sleepers_are_late = false; // one may sleep for longer than to the horizon; false whenever the lock is free
    bool lazy_timestamps = false;   // and until its turn holds are entered without a time
    const bool has_virtual_time;    // the loop's
    const bool reads_kernel_clock;  // at every grant: it is neither the loop's own time nor given later
    tracepoints trace;
    time_point horizon = time_point::max(); // no entry of `deadlines` ends earlier; none ends when the domain is gone
    deadline_index<claim> deadlines;        // every waiting or held claim that has an end
    event_loop& loop;                       // used under the lock while `open` only: it need not outlive the domain
    const event_loop::clock::duration coarse_lag; // of the loop
    waiting_loop home;                            // of `loop`
    sleeper_list elsewhere;                       // the records of the other loops that claims have waited on
    sleeper_list blocked;                         // threads that are waiting for their claims

    domain_counters counters;
    admission policy;
    claim_pool pool;
    buffer_registry registry;       // every buffer that is not closed
    patience_list patient;          // what waits and is not stuck yet, in order of time; empty without `stuck_after`
    time_point next_stuck_report{}; // no claim is found to be stuck before
    buffer_list all_buffers;
    std::size_t buffer_count = 0; // of `all_buffers`
    std::size_t set_count = 0;    // lock_sets: one without buffers has nothing else that keeps the state alive
    options_id last_options_id = id_of_no_options; // that has been given to a lock_set
    adaptive_spin spin_before_queueing;
    const domain_options options;
};

/// A domain whose lock the calling thread holds: the proof of that, for the functions that need it. No more than a pointer.
class locked {
public:
    explicit locked(domain_state& d) noexcept : domain_{&d} { DMASYNC_ASSERT(d.lock.is_held()); }

    [[nodiscard]] domain_state* operator->() const noexcept { return domain_; }
    [[nodiscard]] domain_state& operator*() const noexcept { return *domain_; }

private:
    domain_state* domain_;
};

/// Locks a domain for as long as it exists, for reading and small changes: there is nothing to be carried out afterwards.
class lock_section {
public:
    explicit lock_section(domain_state& d) noexcept : domain_{d} { d.lock.lock(); }
    lock_section(const lock_section&) = delete;
    lock_section& operator=(const lock_section&) = delete;
    ~lock_section() {
        DMASYNC_ASSERT(!domain_.sleepers_are_late);
        domain_.lock.unlock();
    }

    [[nodiscard]] domain_state* operator->() const noexcept { return &domain_; }
    operator locked() const noexcept { return locked{domain_}; } // NOLINT(google-explicit-constructor): it is the proof

private:
    domain_state& domain_;
};

} // namespace dmasync::inline DMASYNC_ABI::detail
