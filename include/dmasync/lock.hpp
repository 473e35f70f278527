// SPDX-License-Identifier: MIT
#pragma once
/// \file lock.hpp  Locks a set of buffers: all of them or none.
///
///     auto held = co_await lock(read(camera), write(screen));
///     auto held = co_await lock(read(camera), dma_write(screen), lock_options{.lease = 50ms, .name = "compose"});
///     auto held = co_await lock(write(screen), error);        // std::error_code: never throws
///     auto held = try_lock(read(camera));                     // now or not at all
///     auto held = blocking_lock(read(camera));                // for threads without coroutines

#include <dmasync/buffer.hpp>
#include <dmasync/call_site.hpp>
#include <dmasync/detail/base/lifetimebound.hpp>
#include <dmasync/detail/domain/acquire.hpp>
#include <dmasync/detail/domain/state.hpp>
#include <dmasync/detail/domain/transactions.hpp>
#include <dmasync/detail/lock/awaitable.hpp>
#include <dmasync/detail/lock/mistakes.hpp>
#include <dmasync/detail/lock/operation.hpp>
#include <dmasync/event_loop.hpp>
#include <dmasync/guard.hpp>
#include <dmasync/lock_options.hpp>
#include <dmasync/version.hpp>

#include <array>
#include <coroutine>
#include <cstddef>
#include <optional>
#include <span>
#include <stop_token>
#include <system_error>
#include <type_traits>
#include <utility>

namespace dmasync::inline DMASYNC_ABI {

/// A buffer with the access it is to be locked for. Made by the functions below; the handle outlives it.
template <access_mode Mode>
struct lock_request {
    static constexpr access_mode mode = Mode;

    explicit lock_request(const buffer& b DMASYNC_LIFETIMEBOUND, call_site::address where) noexcept
        : node{b.state_}, place{where} {}

    detail::buffer_node* node;
    call_site place; // of the request, and so of the lock that it is written in
};

// The six ways to ask for a buffer (S3). `where` is for reports.
[[nodiscard]] inline lock_request<access_mode::read> read(const buffer& b DMASYNC_LIFETIMEBOUND,
                                                          call_site::address where = call_site::here()) noexcept {
    return lock_request<access_mode::read>{b, where};
}
[[nodiscard]] inline lock_request<access_mode::write> write(const buffer& b DMASYNC_LIFETIMEBOUND,
                                                            call_site::address where = call_site::here()) noexcept {
    return lock_request<access_mode::write>{b, where};
}
[[nodiscard]] inline lock_request<access_mode::read_write> read_write(
    const buffer& b DMASYNC_LIFETIMEBOUND, call_site::address where = call_site::here()) noexcept {
    return lock_request<access_mode::read_write>{b, where};
}
[[nodiscard]] inline lock_request<access_mode::dma_read> dma_read(
    const buffer& b DMASYNC_LIFETIMEBOUND, call_site::address where = call_site::here()) noexcept {
    return lock_request<access_mode::dma_read>{b, where};
}
[[nodiscard]] inline lock_request<access_mode::dma_write> dma_write(
    const buffer& b DMASYNC_LIFETIMEBOUND, call_site::address where = call_site::here()) noexcept {
    return lock_request<access_mode::dma_write>{b, where};
}
[[nodiscard]] inline lock_request<access_mode::dma_read_write> dma_read_write(
    const buffer& b DMASYNC_LIFETIMEBOUND, call_site::address where = call_site::here()) noexcept {
    return lock_request<access_mode::dma_read_write>{b, where};
}

namespace detail {

/// Stands for options that were not given: nothing to build, nothing to copy.
struct no_options {
    static constexpr options_id id = id_of_no_options;
    [[nodiscard]] static constexpr const lock_options& value() noexcept { return no_lock_options; }
};

/// Refers to the caller's, which outlive the `co_await` expression: a copy of what was just written waits for the stores.
struct given_options {
    static constexpr options_id id = unidentified;
    [[nodiscard]] const lock_options& value() const noexcept { return *given; }
    const lock_options* given;
};

/// Stands for an error code that was not given.
struct no_error_code {
    constexpr explicit no_error_code(std::error_code*) noexcept {}
    [[nodiscard]] constexpr operator std::error_code*() const noexcept {
        return nullptr;
    } // NOLINT(google-explicit-constructor)
};

/// What the arguments of a lock come to: requests first, then options, then an error code. Those two are referred to.
template <class Options, class ErrorCode, access_mode... Modes>
struct lock_arguments {
    using guard_type = guard_of<Modes...>;
    using options_type = Options;
    using error_code_type = ErrorCode;

