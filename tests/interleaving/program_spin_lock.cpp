// SPDX-License-Identifier: MIT
#include <dmasync/detail/sync/spin_lock.hpp>

#include "programs.hpp"

#include <mutex>

namespace {

using dmasync::detail::spin_lock;

/// The thread that has the lock finds what the last one left.
void exclude(unsigned threads, unsigned rounds) {
    spin_lock lock;
    interleave::canary shared;
    const auto body = [&] {
        for (unsigned i = 0; i < rounds; ++i) {
            const std::lock_guard guard{lock};
            shared.write();
        }
    };
    if (threads == 2) {
        interleave::run_threads({body, body});
    } else {
        interleave::run_threads({body, body, body});
    }
    interleave::check(shared.read() == threads * rounds, "nothing is lost");
}

void two_threads() { exclude(2, 2); }
void three_threads() { exclude(3, 1); }
void three_busy_threads() { exclude(3, 2); }

/// An attempt succeeds when the lock is free, and then as a lock does.
void attempts() {
    spin_lock lock;
    interleave::canary shared;
    unsigned entered = 0;
    const auto body = [&] {
        if (!lock.try_lock()) { return; }
        shared.write();
        ++entered;
        lock.unlock();
    };
    interleave::run_threads({body, body, body});
    interleave::check(entered >= 1 && entered == shared.read(), "one succeeds, and is alone");
}

const interleave::registration programs{
    {"spin_lock", "spin_lock.two_threads", two_threads, {.locks_block = false}},
    {"spin_lock", "spin_lock.three_threads", three_threads, {.locks_block = false}},
    {"spin_lock", "spin_lock.three_busy_threads", three_busy_threads},
    {"spin_lock", "spin_lock.attempts", attempts, {.locks_block = false}},
};

} // namespace
