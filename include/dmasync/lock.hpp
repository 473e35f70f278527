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
#include <dmasync/detail/domain_state.hpp>
#include <dmasync/detail/lock_operation.hpp>
#include <dmasync/event_loop.hpp>
#include <dmasync/guard.hpp>
#include <dmasync/lock_options.hpp>

#include <array>
#include <coroutine>
#include <cstddef>
#include <optional>
#include <span>
#include <stop_token>
#include <system_error>
#include <type_traits>
#include <utility>

namespace dmasync {

/// A buffer with the access it is to be locked for. Made by the functions below; the handle outlives it.
template <access Mode>
struct lock_request {
    static constexpr access mode = Mode;

    explicit lock_request(const buffer& b, call_site where) noexcept : node{b.state_}, place{where} {}

    detail::buffer_node* node;
    call_site place; // of the request, and so of the lock that it is written in
};

// The six ways to ask for a buffer (S3). `where` is for reports.
[[nodiscard]] inline lock_request<access::read> read(const buffer& b, call_site where = call_site::current()) noexcept {
    return lock_request<access::read>{b, where};
}
[[nodiscard]] inline lock_request<access::write> write(const buffer& b,
                                                       call_site where = call_site::current()) noexcept {
    return lock_request<access::write>{b, where};
}
[[nodiscard]] inline lock_request<access::read_write> read_write(const buffer& b,
                                                                 call_site where = call_site::current()) noexcept {
    return lock_request<access::read_write>{b, where};
}
[[nodiscard]] inline lock_request<access::dma_read> dma_read(const buffer& b,
                                                             call_site where = call_site::current()) noexcept {
    return lock_request<access::dma_read>{b, where};
}
[[nodiscard]] inline lock_request<access::dma_write> dma_write(const buffer& b,
                                                               call_site where = call_site::current()) noexcept {
    return lock_request<access::dma_write>{b, where};
}
[[nodiscard]] inline lock_request<access::dma_read_write> dma_read_write(
    const buffer& b, call_site where = call_site::current()) noexcept {
    return lock_request<access::dma_read_write>{b, where};
}

namespace detail {

/// Stands for options that were not given: nothing to build, nothing to copy.
struct no_options {
    static constexpr const lock_options& value = no_lock_options;
    static constexpr options_mark mark = mark_of_none;
};

struct given_options {
    lock_options value;
    static constexpr options_mark mark = not_marked;
};

/// What the arguments of a lock come to: requests first, then options, then an error code. Those two are looked at, not kept.
template <class Options, access... Modes>
struct lock_arguments {
    using guard_type = guard_of<Modes...>;
    using options_type = Options;

    std::array<request, sizeof...(Modes)> set;
    [[no_unique_address]] Options options;

    template <class... Args>
    explicit lock_arguments(Args&... args) noexcept {
        request* next = set.data();
        (put(args, next), ...);
    }

    template <access Mode>
    void put(const lock_request<Mode>& r, request*& next) noexcept {
        *next++ = {r.node, Mode};
    }
    void put(const lock_options& o, request*&) noexcept { options.value = o; }
    static void put(const std::error_code&, request*&) noexcept {}

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

    [[nodiscard]] domain_state* home() const noexcept {
        return set[0].buffer == nullptr ? nullptr : static_cast<buffer_state*>(set[0].buffer)->owner;
    }
};

/// Sorts the arguments out: `Modes` are those of the requests so far.
template <class Requests, class... Args>
struct parse_arguments;

template <access...>
struct mode_list {};

template <access... Modes, access Mode, class... Rest>
struct parse_arguments<mode_list<Modes...>, lock_request<Mode>, Rest...>
    : parse_arguments<mode_list<Modes..., Mode>, Rest...> {};

template <access First, access... Modes>
struct parse_arguments<mode_list<First, Modes...>> : std::type_identity<lock_arguments<no_options, First, Modes...>> {};
template <access First, access... Modes>
struct parse_arguments<mode_list<First, Modes...>, std::error_code>
    : std::type_identity<lock_arguments<no_options, First, Modes...>> {};
template <access First, access... Modes>
struct parse_arguments<mode_list<First, Modes...>, lock_options>
    : std::type_identity<lock_arguments<given_options, First, Modes...>> {};
template <access First, access... Modes>
struct parse_arguments<mode_list<First, Modes...>, lock_options, std::error_code>
    : std::type_identity<lock_arguments<given_options, First, Modes...>> {};

template <class... Args>
using arguments_of = typename parse_arguments<mode_list<>, std::remove_cvref_t<Args>...>::type;

} // namespace detail

/// One or more requests, then `lock_options` if any, then a `std::error_code&` if any.
template <class... Args>
concept describes_lock = std::is_class_v<detail::arguments_of<Args...>>; // false where there is no such type

/// A lock that is being waited for. Awaitable once, in any coroutine.
template <class Arguments>
class [[nodiscard]] lock_awaitable : Arguments, lock_operation {
public:
    using guard_type = typename Arguments::guard_type;

