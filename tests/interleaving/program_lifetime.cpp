// SPDX-License-Identifier: MIT
// Handles, holds and domains go, each on a thread of its own.
#include "place.hpp"

#include <dmasync/lock_set.hpp>
#include <dmasync/observe/snapshot.hpp>

namespace {

using namespace interleave;

/// The last two handles of a buffer go on two threads.
void last_handles() {
    place p;
    std::optional<buffer> other{p.screen};
    run_threads({
        [&] {
            check(p.screen.size() == 8, "a handle's buffer is there");
            p.screen = {};
        },
        [&] {
            check(other->size() == 8, "a handle's buffer is there");
            other.reset();
        },
    });
}

/// The last handle goes while the same memory is imported again: that finds the buffer, or makes another.
void last_handle_or_import() {
    place p;
    buffer again;
    run_threads({
        [&] { p.screen = {}; },
        [&] {
            again = p.media->adopt(p.memory);
            const guard held = dmasync::try_lock(write(again));
            check(static_cast<bool>(held), "it can be had");
        },
    });
}

/// The same beside another handle, which is used before it goes.
void handles_and_import() {
    place p;
    std::optional<buffer> other{p.screen};
    run_threads({
        [&] { p.screen = {}; },
        [&] {
            { const guard held = dmasync::try_lock(write(*other)); }
            other.reset();
        },
        [&] { const buffer again = p.media->adopt(p.memory); },
    });
}

/// A buffer lives as long as its hold; handle and hold go on two threads.
void last_handle_or_unlock() {
    place p;
    guard held = p.hold();
    run_threads({
        [&] { p.screen = {}; },
        [&] { held.unlock(); },
    });
}

/// A buffer goes while a thread looks at the domain: it is seen whole, or not at all, and goes after that.
void last_of_a_buffer_or_snapshot() {
    place p;
    guard held = p.hold();
    run_threads({
        [&] { p.screen = {}; },
        [&] { held.unlock(); },
        [&] {
            const dmasync::domain_snapshot seen = p.media->snapshot();
            check(seen.buffers.size() <= 1, "there is one buffer at most");
            check(seen.acquisitions.size() <= seen.buffers.size(), "a hold has its buffer");
            for (const auto& b : seen.buffers) {
                check(b.holders.size() == seen.acquisitions.size(), "a buffer has its hold");
                check(b.token % 2 == b.holders.size(), "its token says so");
                check(b.size == 8, "what it is can be seen");
            }
        },
    });
    check(p.media->snapshot().buffers.empty(), "nothing is left of it");
}

/// A buffer without handles, kept by its hold alone, is imported again while the hold ends.
void held_orphan_or_import() {
    place p;
    guard held = p.hold();
    p.screen = {};
    buffer again;
    run_threads({
        [&] { held.unlock(); },
        [&] {
            again = p.media->adopt(p.memory);
            check(again.size() == 8, "it is there");
        },
    });
    check(static_cast<bool>(dmasync::try_lock(write(again))), "it can be had");
}

/// A domain is destroyed while a guard and a handle of it are, on other threads.
void domain_and_guard() {
    place p;
    guard held = p.hold();
    run_threads({
        [&] { p.media.reset(); },
        [&] { held.unlock(); },
        [&] { p.screen = {}; },
    });
}

/// The same with a lease, whose timer is armed or about to be.
void domain_and_lease() {
    place p{10ms};
    guard held = p.hold();
    run_threads({
        [&] {
            p.loop->poll();
            p.media.reset();
            p.loop->run_ready();
        },
        [&] { held.unlock(); },
    });
}

/// A thread that blocks is told when the domain goes away, or has the buffer by then.
void domain_and_blocked() {
    place p;
    guard held = p.hold();
    std::error_code ec;
    run_threads({
        [&] {
            use_and_unlock(p, std::move(held));
            p.media.reset();
        },
        [&] {
            const guard g = dmasync::blocking_lock(write(p.screen), ec);
            if (!ec) { p.shared.write(); }
        },
    });
    check(ec ? ec == errc::closed && p.shared.read() == 1 : p.shared.read() == 2, "one outcome");
}

/// The same when the loop goes as well: a thread that is blocked does not count as a call that uses it.
void loop_and_blocked() {
    place p;
    guard held = p.hold_shared();
    std::error_code ec;
    run_threads({
        [&] {
            const bool is_waited_for = !dmasync::try_lock(read(p.screen));
            p.media.reset();
            if (is_waited_for) { p.loop.reset(); }
            held.unlock();
        },
        [&, own = p.screen] { const guard g = dmasync::blocking_lock(write(own), ec); },
    });
    check(!ec || ec == errc::closed, "one of the two");
}

/// A buffer is locked, with a lease for which the loop has to be told of a new deadline, while its domain goes away.
void domain_and_lock() {
    place p;
    run_threads({
        [&] {
            p.loop->poll();
            p.media.reset();
            p.loop->run_ready();
        },
        [&] {
            std::error_code ec;
            guard held = dmasync::try_lock(write(p.screen), lock_options{.lease = 10ms}, ec);
            check(ec ? ec == errc::closed : !held.unlock(), "it is closed, or a hold like any other");
        },
    });
}

/// A buffer is closed while a thread waits for it and another unlocks it.
void closed_or_granted() {
    place p;
    guard held = p.hold();
    std::error_code ec;
    run_threads({
        [&] { use_and_unlock(p, std::move(held)); },
        [&] { p.screen.close(); },
        [&, own = p.screen] {
            const guard g = dmasync::blocking_lock(write(own), ec);
            if (!ec) { p.shared.write(); }
        },
    });
    check(ec ? ec == errc::closed && p.shared.read() == 1 : p.shared.read() == 2, "one outcome");
}

/// A set goes away while what it has locked is unlocked.
void set_and_guard() {
    place p;
    std::optional<dmasync::lock_set> set{std::in_place, *p.media, "both"};
    set->add(p.screen, dmasync::access_mode::write);
    guard held = set->try_lock();
    run_threads({
        [&] { check(!held.unlock(), "unlocking succeeds"); },
        [&] { set.reset(); },
    });
}

const registration programs{
    {"lifetime", "lifetime.last_handles", last_handles},
    {"lifetime", "lifetime.last_handle_or_import", last_handle_or_import},
    {"lifetime", "lifetime.handles_and_import", handles_and_import, few_preemptions},
    {"lifetime", "lifetime.handles_and_import", handles_and_import, by_chance},
    {"lifetime", "lifetime.last_handle_or_unlock", last_handle_or_unlock},
    {"lifetime", "lifetime.last_of_a_buffer_or_snapshot", last_of_a_buffer_or_snapshot},
    {"lifetime", "lifetime.held_orphan_or_import", held_orphan_or_import},
    {"lifetime", "lifetime.domain_and_guard", domain_and_guard},
    {"lifetime", "lifetime.domain_and_lease", domain_and_lease},
    {"lifetime", "lifetime.domain_and_blocked", domain_and_blocked},
    {"lifetime", "lifetime.loop_and_blocked", loop_and_blocked},
    {"lifetime", "lifetime.domain_and_lock", domain_and_lock},
    {"lifetime", "lifetime.closed_or_granted", closed_or_granted},
    {"lifetime", "lifetime.set_and_guard", set_and_guard},
};

} // namespace
