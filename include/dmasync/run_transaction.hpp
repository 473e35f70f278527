// SPDX-License-Identifier: MIT
#pragma once
/// \file run_transaction.hpp  Runs a transaction, again and again if need be, until it gets through.

#include <dmasync/domain.hpp>
#include <dmasync/error.hpp>
#include <dmasync/lock_options.hpp>
#include <dmasync/task.hpp>
#include <dmasync/transaction.hpp>
#include <dmasync/version.hpp>

#include <concepts>
#include <functional>
#include <system_error>
#include <type_traits>
#include <utility>

namespace dmasync::inline DMASYNC_ABI {

namespace detail {

template <class>
struct task_result {};
template <class T>
struct task_result<task<T>> : std::type_identity<T> {};

/// What the body of a transaction gives: `T` of the `task<T>` that it returns.
template <class Body, class... Args>
using body_result = typename task_result<std::invoke_result_t<Body&, transaction&, Args&...>>::type;

/// For callers that cannot be thrown at.
template <class T>
[[nodiscard]] T empty_result() noexcept {
    if constexpr (std::is_void_v<T> || std::is_default_constructible_v<T>) {
        return T();
    } else {
        misuse("run_transaction failed, and its result has no empty value");
    }
}

template <class Body, class... Args>
task<body_result<Body, Args...>> attempt_until_through(domain& d, lock_options options, std::error_code* ec, Body body,
                                                       Args... args) {
    using result = body_result<Body, Args...>;
    std::error_code failure;
    transaction tx{d, options};
    while (!failure) {
#if defined(__cpp_exceptions)
        try {
#endif
            if constexpr (std::is_void_v<result>) {
                co_await body(tx, args...);
                if (!tx.must_restart()) { co_return; }
            } else {
                result r = co_await body(tx, args...);
                if (!tx.must_restart()) { co_return r; }
            }
#if defined(__cpp_exceptions)
        } catch (const std::system_error& e) {
            if (e.code() != errc::wounded || !tx.must_restart()) { throw; }
        }
#endif
        co_await tx.restart(failure);
    }
    deliver(failure, ec, "dmasync: run_transaction");
    co_return empty_result<result>();
}

} // namespace detail

/// Something that can be run as a transaction: `task<T> body(transaction&, Args&...)`.
template <class Body, class... Args>
concept transaction_body = requires {
    typename detail::body_result<std::decay_t<Body>, std::unwrap_ref_decay_t<Args>...>;
};

namespace detail {

template <class Body, class... Args>
[[nodiscard]] auto run_transaction(domain& d, const lock_options& options, std::error_code* ec, Body&& body,
                                   Args&&... args) {
    using stored = std::decay_t<Body>;
    static_assert(std::is_lvalue_reference_v<Body> || std::is_empty_v<stored> || std::is_pointer_v<stored>,
                  "a temporary with captures does not survive a co_await (GCC 12): pass what it needs as arguments, or "
                  "give the body a name");
    if (ec != nullptr) { ec->clear(); }
    return attempt_until_through<stored, std::unwrap_ref_decay_t<Args>...>(d, options, ec, std::forward<Body>(body),
                                                                           std::forward<Args>(args)...);
}

} // namespace detail

/// Runs `body(tx, args...)` as a transaction: `guard held = co_await run_transaction(media, compose, std::ref(scene))`.
///
/// When an older one needs what it has, everything is given back and the body is run again, with the age it has; it must
/// not mind being begun more than once. It need do nothing about that: with exceptions the lock that says `errc::wounded`
/// throws, which leaves the body; without, the body returns when a lock fails, and what it returns is dropped. What it
/// still holds when it returns is given back, unless it returns the guard of `tx.done()`.
/// `args` are copied, or referred to when they come as `std::ref`, and are passed as lvalues, the same at every attempt.
/// Returns: a task of what the body returns.
/// Errors:  what leaves the body; what `transaction::restart` says: thrown, or set in the error code given, and the result
///          is empty then.
/// Threads: any; goes on where the body, or the wait before the next attempt, resumes.
/// Source:  kernel Documentation/locking/ww-mutex-design.rst, method 1 and 2.
template <class Body, class... Args>
    requires transaction_body<Body, Args...>
[[nodiscard]] auto run_transaction(domain& d, Body&& body, Args&&... args) {
    return detail::run_transaction(d, lock_options{}, nullptr, std::forward<Body>(body), std::forward<Args>(args)...);
}
template <class Body, class... Args>
    requires transaction_body<Body, Args...>
[[nodiscard]] auto run_transaction(domain& d, const lock_options& options, Body&& body, Args&&... args) {
    return detail::run_transaction(d, options, nullptr, std::forward<Body>(body), std::forward<Args>(args)...);
}
template <class Body, class... Args>
    requires transaction_body<Body, Args...>
[[nodiscard]] auto run_transaction(domain& d, const lock_options& options, std::error_code& ec, Body&& body,
                                   Args&&... args) {
    return detail::run_transaction(d, options, &ec, std::forward<Body>(body), std::forward<Args>(args)...);
}

} // namespace dmasync::inline DMASYNC_ABI
