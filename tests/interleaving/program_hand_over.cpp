// SPDX-License-Identifier: MIT
// A buffer goes from one thread to the next.
#include "place.hpp"

namespace {

using namespace interleave;

/// A thread that waits in blocking_lock is woken by the thread that unlocks, and sees what that did.
void to_blocked_thread() {
    place p;
    guard held = p.hold();
    run_threads({
        [&] { use_and_unlock(p, std::move(held)); },
        [&] { block_and_use(p); },
    });
    check(p.shared.read() == 2, "both have been alone");
}

/// Two threads that block get it one after the other.
void to_two_blocked_threads() {
    place p;
    guard held = p.hold();
    run_threads({
        [&] { use_and_unlock(p, std::move(held)); },
        [&] { block_and_use(p); },
        [&] { block_and_use(p); },
    });
    check(p.shared.read() == 3, "all have been alone");
}

/// A coroutine on the domain's loop is resumed by an unlock on another thread.
void to_coroutine() {
    place p;
    guard held = p.hold();
    run_threads({
        [&] { use_and_unlock(p, std::move(held)); },
        [&] { p.loop->run(lock_and_use(p, {})); },
    });
    check(p.shared.read() == 2, "both have been alone");
}

/// The same on a loop of its own, while the domain's is not run.
void to_coroutine_elsewhere() {
    place p;
    model_loop other{&*p.loop};
    guard held = p.hold();
    run_threads({
        [&] { use_and_unlock(p, std::move(held)); },
        [&] { other.run(lock_and_use(p, {.on = &other})); },
    });
    check(p.shared.read() == 2, "both have been alone");
}

/// Readers that hold together and a writer that comes after both.
void after_readers() {
    place p;
    guard one = dmasync::try_lock(read(p.screen));
    guard two = dmasync::try_lock(read(p.screen));
    canary first;
    canary second;
    run_threads({
        [&] {
            first.write();
            one.unlock();
        },
        [&] {
            second.write();
            two.unlock();
        },
        [&] {
            std::error_code ec;
            const guard held = dmasync::blocking_lock(write(p.screen), ec);
            check(!ec && first.read() == 1 && second.read() == 1, "a writer comes after all readers");
        },
    });
}

/// Two readers that wait are let in together, each on a loop of its own.
void to_readers_elsewhere() {
    place p;
    model_loop one{&*p.loop};
    model_loop two{&*p.loop};
    make_known(one, p.screen);
    make_known(two, p.screen);
    guard held = p.hold();
    const auto read_on = [&](model_loop& loop) {
        loop.run([](place& at, model_loop& on) -> task<> {
            std::error_code ec;
            auto got = co_await dmasync::lock(read(at.screen), lock_options{.on = &on}, ec);
            check(!ec && at.shared.read() == 1, "a reader sees what was written");
        }(p, loop));
    };
    run_threads({
        [&] { use_and_unlock(p, std::move(held)); },
        [&] { read_on(one); },
        [&] { read_on(two); },
    });
}

const registration programs{
    {"hand_over", "hand_over.to_blocked_thread", to_blocked_thread},
    {"hand_over", "hand_over.to_two_blocked_threads", to_two_blocked_threads, few_preemptions},
    {"hand_over", "hand_over.to_two_blocked_threads", to_two_blocked_threads, by_chance},
    {"hand_over", "hand_over.to_coroutine", to_coroutine},
    {"hand_over", "hand_over.to_coroutine_elsewhere", to_coroutine_elsewhere},
    {"hand_over", "hand_over.to_readers_elsewhere", to_readers_elsewhere, few_preemptions},
    {"hand_over", "hand_over.to_readers_elsewhere", to_readers_elsewhere, by_chance},
    {"hand_over", "hand_over.after_readers", after_readers},
};

} // namespace
