// SPDX-License-Identifier: MIT
#pragma once
/// \file stop_relay.hpp  Brings a stop request, made on any thread, to a loop's thread.

#include <dmasync/event_loop.hpp>
#include <dmasync/version.hpp>

#include <new>
#include <optional>
#include <stop_token>
#include <utility>

namespace dmasync::inline DMASYNC_ABI::detail {

/// Calls a function on a loop's thread, once, after stop has been requested; unlike work that is posted it can be taken
/// back at any time.
///
/// Posted work must stay where it is until it has been called, while a coroutine that waits may be destroyed. Hence the
/// message apart: the relay disowns one that is under way, and the message frees itself when it arrives.
/// Threads: the loop's.
class stop_relay {
public:
    using function = void(stop_relay&) noexcept;

    explicit stop_relay(function& f) noexcept : call_{&f} {}
    stop_relay(const stop_relay&) = delete;
    stop_relay& operator=(const stop_relay&) = delete;
    ~stop_relay() { cancel(); }

    /// Returns: false when there is no memory. Allocates only for a token by which stop can be requested.
    [[nodiscard]] bool start(event_loop& loop, const std::stop_token* token) noexcept {
        if (token == nullptr || !token->stop_possible()) { return true; }
        message_ = new (std::nothrow) message{loop, *this};
        if (message_ == nullptr) { return false; }
        on_stop_.emplace(*token, sender{message_});
        return true;
    }

    /// The function will not be called any more. Waits for a stop request that is being made on another thread just now.
    void cancel() noexcept {
        on_stop_.reset(); // first: from here on nothing is posted
        message* m = std::exchange(message_, nullptr);
        if (m == nullptr) { return; }
        if (m->under_way) {
            m->owner = nullptr;
        } else {
            delete m;
        }
    }

private:
    struct message : work {
        message(event_loop& l, stop_relay& r) noexcept : work{arrive}, loop{&l}, owner{&r} {}

        static void arrive(work& w, disposition d) noexcept {
            auto& self = static_cast<message&>(w);
            self.under_way = false;
            if (self.owner == nullptr) {
                delete &self;
            } else if (d == disposition::run) {
                self.owner->call_(*self.owner); // may end the relay, and the message with it
            }
        }

        event_loop* loop;
        stop_relay* owner;      // null once disowned
        bool under_way = false; // set by the sender before it posts
    };

    struct sender {
        message* target;
        void operator()() const noexcept {
            target->under_way = true;
            target->loop->post(*target);
        }
    };

    function* call_;
    message* message_ = nullptr;                        // owned
    std::optional<std::stop_callback<sender>> on_stop_; // invariant: empty, or message_ is there
};

} // namespace dmasync::inline DMASYNC_ABI::detail