    listed_set<Modes...> buffers;
    std::array<request, sizeof...(Modes)> set; // the same, once there is an operation
    [[no_unique_address]] Options options;

    template <class... Args>
    explicit lock_arguments(Args&... args) noexcept {
        buffer_node** next = buffers.nodes.data();
        (put(args, next), ...);
    }

    template <access_mode Mode>
    static void put(const lock_request<Mode>& r, buffer_node**& next) noexcept {
        *next++ = r.node;
    }
    void put(const lock_options& o, buffer_node**&) noexcept { options.given = &o; }
    static void put(const std::error_code&, buffer_node**&) noexcept {}

    /// The place of the first request.
    template <class First, class... Rest>
    [[nodiscard]] static call_site place_in(const First& first, const Rest&...) noexcept {
        return first.place;
    }

    /// Null when there is no error code among them.
    template <class First, class... Rest>
    [[nodiscard]] static std::error_code* error_in(First& first, Rest&... rest) noexcept {
        if constexpr (std::is_same_v<First, std::error_code>) {
            return &first;
        } else if constexpr (sizeof...(rest) == 0) {
            return nullptr;
        } else {
            return error_in(rest...);
        }
    }

    [[nodiscard]] domain_state* domain() const noexcept {
        return first() == nullptr ? nullptr : static_cast<buffer_state*>(first())->domain;
    }
    [[nodiscard]] buffer_node* first() const noexcept { return buffers.nodes[0]; }

    /// As `acquire::fast`.
    [[nodiscard, gnu::always_inline]] claim* acquire_fast(call_site place) const noexcept {
        if (first() == nullptr) [[unlikely]] { return nullptr; }
        domain_state& d = *static_cast<buffer_state*>(first())->domain;
        if constexpr (Options::id != unidentified) {
            return acquire::fast(d, buffers, Options::id, place);
        } else {
            if (options.value().stop.requested()) [[unlikely]] { return nullptr; }
            return acquire::fast(d, listed_set_with_options<Modes...>{buffers, options.value()}, Options::id, place);
        }
    }

    /// As `acquire::wait_fast`.
    [[nodiscard]] bool wait_fast(call_site place, std::coroutine_handle<> waiter, claim*& mine) const noexcept {
        if constexpr (sizeof...(Modes) == 1 && Options::id != unidentified) {
            return first() != nullptr && acquire::wait_fast(*domain(), *first(), Modes..., place, waiter, mine);
        }
        return false;
    }

    /// As `transactions::extend_fast`.
    [[nodiscard, gnu::always_inline]] bool extend_fast(domain_state& d, transaction_state& t, options_id id,
                                                       call_site place) const noexcept {
        if constexpr (sizeof...(Modes) == 1) { return transactions::extend_fast<Modes...>(d, t, first(), id, place); }
        return false;
    }

    void begin(std::optional<lock_operation>& o, std::error_code* ec, call_site place) noexcept {
        o.emplace(domain(), requests(), options.value(), Options::id, ec, place);
    }

