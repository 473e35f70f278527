// SPDX-License-Identifier: MIT
#pragma once
/// \file real_time.hpp  Runs an event loop in real time: until something has happened, or to see that it does not.

#include <dmasync/event_loop.hpp>

#include <chrono>

#include <poll.h>

namespace support {

/// Runs the loop until `done()`, for ten seconds at most. Returns: `done()`.
template <class Condition>
bool run_until(dmasync::event_loop& loop, Condition done) {
    const auto limit = dmasync::event_loop::clock::now() + std::chrono::seconds{10};
    while (!done() && dmasync::event_loop::clock::now() < limit) {
        if (loop.poll()) { continue; }
        pollfd ready{loop.fd(), POLLIN, 0};
        ::poll(&ready, 1, 10);
    }
    return done();
}

/// Runs the loop for a while.
inline void run_for(dmasync::event_loop& loop, std::chrono::milliseconds time) {
    const auto end = dmasync::event_loop::clock::now() + time;
    static_cast<void>(run_until(loop, [end] { return dmasync::event_loop::clock::now() >= end; }));
}

} // namespace support
