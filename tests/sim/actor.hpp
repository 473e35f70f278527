// SPDX-License-Identifier: MIT
#pragma once
/// \file actor.hpp  One acquisition of a run, and what it gets.

#include <dmasync/guard.hpp>
#include <dmasync/lock.hpp>
#include <dmasync/lock_set.hpp>
#include <dmasync/transaction.hpp>

#include <sim/program.hpp>

#include <support/probe.hpp>

#include <array>
#include <coroutine>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <stop_token>
#include <system_error>

namespace sim {

/// A guard, and what it is known to hold.
struct part {
    dmasync::guard held;
    std::int64_t ends = 0; // no lease is to end earlier
    bool lent = false;
    std::stop_token watched;
    bool downgraded = false;
    bool expired = false; // its unlock has said so
};

struct actor {
    const operation* asked = nullptr;
    int id = nothing;
    std::array<dmasync::buffer, 6> handles; // while it waits
    std::array<dmasync::detail::request, 6> wants{};
    std::array<dmasync::detail::request, 6> wishes{}; // what a transaction begins with
    std::size_t size = 0;
    std::optional<std::stop_source> stop;
    std::stop_token token;
    dmasync::lock_options options;
    bool bare = false; // asks without options
    std::unique_ptr<dmasync::lock_set> own_set;
    dmasync::lock_set* set = nullptr;
    std::error_code ec;
    probe coroutine;
    bool begun = false;            // the coroutine has suspended, or is done
    bool done = false;             // there is an outcome
    bool destroyed = false;        // there will be none
    std::uint64_t uses_before = 0; // by devices, when it asked
    bool empty_handle = false;     // one of the buffers was dropped before
    bool gone_to_device = false;
    bool pausing = false;      // in a turn that cannot be taken back
    int attempts = 0;          // of a transaction
    bool wounded = false;      // the last of them was
    std::array<bool, 6> has{}; // of its buffers
    bool busy = false;         // a thread is at work on its guards
    std::array<part, 4> parts; // the first is what was locked, the others were split off

    [[nodiscard]] bool waits() const { return asked != nullptr && !done && !destroyed; }
};

/// `dmasync::lock` for sets that are known at run time only.
class any_lock : dmasync::lock_operation {
public:
    explicit any_lock(actor& a) noexcept
        : lock_operation{home_of(a),
                         {a.wants.data(), a.size},
                         a.bare ? dmasync::detail::no_lock_options : a.options,
                         a.bare ? dmasync::detail::mark_of_none : dmasync::detail::not_marked,
                         &a.ec,
                         {}} {}

    [[nodiscard]] bool await_ready() const noexcept { return false; }
    [[nodiscard]] bool await_suspend(std::coroutine_handle<> h) noexcept { return begin(h); }
    [[nodiscard]] dmasync::guard await_resume() { return take(); }

    [[nodiscard]] dmasync::guard block_and_take() {
        block();
        return take();
    }
    [[nodiscard]] dmasync::guard try_and_take() {
        try_only();
        return take_tried();
    }

private:
    [[nodiscard]] static dmasync::detail::domain_state* home_of(const actor& a) noexcept {
        return static_cast<dmasync::detail::buffer_state*>(a.wants.at(0).buffer)->owner;
    }
};

} // namespace sim
