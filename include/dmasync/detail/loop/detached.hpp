// SPDX-License-Identifier: MIT
#pragma once
/// \file detached.hpp  A coroutine that is not awaited.

#include <dmasync/version.hpp>

#include <coroutine>
#include <cstdlib>

namespace dmasync::inline DMASYNC_ABI::detail {

/// A coroutine that is not awaited: what starts a task from outside of all coroutines.
struct detached {
    struct promise_type {
        [[nodiscard]] detached get_return_object() const noexcept { return {}; }
        [[nodiscard]] std::suspend_never initial_suspend() const noexcept { return {}; }
        [[nodiscard]] std::suspend_never final_suspend() const noexcept { return {}; }
        void return_void() const noexcept {}
        [[noreturn]] void unhandled_exception() const noexcept { std::abort(); }
    };
};

} // namespace dmasync::inline DMASYNC_ABI::detail
