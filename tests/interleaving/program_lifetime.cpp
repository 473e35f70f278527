// SPDX-License-Identifier: MIT
// Handles, holds and domains go, each on a thread of its own.
#include "place.hpp"

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
            p.loop.poll();
            p.media.reset();
            p.loop.run_ready();
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

const registration programs{
    {"lifetime", "lifetime.last_handles", last_handles},
    {"lifetime", "lifetime.last_handle_or_import", last_handle_or_import},
    {"lifetime", "lifetime.handles_and_import", handles_and_import, few_preemptions},
    {"lifetime", "lifetime.handles_and_import", handles_and_import, by_chance},
    {"lifetime", "lifetime.last_handle_or_unlock", last_handle_or_unlock},
    {"lifetime", "lifetime.domain_and_guard", domain_and_guard},
    {"lifetime", "lifetime.domain_and_lease", domain_and_lease},
    {"lifetime", "lifetime.domain_and_blocked", domain_and_blocked},
};

} // namespace
