// SPDX-License-Identifier: MIT
#pragma once
/// \file waiting_loop.hpp  A loop on which claims of a domain wait, as that domain knows it.
///
/// One record for each pair of a domain and a loop. That of the domain's own loop is a part of its state; another one is made
/// before the first claim waits on its loop (`waiting_loops::prepare`), and kept while the domain exists. It guarantees:
///
/// - A claim that is queued, or waits for fences, on a loop that can still be called has a record with that loop in the domain's
///   list, or it is the domain's own (`claim::elsewhere`).
/// - From its first turn on its loop on, `alarm` is armed there, at the end of time if need be, so that the loop tells the record
///   of its end: by `disposition::fail` when it has failed or is closed, by `disposition::discard` when it is destroyed. Each claim
///   that waits on the loop ends with `event_loop::error` then (`core::end_waits_on`), and so does one that comes later.
/// - A record is dropped on its loop's thread alone: when its domain or its loop is gone. Until then it keeps the state of the
///   domain alive, though not the domain. Its own record is not dropped, but forgotten by the loop.

#include <dmasync/detail/base/assertion.hpp>
#include <dmasync/detail/domain/sleeper.hpp>
#include <dmasync/event_loop.hpp>
#include <dmasync/version.hpp>
#include <dmasync/work.hpp>

#include <cstddef>

namespace dmasync::inline DMASYNC_ABI::detail {

struct domain_state;

/// Changed under the domain's lock, but for what belongs to the loop's thread: whether `alarm` is armed.
struct waiting_loop : sleeper {
    /// A timer or a work of the loop that finds the record.
    template <class Kind>
    struct part : Kind {
        part(waiting_loop& w, work::function& f) noexcept : Kind{f}, owner{w} {}
        waiting_loop& owner;
    };

    waiting_loop(domain_state& d, event_loop& l, work::function& on_alarm, work::function& on_call) noexcept
        : sleeper{false}, domain{d}, loop{l}, alarm{*this, on_alarm}, call{*this, on_call} {}
    ~waiting_loop() { DMASYNC_ASSERT(!called && waits == 0 && !alarm.armed()); }

    domain_state& domain;
    event_loop& loop;         // used while the loop knows of the record, or a claim waits on it
    part<timer> alarm;        // armed for `sleeps_to`
    part<work> call;          // has the loop's thread set `alarm` anew
    bool called = false;      // `call` is in the loop's queue, or about to be
    bool is_attached = false; // `alarm` is armed: the loop tells of its end
    std::size_t waits = 0;    // claims with this record: of those that wait on the domain's own loop there is no count
};

} // namespace dmasync::inline DMASYNC_ABI::detail
