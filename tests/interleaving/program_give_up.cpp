// SPDX-License-Identifier: MIT
// A waiter gives up while another thread grants what it waits for.
#include "place.hpp"

#include <coroutine>
#include <cstdlib>
#include <stop_token>

namespace {

using namespace interleave;

task<> lock_or_not(place& p, lock_options options, std::error_code& ec, canary& granted) {
    auto held = co_await dmasync::lock(write(p.screen), options, ec);
    if (!ec) { granted.write(); }
}

/// A stop request against the grant, for a coroutine.
void cancel_or_grant() {
    place p;
    guard held = p.hold();
    std::stop_source source;
    const std::stop_token token = source.get_token();
    std::error_code ec;
    run_threads({
        [&] { p.loop->run(lock_or_not(p, {.stop = token}, ec, p.shared)); },
        [&] { use_and_unlock(p, std::move(held)); },
        [&] { source.request_stop(); },
    });
    check(ec ? ec == errc::cancelled && p.shared.read() == 1 : p.shared.read() == 2, "one outcome");
    check(p.media->counters().cancelled == (ec ? 1U : 0U), "it is counted so");
}

/// The same for a thread that blocks.
void cancel_or_grant_blocked() {
    place p;
    guard held = p.hold();
    std::stop_source source;
    const std::stop_token token = source.get_token();
    std::error_code ec;
    run_threads({
        [&] {
            const guard g = dmasync::blocking_lock(write(p.screen), lock_options{.stop = token}, ec);
            if (!ec) { p.shared.write(); }
        },
        [&] { use_and_unlock(p, std::move(held)); },
        [&] { source.request_stop(); },
    });
    check(ec ? ec == errc::cancelled && p.shared.read() == 1 : p.shared.read() == 2, "one outcome");
}

/// A stop request against the deadline.
void cancel_or_deadline() {
    place p;
    const guard held = p.hold();
    std::stop_source source;
    const std::stop_token token = source.get_token();
    std::error_code ec;
    run_threads({
        [&] { p.loop->run(lock_or_not(p, {.deadline = p.loop->now() + 1ms, .stop = token}, ec, p.shared)); },
        [&] { source.request_stop(); },
    });
    check(ec == errc::cancelled || ec == errc::timed_out, "one of the two");
    const dmasync::domain_counters n = p.media->counters();
    check(n.cancelled + n.timed_out == 1, "and not both");
}

/// A coroutine that can be destroyed while it waits.
struct abandoned {
    struct promise_type {
        abandoned get_return_object() { return abandoned{std::coroutine_handle<promise_type>::from_promise(*this)}; }
        std::suspend_never initial_suspend() const noexcept { return {}; }
        std::suspend_always final_suspend() const noexcept { return {}; }
        void return_void() const noexcept {}
        void unhandled_exception() const noexcept { std::abort(); }
    };
    explicit abandoned(std::coroutine_handle<promise_type> h) : coroutine{h} {}
    std::coroutine_handle<promise_type> coroutine;
};

abandoned wait_to_be_destroyed(place& p, lock_options options, std::error_code& ec) {
    auto held = co_await dmasync::lock(write(p.screen), options, ec);
    if (!ec) { p.shared.write(); }
    held = {};
    co_await std::suspend_always{};
}

/// A waiting coroutine is destroyed, where it would have been resumed, while an unlock grants it the buffer.
void destroy_or_grant() {
    place p;
    guard held = p.hold();
    run_threads({
        [&] {
            std::error_code ec;
            const abandoned a = wait_to_be_destroyed(p, {}, ec);
            a.coroutine.destroy();
            p.loop->run_ready();
        },
        [&] { use_and_unlock(p, std::move(held)); },
    });
    check(static_cast<bool>(p.hold()), "it is not kept");
}

/// The same against a stop request.
void destroy_or_cancel() {
    place p;
    const guard held = p.hold();
    std::stop_source source;
    const std::stop_token token = source.get_token();
    run_threads({
        [&] {
            std::error_code ec;
            const abandoned a = wait_to_be_destroyed(p, {.stop = token}, ec);
            a.coroutine.destroy();
            p.loop->run_ready();
        },
        [&] { source.request_stop(); },
    });
}

/// All three at once.
void destroy_or_cancel_or_grant() {
    place p;
    guard held = p.hold();
    std::stop_source source;
    const std::stop_token token = source.get_token();
    run_threads({
        [&] {
            std::error_code ec;
            const abandoned a = wait_to_be_destroyed(p, {.stop = token}, ec);
            a.coroutine.destroy();
            p.loop->run_ready();
        },
        [&] { source.request_stop(); },
        [&] { use_and_unlock(p, std::move(held)); },
    });
    check(static_cast<bool>(p.hold()), "it is not kept");
}

/// A blocked thread's deadline passes, and another thread finds out, while the buffer is unlocked.
void deadline_or_grant_blocked() {
    place p;
    guard held = p.hold();
    std::error_code ec;
    const auto deadline = p.loop->now() + 1ms;
    run_threads({
        [&] {
            const guard g = dmasync::blocking_lock(write(p.screen), lock_options{.deadline = deadline}, ec);
            if (!ec) { p.shared.write(); }
        },
        [&] {
            p.loop->set(deadline);
            const guard none = dmasync::try_lock(read(p.screen));
        },
        [&] { use_and_unlock(p, std::move(held)); },
    });
    check(ec ? ec == errc::timed_out && p.shared.read() == 1 : p.shared.read() == 2, "one outcome");
}

const registration programs{
    {"give_up", "give_up.cancel_or_grant", cancel_or_grant},
    {"give_up", "give_up.cancel_or_grant_blocked", cancel_or_grant_blocked},
    {"give_up", "give_up.cancel_or_deadline", cancel_or_deadline},
    {"give_up", "give_up.destroy_or_grant", destroy_or_grant},
    {"give_up", "give_up.destroy_or_cancel", destroy_or_cancel},
    {"give_up", "give_up.destroy_or_cancel_or_grant", destroy_or_cancel_or_grant},
    {"give_up", "give_up.deadline_or_grant_blocked", deadline_or_grant_blocked},
};

} // namespace
