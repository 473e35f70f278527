// SPDX-License-Identifier: MIT
#pragma once
/// \file plugin.hpp  What a plug-in offers to the program that loads it.

#include <dmasync/buffer.hpp>
#include <dmasync/detail/sync/threading.hpp>
#include <dmasync/domain.hpp>

#include <support/probe.hpp>

#include <system_error>

namespace plugin {

/// What follows is done by the plug-in's own copy of the library.
struct functions {
    const std::error_category* category;
    void (*try_write)(const dmasync::buffer&, std::error_code&);
    void (*lock_closed)(const dmasync::buffer&); ///< throws `closed`
    void (*blocking_write)(const dmasync::buffer&, std::error_code&);
    probe (*wait_to_write)(dmasync::buffer);
    bool (*is_would_block)(const std::error_code&);
    dmasync::detail::thread_id (*this_thread_id)();
    dmasync::detail::thread_id (*thread_of_libc)();
};

inline constexpr const char* entry = "dmasync_test_plugin"; // a function without parameters that returns `functions`

} // namespace plugin
