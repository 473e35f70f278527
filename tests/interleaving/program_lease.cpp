// SPDX-License-Identifier: MIT
// Leases run out on one thread while their holder does something on another.
#include "place.hpp"

#include <cstdint>
#include <stop_token>

namespace {

using namespace interleave;

/// A lease that has run out is found by a thread that wants the buffer, while its holder unlocks: one of the two ends the hold.
void expiry_or_unlock() {
    unsigned reports = 0;
    place p{10ms, [&](const dmasync::lease_report&) { ++reports; }};
    guard held = p.hold();
    const std::uint64_t before = held.token(p.screen);
    p.loop->set(p.loop->now() + 1s);
    std::error_code unlocked;
    guard next;
    run_threads({
        [&] { unlocked = held.unlock(); },
        [&] { next = dmasync::try_lock(write(p.screen)); },
    });
    check(static_cast<bool>(next), "what wants it gets it");
    check((unlocked == errc::lease_expired) == (reports == 1), "the holder is told, and the report made, or neither");
    check(p.media->counters().leases_expired == reports, "it is counted once");
    check(next.token(p.screen) > before, "tokens grow");
}

/// The same for a holder that renews.
void expiry_or_renewal() {
    place p{10ms};
    guard held = p.hold();
    p.loop->set(p.loop->now() + 1s);
    std::error_code renewed;
    guard next;
    run_threads({
        [&] {
            held.renew(10s, renewed);
            check(held.expired() == (renewed == errc::lease_expired), "a renewed lease has not run out");
        },
        [&] { next = dmasync::try_lock(write(p.screen)); },
    });
    check(static_cast<bool>(next) == (renewed == errc::lease_expired),
          "either the hold goes on or the buffer is given away");
    check(held.expired() == static_cast<bool>(next), "the guard says so");
}

/// A thread that sees that a guard is expired comes after what was done before its buffers were given away.
void expiry_seen() {
    place p{10ms};
    guard held = p.hold();
    p.loop->set(p.loop->now() + 1s);
    canary before;
    run_threads({
        [&] {
            if (held.expired()) { before.read(); }
            std::error_code ec;
            if (held.bytes(p.screen, ec).empty()) { before.read(); }
        },
        [&] {
            before.write();
            const guard next = dmasync::try_lock(write(p.screen));
        },
    });
}

/// A hold's stop token is asked for while the lease runs out: it stops in either case, and its callback runs once.
void expiry_stops() {
    place p{10ms};
    guard held = p.hold();
    p.loop->set(p.loop->now() + 1s);
    canary stopped;
    run_threads({
        [&] {
            {
                const std::stop_token token = held.stop_token();
                const auto note = [&] { stopped.write(); };
                const std::stop_callback<decltype(note)> callback{token, note};
            }
            held = {};
        },
        [&] { const guard next = dmasync::try_lock(write(p.screen)); },
    });
    check(stopped.read() <= 1, "a callback runs once");
}

/// The loop ends a lease on its thread while the holder unlocks, and a waiter is resumed by whichever was first.
void expiry_by_loop() {
    place p{10ms};
    guard held = p.hold();
    p.loop->run_ready(); // arms the timer
    run_threads({
        [&] {
            std::error_code ec = held.unlock();
            check(!ec || ec == errc::lease_expired, "nothing else can happen");
        },
        [&] { p.loop->run(lock_and_use(p, {.lease = dmasync::no_lease})); },
    });
    check(p.shared.read() == 1, "the waiter is resumed once");
}

dmasync::detail::detached look_when_late(place& p, canary& before, std::error_code& ec, bool& done) {
    const lock_options options{.lease = 10ms};
    auto lock = dmasync::lock(write(p.screen), options, ec);
    const guard got = co_await lock;
    if (ec == errc::lease_expired) { before.read(); } // while the lock is still there: it has not let go of its claim
    done = true;
}

/// A waiter that is resumed after its lease has run out comes after what was done before that.
void resumed_late() {
    place p;
    guard held = p.hold();
    canary before;
    std::error_code ec;
    run_threads({
        [&] {
            bool done = false;
            look_when_late(p, before, ec, done);
            while (!done) {
                p.loop->sleep_as_host();
                p.loop->poll();
            }
        },
        [&] {
            held.unlock();
            before.write();
            p.loop->set(p.loop->now() + 1h);
            const guard next = dmasync::try_lock(write(p.screen));
        },
    });
    check(!ec || ec == errc::lease_expired, "nothing else can happen");
}

/// A device that was lent a hold finishes while the second limit of its lease runs out.
void loan_or_limit() {
    unsigned reports = 0;
    place p{10ms, [&](const dmasync::lease_report&) { ++reports; }};
    guard held = p.hold();
    held.hand_to_device();
    p.loop->set(p.loop->now() + 1s);
    const guard none = dmasync::try_lock(write(p.screen));
    check(!none && reports == 1, "an overdue device is reported, and keeps what it has");
    p.loop->set(p.loop->now() + 1h);
    std::error_code unlocked;
    guard next;
    run_threads({
        [&] { unlocked = held.unlock(); },
        [&] { next = dmasync::try_lock(write(p.screen)); },
    });
    check(static_cast<bool>(next), "what wants it gets it");
    check((unlocked == errc::lease_expired) == (reports == 2), "the holder is told, and the report made, or neither");
}

/// The same while the first limit does, and the report of that is being made.
void loan_or_reminder() {
    place p{10ms};
    guard held = p.hold();
    held.hand_to_device();
    p.loop->set(p.loop->now() + 1s);
    run_threads({
        [&] { check(!held.unlock(), "a device is in time before the second limit"); },
        [&, own = p.screen]() mutable {
            { const guard next = dmasync::try_lock(write(own)); }
            own = {};
        },
        [&] { p.screen = {}; },
    });
}

void make_earlier_end_known(place& p, std::chrono::nanoseconds lease = 10ms) {
    std::error_code late; // it may have ended before it is there
    const guard brief = dmasync::try_lock(read(p.camera), lock_options{.lease = lease}, late);
}

/// A thread makes an earlier end known than another one sleeps to, which blocks, while a third lets that go on.
void earlier_end_or_grant_blocked() {
    place p;
    p.camera = p.media->adopt(p.more);
    guard held = p.hold();
    run_threads({
        [&] { block_and_use(p); },
        [&] { make_earlier_end_known(p); },
        [&] { use_and_unlock(p, std::move(held)); },
    });
    check(p.shared.read() == 2, "both have been alone");
}

/// A blocked thread is woken for one earlier end, and another one comes.
void earlier_ends_blocked() {
    place p;
    p.camera = p.media->adopt(p.more);
    guard held = p.hold();
    run_threads({
        [&] { block_and_use(p); },
        [&] { make_earlier_end_known(p); },
        [&] {
            make_earlier_end_known(p, 5ms);
            use_and_unlock(p, std::move(held));
        },
    });
    check(p.shared.read() == 2, "both have been alone");
}

/// The same for a coroutine on a loop that is not the domain's.
void earlier_end_or_grant_elsewhere() {
    place p;
    p.camera = p.media->adopt(p.more);
    model_loop other{&*p.loop};
    guard held = p.hold();
    run_threads({
        [&] { other.run(lock_and_use(p, {.lease = dmasync::no_lease, .on = &other})); },
        [&] { make_earlier_end_known(p); },
        [&] { use_and_unlock(p, std::move(held)); },
    });
    check(p.shared.read() == 2, "both have been alone");
}

const registration programs{
    {"lease", "lease.expiry_or_unlock", expiry_or_unlock},
    {"lease", "lease.expiry_or_renewal", expiry_or_renewal},
    {"lease", "lease.expiry_seen", expiry_seen},
    {"lease", "lease.expiry_stops", expiry_stops},
    {"lease", "lease.expiry_by_loop", expiry_by_loop},
    {"lease", "lease.resumed_late", resumed_late, few_preemptions},
    {"lease", "lease.loan_or_limit", loan_or_limit},
    {"lease", "lease.earlier_end_or_grant_blocked", earlier_end_or_grant_blocked, few_preemptions},
    {"lease", "lease.earlier_ends_blocked", earlier_ends_blocked, few_preemptions},
    {"lease", "lease.earlier_end_or_grant_elsewhere", earlier_end_or_grant_elsewhere, few_preemptions},
    {"lease", "lease.loan_or_reminder", loan_or_reminder},
};

} // namespace
