// SPDX-License-Identifier: MIT
#pragma once
/// \file ready.hpp  Waits for a descriptor or a stop request, whichever comes first, while others use the loop.

#include <dmasync/event_loop.hpp>

#include <coroutine>
#include <optional>
#include <stop_token>
#include <string>
#include <system_error>

namespace pipeline {

/// What `ready` gives. The coroutine must not be destroyed while it waits.
class [[nodiscard]] ready_awaitable {
public:
    ready_awaitable(dmasync::event_loop& loop, int fd, short events, const std::string& name,
                    const std::stop_token& stop);
    ready_awaitable(const ready_awaitable&) = delete;
    ready_awaitable& operator=(const ready_awaitable&) = delete;

    /// A regular file never waits, and a pipe often need not.
    [[nodiscard]] bool await_ready() const noexcept;
    [[nodiscard]] bool await_suspend(std::coroutine_handle<> waiter);
    void await_resume() const;

private:
    /// The descriptor is ready. Once a stop has posted its work, that work resumes: it must not outlive this object.
    struct watch : dmasync::fd_watch {
        explicit watch(ready_awaitable& r) noexcept : fd_watch{call}, owner{r} {}
        static void call(dmasync::work& w, dmasync::disposition d) noexcept;
        ready_awaitable& owner;
    };

    /// On the loop's thread after a stop request.
    struct end : dmasync::work {
        explicit end(ready_awaitable& r) noexcept : work{call}, owner{r} {}
        static void call(dmasync::work& w, dmasync::disposition d) noexcept;
        ready_awaitable& owner;
    };

    /// Runs wherever the stop is requested: it marks and posts, nothing else.
    struct stopper {
        explicit stopper(ready_awaitable& r) noexcept : owner{r} {}
        void operator()() const noexcept;
        ready_awaitable& owner;
    };

    /// Returns: whether a stop request has posted the work that resumes the coroutine; none comes after this.
    [[nodiscard]] bool settle() noexcept;

    dmasync::event_loop& loop_;
    const std::string& name_;
    const std::stop_token& stop_;
    std::coroutine_handle<> waiter_;
    std::error_code failure_;
    bool stopped_ = false; // written by the stopper; read after on_stop_ is gone, whose destructor waits for it
    watch watch_{*this};
    end end_{*this};
    std::optional<std::stop_callback<stopper>> on_stop_;
};

/// Resumes once a transfer of one byte would not block; errors and a hangup count: the transfer tells which.
/// `events` are those of poll(2); `name` is what errors call the descriptor.
/// Errors:   std::errc::operation_canceled after a stop request, and what the loop says, as std::system_error.
/// Threads:  the loop's; resumes there.
/// Lifetime: `name` and `stop` outlive the `co_await` expression.
[[nodiscard]] inline ready_awaitable ready(dmasync::event_loop& loop, int fd, short events, const std::string& name,
                                           const std::stop_token& stop) {
    return {loop, fd, events, name, stop};
}

} // namespace pipeline
