// SPDX-License-Identifier: MIT
#pragma once
/// \file waiter.hpp  A coroutine that locks, keeps what it gets, and can be asked how it went.

#include <dmasync/lock.hpp>

#include <support/probe.hpp>

#include <system_error>

namespace support {

/// Locks and keeps what it gets in `out`, until it is taken from there.
template <class... Requests>
probe keep(dmasync::guard& out, std::error_code& ec, dmasync::lock_options options, Requests... requests) {
    out = co_await dmasync::lock(requests..., options, ec); // qualified: with lvalues only, std::lock would fit better
}

struct waiter {
    dmasync::guard held;
    std::error_code ec;
    probe coroutine;

    template <class... Requests>
    void start(const dmasync::lock_options& options, Requests... requests) {
        coroutine = keep(held, ec, options, requests...);
    }
    bool done() const { return coroutine.done(); }
};

} // namespace support
