// SPDX-License-Identifier: MIT
#pragma once
/// \file transaction_user.hpp  A transaction whose locks wait in coroutines that can be asked how it went.

#include <dmasync/transaction.hpp>

#include <support/probe.hpp>

#include <system_error>

namespace support {

struct transaction_user {
    explicit transaction_user(dmasync::domain& d, const dmasync::lock_options& options = {}) : tx{d, options} {}

    /// Asks for more.
    template <class... Requests>
    void lock(Requests... requests) {
        coroutine = ask(tx, ec, requests...);
    }

    /// The same, when it is to be there at once.
    template <class... Requests>
    bool has_locked(Requests... requests) {
        lock(requests...);
        return done() && !ec;
    }

    void restart() { coroutine = begin_again(tx, ec); }

    bool done() const { return coroutine.done(); }
    bool waits() const { return !coroutine.done(); }

    template <class... Requests>
    static probe ask(dmasync::transaction& tx, std::error_code& ec, Requests... requests) {
        co_await tx.lock(requests..., ec);
    }
    static probe begin_again(dmasync::transaction& tx, std::error_code& ec) { co_await tx.restart(ec); }

    dmasync::transaction tx;
    std::error_code ec;
    probe coroutine; // after the transaction: it goes first
};

} // namespace support