    template <class... Args>
    explicit lock_awaitable(Args&... args) noexcept
        : Arguments{args...}, lock_operation{this->home(),
                                             this->set,
                                             this->options.value,
                                             this->options.mark,
                                             this->error_in(args...),
                                             this->place_in(args...)} {}

    lock_awaitable(const lock_awaitable&) = delete;
    lock_awaitable& operator=(const lock_awaitable&) = delete;
    [[gnu::always_inline]] ~lock_awaitable() {} // inline: the outcome has been taken by then, nearly always

    [[nodiscard]] bool await_ready() const noexcept { return false; } // one critical section grants or queues
    [[nodiscard, gnu::always_inline]] bool await_suspend(std::coroutine_handle<> h) noexcept { return this->begin(h); }
    [[nodiscard, gnu::always_inline]] guard_type await_resume() { return this->template take<guard_type>(); }

    [[nodiscard]] guard_type block_and_take() {
        this->block();
        return this->template take<guard_type>();
    }
    [[nodiscard]] guard_type try_and_take() {
        this->try_only();
        return this->template take_tried<guard_type>();
    }
};

/// Locks all the buffers, or none: `co_await lock(read(a), write(b), ...)`. Deadlock-free in whatever order others ask;
/// nobody who asked later and wants the same overtakes. Where another thread holds the set and nobody waits for it, who asks
/// may look again for some microseconds before he counts as one who has.
/// Returns: an awaitable of a `guard_of<...>`. Uncontended it neither suspends, allocates nor calls the kernel.
/// Errors:  thrown as std::system_error, or set in a trailing std::error_code (and, without exceptions, in
///          `guard::error()` of the empty guard): `wrong_domain`, `duplicate_buffer`, `closed`, `invalid_lease`,
///          `timed_out`, `cancelled`, `lease_expired` (granted, but resumed after the lease), `out_of_memory`.
/// Threads: any. Resumes on the loop given as `on`, else on the domain's; in place when nothing had to be waited for.
/// Lifetime: the buffers' handles, the stop token and the error code outlive the `co_await` expression.
/// Source:  S4, S6; kernel Documentation/locking/ww-mutex-design.rst.
template <class... Args>
    requires describes_lock<Args...>
[[nodiscard]] auto lock(Args&&... args) noexcept { return lock_awaitable<detail::arguments_of<Args...>>{args...}; }

/// Locks all the buffers now, or none.
/// Returns: the guard; an empty one whose `error()` is `errc::would_block` when somebody is in the way: that is not
///          thrown, but set in a trailing std::error_code.
/// Errors:  else as `lock`.
/// Threads: any.
template <class... Args>
    requires describes_lock<Args...>
[[nodiscard]] auto try_lock(Args&&... args) {
    return lock_awaitable<detail::arguments_of<Args...>>{args...}.try_and_take();
}

/// Locks all the buffers, blocking the thread. For threads that run no event loop; the domain's loop need not run.
/// Errors:  as `lock`; `would_deadlock` when it would have to wait on a thread that is in the domain's loop.
/// Threads: any.
template <class... Args>
    requires describes_lock<Args...>
[[nodiscard]] auto blocking_lock(Args&&... args) {
    return lock_awaitable<detail::arguments_of<Args...>>{args...}.block_and_take();
}

} // namespace dmasync
