// SPDX-License-Identifier: MIT
#pragma once
/// \file transaction_fixture.hpp  Buffers for transactions, on a virtual clock.

#include <dmasync/domain.hpp>
#include <dmasync/lock.hpp>
#include <dmasync/manual_loop.hpp>

#include <array>
#include <chrono>
#include <system_error>

namespace support {

/// A domain of four buffers.
struct transaction_fixture {
    explicit transaction_fixture(dmasync::deadlock_policy policy = dmasync::deadlock_policy::wound_wait)
        : media{loop, {.lease = std::chrono::seconds{1}, .report = {}, .policy = policy}} {
        for (dmasync::buffer& each : buffers) { each = media.allocate(64); }
    }

    [[nodiscard]] bool is_free(const dmasync::buffer& which) const {
        std::error_code ec;
        return static_cast<bool>(dmasync::try_lock(dmasync::write(which), ec));
    }

    dmasync::manual_loop loop;
    dmasync::domain media;
    std::array<dmasync::buffer, 4> buffers;
    dmasync::buffer& a = buffers[0];
    dmasync::buffer& b = buffers[1];
    dmasync::buffer& c = buffers[2];
    dmasync::buffer& d = buffers[3];
};

} // namespace support
