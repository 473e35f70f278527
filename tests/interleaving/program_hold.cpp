// SPDX-License-Identifier: MIT
// What a holder does with parts of its hold, while others want them or its lease runs out.

#include "place.hpp"

#include <dmasync/wait.hpp>

#include <system_error>

namespace {

using namespace interleave;

bool is_in_time(const std::error_code& ec) {
    check(!ec || ec == errc::lease_expired, "nothing else can happen");
    return !ec;
}

/// A buffer is given back before the others while the lease runs out: a waiter gets it in either case.
void released_or_expired() {
    place p{10ms};
    guard held = p.hold_both();
    p.loop->set(p.loop->now() + 1s);
    guard next;
    run_threads({
        [&] {
            std::error_code ec;
            held.release(p.camera, ec);
            const bool in_time = is_in_time(ec);
            check(is_in_time(held.unlock()) <= in_time, "a lease that has run out stays so");
        },
        [&, own = p.camera] { next = dmasync::try_lock(write(own)); },
    });
    check(static_cast<bool>(next), "it can be had");
}

/// A hold is split while its lease runs out: both parts end with it, or both go on until they are unlocked.
void split_or_expired() {
    place p{10ms};
    guard held = p.hold_both();
    p.loop->set(p.loop->now() + 1s);
    guard next;
    run_threads({
        [&] {
            std::error_code ec;
            guard part = held.split(p.camera, ec);
            if (is_in_time(ec)) { is_in_time(part.unlock()); }
            is_in_time(held.unlock());
        },
        [&, own = p.camera] { next = dmasync::try_lock(write(own)); },
    });
    check(static_cast<bool>(next), "it can be had");
}

/// A writer goes on as a reader, and lets a blocked reader in that sees what it wrote.
void downgraded() {
    place p;
    guard held = p.hold();
    run_threads({
        [&] {
            p.shared.write();
            std::error_code ec;
            held.downgrade(p.screen, ec);
            check(!ec, "a hold can be downgraded");
            p.shared.read();
            held.unlock();
        },
        [&, own = p.screen] {
            std::error_code ec;
            const guard g = dmasync::blocking_lock(read(own), ec);
            check(!ec && p.shared.read() == 1, "a reader sees what was written");
        },
    });
}

/// A device finishes on another loop while the second limit runs out: the hold ends once.
void lent_until_task_or_limit() {
    unsigned reports = 0;
    place p{10ms, [&](const dmasync::lease_report&) { ++reports; }};
    model_loop driver;
    guard held = p.hold();
    canary device;
    guard next;
    held.release_on([](model_loop& on, canary& at_work) -> task<> {
        co_await dmasync::resume_on(on);
        at_work.write();
    }(driver, device));
    p.loop->set(p.loop->now() + 1s);
    { const guard none = dmasync::try_lock(write(p.screen)); }
    p.loop->set(p.loop->now() + 1h);
    run_threads({
        [&] { driver.poll(); },
        [&, own = p.screen] { next = dmasync::try_lock(write(own)); },
    });
    check(static_cast<bool>(next) && device.read() == 1, "the device has finished, and the buffer is free");
    check(reports == 1 || reports == 2, "reported as overdue, and as expired if it was");
}

/// A device finishes on another loop while a thread waits for the buffer.
void lent_until_task() {
    place p;
    model_loop driver;
    guard held = p.hold();
    held.release_on([](model_loop& on, canary& at_work) -> task<> {
        co_await dmasync::resume_on(on);
        at_work.write();
    }(driver, p.shared));
    run_threads({
        [&] { driver.poll(); },
        [&] { block_and_use(p); },
    });
    check(p.shared.read() == 2, "both have been alone");
}

/// A hold is renewed while another begins to wait, and the loop looks for leases that have run out.
void renewed_or_waited_for() {
    place p{10ms};
    guard held = p.hold();
    run_threads({
        [&] {
            std::error_code ec;
            held.renew(1h, ec);
            check(!ec, "the lease has not run out");
            p.shared.write();
            held.unlock();
        },
        [&] { block_and_use(p); },
        [&] { p.loop->poll(); },
    });
}

/// An overdue device is reported while another thread finds that its second limit has passed: both reports are whole.
void reported_twice() {
    place p{10ms,
            [&](const dmasync::lease_report& r) { check(r.waiters <= 1 && r.buffers.size() == 1, "it is whole"); }};
    guard held = p.hold();
    held.hand_to_device();
    const auto begin = p.loop->now();
    run_threads({
        [&, own = p.screen] {
            p.loop->set(begin + 1s);
            const guard none = dmasync::try_lock(write(own));
        },
        [&, own = p.screen] {
            p.loop->set(begin + 1h);
            const guard none = dmasync::try_lock(write(own));
        },
    });
}

/// The same while the device ends with an error, which is reported as well.
void reminded_or_failed() {
    place p{10ms, [&](const dmasync::lease_report& r) { check(r.buffers.size() == 1, "it is whole"); }};
    model_loop driver;
    guard held = p.hold();
    held.release_on([](model_loop& on) -> task<> {
        co_await dmasync::resume_on(on);
        throw std::system_error{errc::fence_failed};
    }(driver));
    p.loop->set(p.loop->now() + 1s);
    run_threads({
        [&] { driver.poll(); },
        [&, own = p.screen] { const guard g = dmasync::try_lock(write(own)); },
    });
    check(p.media->counters().devices_failed == 1, "it is counted");
}

/// A hold that was lent is renewed while it is reported as overdue.
void reminded_or_renewed() {
    place p{10ms, [&](const dmasync::lease_report& r) { check(r.age == 1s, "it is right"); }};
    guard held = p.hold();
    held.hand_to_device();
    p.loop->set(p.loop->now() + 1s);
    run_threads({
        [&] {
            std::error_code ec;
            held.renew(1h, ec);
            check(!ec, "a device that is overdue has not lost its buffers");
        },
        [&] { const guard none = dmasync::try_lock(write(p.screen)); },
    });
}

const registration programs{
    {"hold", "hold.released_or_expired", released_or_expired},
    {"hold", "hold.split_or_expired", split_or_expired},
    {"hold", "hold.downgraded", downgraded},
    {"hold", "hold.lent_until_task_or_limit", lent_until_task_or_limit},
    {"hold", "hold.lent_until_task", lent_until_task},
    {"hold", "hold.reported_twice", reported_twice},
    {"hold", "hold.reminded_or_renewed", reminded_or_renewed},
    {"hold", "hold.reminded_or_failed", reminded_or_failed},
    {"hold", "hold.renewed_or_waited_for", renewed_or_waited_for, few_preemptions},
    {"hold", "hold.renewed_or_waited_for", renewed_or_waited_for, by_chance},
};

} // namespace
