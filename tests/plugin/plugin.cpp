// SPDX-License-Identifier: MIT
// A shared object that hides its symbols, as plug-ins of media frameworks do. Built twice.
#include <plugin/plugin.hpp>

#include <dmasync/error.hpp>
#include <dmasync/lock.hpp>

using namespace dmasync;

namespace {

probe wait_to_write(buffer b) { const auto held = co_await lock(write(b)); }

} // namespace

extern "C" [[gnu::visibility("default")]] const plugin::functions* dmasync_test_plugin() {
    static const plugin::functions all{
        .category = &error_category(),
        .try_write = [](const buffer& b, std::error_code& ec) { static_cast<void>(try_lock(write(b), ec)); },
        .lock_closed =
            [](const buffer& b) {
                b.close();
                static_cast<void>(blocking_lock(write(b)));
            },
        .blocking_write = [](const buffer& b, std::error_code& ec) { static_cast<void>(blocking_lock(write(b), ec)); },
        .wait_to_write = wait_to_write,
        .is_would_block = [](const std::error_code& ec) { return ec == errc::would_block; },
        .this_thread_id = [] { return detail::this_thread_id(); },
        .thread_of_libc = [] { return detail::thread_of_libc(); },
    };
    return &all;
}
