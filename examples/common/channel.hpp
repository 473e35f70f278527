// SPDX-License-Identifier: MIT
#pragma once
/// \file channel.hpp  Hand-over from one coroutine to the next: a lock keeps two apart, but does not say whose turn it is.

#include <dmasync/event_loop.hpp>
#include <dmasync/task.hpp>

#include <coroutine>
#include <cstddef>
#include <deque>
#include <mutex>
#include <optional>
#include <stop_token>
#include <system_error>
#include <utility>

namespace common {

/// A queue of limited length between two coroutines, each on a loop of its own. A sender waits for room, a receiver
/// for a value; a stop request wakes both with std::errc::operation_canceled, thrown as std::system_error.
///
/// Threads: any; one coroutine at a time waits at each end, on the thread of that end's loop.
template <class T>
class channel {
public:
    channel(std::size_t capacity, dmasync::event_loop& sender, dmasync::event_loop& receiver, std::stop_token stop)
        : capacity_{capacity}, room_{sender}, arrival_{receiver}, on_stop_{std::move(stop), stopper{*this}} {}
    channel(const channel&) = delete;
    channel& operator=(const channel&) = delete;

    [[nodiscard]] dmasync::task<> send(T value) {
        while (!try_send(value)) { co_await wait_for{*this, room_, &channel::may_send}; }
    }

    /// Gives the next value; none once the channel is closed and everything sent before has been received.
    [[nodiscard]] dmasync::task<std::optional<T>> receive() {
        std::optional<T> value;
        while (!try_receive(value)) { co_await wait_for{*this, arrival_, &channel::may_receive}; }
        co_return value;
    }

    /// Returns: whether there was room; `value` is moved from then.
    [[nodiscard]] bool try_send(T& value) {
        const std::lock_guard lock{mutex_};
        throw_if_stopped();
        if (!may_send()) { return false; }
        values_.push_back(std::move(value));
        arrival_.wake();
        return true;
    }

    /// Nothing more is going to be sent.
    void close() {
        const std::lock_guard lock{mutex_};
        closed_ = true;
        arrival_.wake();
    }

private:
    /// One end: the coroutine that waits there, if any. Under the mutex; but once woken it belongs to its loop until that has run it.
    struct end : dmasync::work {
        explicit end(dmasync::event_loop& l) noexcept : work{resume}, loop{l} {}

        void wake() noexcept {
            if (std::exchange(waiting, false)) { loop.post(*this); }
        }

        static void resume(dmasync::work& w, dmasync::disposition d) noexcept {
            if (d == dmasync::disposition::run) { static_cast<end&>(w).waiter.resume(); }
        }

        dmasync::event_loop& loop;
        std::coroutine_handle<> waiter;
        bool waiting = false;
    };

    /// Waits at an end until `ready` may have become true; at once when it is by now.
    class wait_for {
    public:
        wait_for(channel& c, end& e, bool (channel::*ready)() const noexcept) noexcept
            : channel_{c}, end_{e}, ready_{ready} {}
        [[nodiscard]] bool await_ready() const noexcept { return false; }
        [[nodiscard]] bool await_suspend(std::coroutine_handle<> h) noexcept {
            const std::lock_guard lock{channel_.mutex_};
            if (channel_.stopped_ || (channel_.*ready_)()) { return false; }
            end_.waiter = h;
            end_.waiting = true;
            return true;
        }
        void await_resume() const noexcept {}

    private:
        channel& channel_;
        end& end_;
        bool (channel::*ready_)() const noexcept;
    };

    /// Runs wherever the stop is requested: it marks and posts, nothing else.
    struct stopper {
        explicit stopper(channel& c) noexcept : subject{c} {}
        void operator()() const noexcept {
            const std::lock_guard lock{subject.mutex_};
            subject.stopped_ = true;
            subject.room_.wake();
            subject.arrival_.wake();
        }
        channel& subject;
    };

    // Under the mutex.
    [[nodiscard]] bool may_send() const noexcept { return values_.size() < capacity_; }
    [[nodiscard]] bool may_receive() const noexcept { return !values_.empty() || closed_; }
    void throw_if_stopped() const {
        if (stopped_) {
            throw std::system_error{std::make_error_code(std::errc::operation_canceled), "the work was stopped"};
        }
    }

    /// Returns: whether there was something to tell: a value, or that none will come.
    [[nodiscard]] bool try_receive(std::optional<T>& value) {
        const std::lock_guard lock{mutex_};
        throw_if_stopped();
        if (!values_.empty()) {
            value.emplace(std::move(values_.front()));
            values_.pop_front();
            room_.wake();
        }
        return value.has_value() || closed_;
    }

    const std::size_t capacity_;
    std::mutex mutex_;
    std::deque<T> values_;
    bool closed_ = false;
    bool stopped_ = false;
    end room_;
    end arrival_;
    std::stop_callback<stopper> on_stop_; // last: it may be called at once
};

} // namespace common
