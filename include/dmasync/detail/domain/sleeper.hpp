// SPDX-License-Identifier: MIT
#pragma once
/// \file sleeper.hpp  What sleeps until something of a domain can end: a loop on which claims wait, or a blocked thread.
///
/// Each keeps the domain's time for what waits on it, so that no claim depends on another loop than its own: it knows the time
/// that it sleeps to, and looks after leases and deadlines when that has come. What makes an earlier end known calls all that
/// sleep for longer (`clock::schedule`). So, whenever the domain's lock is free:
///
///     a claim waits here  =>  sleeps_to <= domain_state::horizon, or it has been called, or is awake

#include <dmasync/detail/base/assertion.hpp>
#include <dmasync/detail/base/intrusive_list.hpp>
#include <dmasync/detail/sync/back_off.hpp>
#include <dmasync/detail/sync/threading.hpp>
#include <dmasync/event_loop.hpp>
#include <dmasync/version.hpp>

#include <atomic>
#include <cstdint>

namespace dmasync::inline DMASYNC_ABI::detail {

struct sleeper_tag;

/// Changed under the domain's lock, but for `is_being_called`.
struct sleeper : list_hook<sleeper_tag> {
    explicit sleeper(bool thread) noexcept : is_thread{thread} {}
    sleeper(const sleeper&) = delete;
    sleeper& operator=(const sleeper&) = delete;
    ~sleeper() { DMASYNC_ASSERT(!peek(is_being_called)); }

    /// Returns when no other thread uses it any more because it calls it.
    void wait_for_caller() const noexcept {
        for (back_off wait; is_being_called.load(std::memory_order_acquire);) {
            wait.pause();
        } // with waiting_loops::call
    }

    event_loop::time_point sleeps_to = event_loop::time_point::max();
    sleeper* next_called = nullptr;
    atomic<bool> is_being_called{false}; // a thread is about to wake it, or to post it: it has to stay meanwhile
    const bool is_thread;                // a `blocked_thread`, not a `waiting_loop`
};

/// A thread that blocks until its claim is settled. Lives on its stack.
struct blocked_thread : sleeper {
    // What the word of a claim says.
    static constexpr std::uint32_t asleep = 0;     // or going to be
    static constexpr std::uint32_t settled = 1;    // what it waited for has been decided; does not change any more
    static constexpr std::uint32_t look_again = 2; // something ends earlier than it was said

    explicit blocked_thread(futex_word& w) noexcept : sleeper{true}, word{w} {}

    futex_word& word;
};

using sleeper_list = intrusive_list<sleeper, sleeper_tag>;

} // namespace dmasync::inline DMASYNC_ABI::detail