    /// What an operation asks for.
    [[nodiscard]] std::span<const request> requests() noexcept {
        constexpr std::array modes{Modes...};
        for (std::size_t i = 0; i < set.size(); ++i) { set[i] = {buffers.nodes[i], modes[i]}; }
        return set;
    }
};

/// Sorts the arguments out: `Modes` are those of the requests so far. Has no `type` where they are no lock.
template <class Requests, class... Args>
struct parse_arguments {};

template <access_mode...>
struct mode_list {};

template <access_mode... Modes, access_mode Mode, class... Rest>
struct parse_arguments<mode_list<Modes...>, lock_request<Mode>, Rest...>
    : parse_arguments<mode_list<Modes..., Mode>, Rest...> {};

template <access_mode First, access_mode... Modes>
struct parse_arguments<mode_list<First, Modes...>>
    : std::type_identity<lock_arguments<no_options, no_error_code, First, Modes...>> {};
template <access_mode First, access_mode... Modes>
struct parse_arguments<mode_list<First, Modes...>, std::error_code>
    : std::type_identity<lock_arguments<no_options, std::error_code*, First, Modes...>> {};
template <access_mode First, access_mode... Modes>
struct parse_arguments<mode_list<First, Modes...>, lock_options>
    : std::type_identity<lock_arguments<given_options, no_error_code, First, Modes...>> {};
template <access_mode First, access_mode... Modes>
struct parse_arguments<mode_list<First, Modes...>, lock_options, std::error_code>
    : std::type_identity<lock_arguments<given_options, std::error_code*, First, Modes...>> {};

template <class... Args>
using arguments_of = typename parse_arguments<mode_list<>, std::remove_cvref_t<Args>...>::type;

/// Whether an argument, if it is an error code, is the caller's to read afterwards: neither const nor a temporary.
template <class T>
concept can_be_set = !std::is_same_v<std::remove_cvref_t<T>, std::error_code> || std::is_same_v<T, std::error_code&>;

} // namespace detail

/// One or more requests, then `lock_options` if any, then a variable `std::error_code` if any. Other arguments do not
/// compile, and are told how they are written (detail/lock/mistakes.hpp): overload resolution alone does not tell them.
template <class... Args>
concept describes_lock = std::is_class_v<detail::arguments_of<Args...>> &&(...&& detail::can_be_set<Args>);

/// Locks all the buffers, or none: `co_await lock(read(a), write(b), ...)`. Deadlock-free in whatever order they are asked for;
/// no later lock that wants the same overtakes. Where another thread holds the set and nothing waits for it, the caller
/// may look again for some microseconds before its lock counts as asked for.
/// Returns: an awaitable of a `guard_of<...>`. Uncontended it neither suspends, allocates nor calls the kernel.
/// Errors:  thrown as std::system_error, or set in a trailing std::error_code (and, without exceptions, in
///          `guard::error()` of the empty guard): `wrong_domain`, `duplicate_buffer`, `closed`, `invalid_lease`,
///          `timed_out`, `cancelled`, `lease_expired` (granted, but resumed after the lease), `out_of_memory`.
/// Threads: any. Resumes on the loop given as `on`, else on the domain's; in place when nothing had to be waited for.
/// Lifetime: the buffers' handles, the options, the stop token and the error code outlive the `co_await` expression, as
///          temporaries in it do.
/// Source:  S4, S6; kernel Documentation/locking/ww-mutex-design.rst.
template <class... Args>
    requires describes_lock<Args...>
[[nodiscard]] auto lock(Args&&... args) noexcept {
    using arguments = detail::arguments_of<Args...>;
    return lock_awaitable<arguments>{arguments::error_in(args...), arguments::place_in(args...), args...};
}

/// Locks all the buffers now, or none.
/// Returns: the guard; an empty one whose `error()` is `errc::would_block` when a buffer is not free: that is not
///          thrown, but set in a trailing std::error_code.
/// Errors:  else as `lock`.
/// Threads: any.
template <class... Args>
    requires describes_lock<Args...>
[[nodiscard]] auto try_lock(Args&&... args) {
    return dmasync::lock(args...).try_and_take(); // std::lock would be found too
}

/// Locks all the buffers, blocking the thread. For threads that run no event loop; the domain's loop need not run.
/// Errors:  as `lock`; `would_deadlock` when it would have to wait on a thread that is in a turn of an event loop.
/// Threads: any.
template <class... Args>
    requires describes_lock<Args...>
[[nodiscard]] auto blocking_lock(Args&&... args) { return dmasync::lock(args...).block_and_take(); }

} // namespace dmasync::inline DMASYNC_ABI
