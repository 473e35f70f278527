// SPDX-License-Identifier: MIT
#pragma once
/// \file place.hpp  What the programs about a domain begin with.

#include "model_loop.hpp"
#include "programs.hpp"

#include <dmasync/detail/loop/detached.hpp>
#include <dmasync/domain.hpp>
#include <dmasync/lock.hpp>
#include <dmasync/task.hpp>

#include <array>
#include <chrono>
#include <cstddef>
#include <optional>
#include <system_error>
#include <utility>

namespace interleave {

using namespace std::chrono_literals;
using dmasync::buffer;
using dmasync::errc;
using dmasync::guard;
using dmasync::lock_options;
using dmasync::task;

inline dmasync::detail::detached wait_for_turn(model_loop& on, const buffer& b) {
    std::error_code ec;
    const lock_options options{.lease = dmasync::no_lease, .on = &on};
    const guard held = co_await dmasync::lock(read(b), options, ec);
    check(!ec, "the lock is granted");
}

/// What a domain does when a loop is first waited on is over when a program begins: else it would be searched in each.
inline void make_known(model_loop& loop, const buffer& b) {
    guard held = dmasync::try_lock(write(b), lock_options{.lease = dmasync::no_lease});
    wait_for_turn(loop, b);
    held = {};
    loop.run_ready();
}

/// A domain with one buffer, or two.
struct place {
    std::array<std::byte, 8> memory{};
    std::array<std::byte, 8> more{};
    std::optional<model_loop> loop{std::in_place};
    std::optional<dmasync::domain> media;
    buffer screen;
    buffer camera;
    canary shared; // touched by what holds the buffer

    explicit place(std::chrono::nanoseconds lease = dmasync::no_lease, dmasync::lease_report_sink report = {}) {
        media.emplace(*loop, dmasync::domain_options{.lease = lease, .report = std::move(report), .reserve = 3});
        screen = media->adopt(memory);
        make_known(*loop, screen);
    }

    /// A hold of both buffers.
    guard hold_both() {
        camera = media->adopt(more);
        return dmasync::try_lock(write(screen), write(camera));
    }

    guard hold_shared() { return dmasync::try_lock(read(screen)); }

    guard hold() {
        std::error_code ec;
        guard held = dmasync::try_lock(write(screen), ec);
        check(!ec, "a free buffer can be had");
        return held;
    }
};

inline void use_and_unlock(place& p, guard held) {
    p.shared.write();
    check(!held.unlock(), "unlocking succeeds");
}

inline void block_and_use(place& p) {
    std::error_code ec;
    guard held = dmasync::blocking_lock(write(p.screen), ec);
    check(!ec, "the lock is granted");
    p.shared.write();
}

inline task<> lock_and_use(place& p, lock_options options) {
    std::error_code ec;
    auto held = co_await dmasync::lock(write(p.screen), options, ec);
    check(!ec, "the lock is granted");
    p.shared.write();
}

} // namespace interleave
