// SPDX-License-Identifier: MIT
#pragma once
/// \file make_loop.hpp  The event loop that the command line asks for.

#include <dmasync/make_event_loop.hpp>

#include <memory>

namespace common {

/// The best that the machine allows, or epoll. Throws std::system_error.
[[nodiscard]] inline dmasync::made_event_loop make_loop(bool epoll) {
    if (epoll) { return {std::make_unique<dmasync::epoll_loop>(), "epoll", {}}; }
    return dmasync::make_event_loop();
}

} // namespace common
