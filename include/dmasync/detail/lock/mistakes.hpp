// SPDX-License-Identifier: MIT
#pragma once
/// \file mistakes.hpp  What the compiler says of arguments that are no lock: one line that shows how they are written.

#include <dmasync/access_mode.hpp>
#include <dmasync/guard.hpp>
#include <dmasync/lock_options.hpp>
#include <dmasync/version.hpp>

#include <coroutine>

namespace dmasync::inline DMASYNC_ABI {

namespace detail {

/// What a refused lock returns, so that the rest of the expression adds no errors. Never defined, never made.
struct refused_lock : guard_of<access_mode::write> {
    static bool await_ready() noexcept;
    static void await_suspend(std::coroutine_handle<>) noexcept;
    static guard_of<access_mode::write> await_resume();
};

} // namespace detail

// Each has less in its favour than the function of lock.hpp that takes the same arguments. `const &&` takes an rvalue less
// well than `&&`; and it takes a braced list, from which `&&` deduces nothing.
#define DMASYNC_NO_LOCK                                                                                                \
    __attribute__((unavailable("pass read(a), write(b), ..., lock_options{...}, a std::error_code variable")))
#define DMASYNC_NO_LIST __attribute__((unavailable("write lock_options{...}, not {...}")))

template <class... Args>
DMASYNC_NO_LOCK detail::refused_lock lock(Args&&...) noexcept;
template <class A, class... Rest>
DMASYNC_NO_LIST detail::refused_lock lock(const A&, const lock_options&&, Rest&&...) noexcept;
template <class A, class B, class... Rest>
DMASYNC_NO_LIST detail::refused_lock lock(const A&, const B&, const lock_options&&, Rest&&...) noexcept;

template <class... Args>
DMASYNC_NO_LOCK detail::refused_lock try_lock(Args&&...) noexcept;
template <class A, class... Rest>
DMASYNC_NO_LIST detail::refused_lock try_lock(const A&, const lock_options&&, Rest&&...) noexcept;
template <class A, class B, class... Rest>
DMASYNC_NO_LIST detail::refused_lock try_lock(const A&, const B&, const lock_options&&, Rest&&...) noexcept;

template <class... Args>
DMASYNC_NO_LOCK detail::refused_lock blocking_lock(Args&&...) noexcept;
template <class A, class... Rest>
DMASYNC_NO_LIST detail::refused_lock blocking_lock(const A&, const lock_options&&, Rest&&...) noexcept;
template <class A, class B, class... Rest>
DMASYNC_NO_LIST detail::refused_lock blocking_lock(const A&, const B&, const lock_options&&, Rest&&...) noexcept;

#undef DMASYNC_NO_LIST
#undef DMASYNC_NO_LOCK

} // namespace dmasync::inline DMASYNC_ABI
