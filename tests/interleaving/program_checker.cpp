// SPDX-License-Identifier: MIT
// Whether the checker finds what there is to find: programs of a few lines whose outcomes are known.

#include <dmasync/detail/sync/threading.hpp>

#include "programs.hpp"

namespace {

using dmasync::detail::atomic;
using dmasync::detail::futex_word;
using interleave::canary;
using interleave::check;
using interleave::observe;
using interleave::run_threads;
using interleave::settings;

constexpr auto relaxed = std::memory_order_relaxed;
constexpr auto acquire = std::memory_order_acquire;
constexpr auto release = std::memory_order_release;

template <std::memory_order Store, std::memory_order Load>
void message() {
    canary data;
    atomic<int> ready{0};
    run_threads({
        [&] {
            data.write();
            ready.store(1, Store);
        },
        [&] {
            if (ready.load(Load) == 1) { data.read(); }
        },
    });
}

/// What comes after a store is not released by it.
void written_too_late() {
    canary data;
    atomic<int> ready{0};
    run_threads({
        [&] {
            ready.store(1, release);
            data.write();
        },
        [&] {
            if (ready.load(acquire) == 1) { data.read(); }
        },
    });
}

/// Without data races the values alone tell.
template <std::memory_order Store, std::memory_order Load>
void message_of_atomics() {
    atomic<int> data{0};
    atomic<int> ready{0};
    run_threads({
        [&] {
            data.store(1, relaxed);
            ready.store(1, Store);
        },
        [&] {
            if (ready.load(Load) == 1) { check(data.load(relaxed) == 1, "what was released is seen"); }
        },
    });
}

void store_buffering() {
    atomic<int> x{0};
    atomic<int> y{0};
    int a = 0;
    int b = 0;
    run_threads({
        [&] {
            x.store(1, release);
            a = y.load(acquire);
        },
        [&] {
            y.store(1, release);
            b = x.load(acquire);
        },
    });
    check(a + b != 0, "one of the two sees the other");
}

void independent_reads() {
    atomic<int> x{0};
    atomic<int> y{0};
    int a = 0;
    int b = 0;
    int c = 0;
    int d = 0;
    run_threads({
        [&] { x.store(1, release); },
        [&] { y.store(1, release); },
        [&] {
            a = x.load(acquire);
            b = y.load(acquire);
        },
        [&] {
            c = y.load(acquire);
            d = x.load(acquire);
        },
    });
    check(a != 1 || b != 0 || c != 1 || d != 0, "all see the stores in one order");
}

void coherence() {
    atomic<int> x{0};
    int a = 0;
    int b = 0;
    run_threads({
        [&] {
            x.store(1, relaxed);
            x.store(2, relaxed);
        },
        [&] {
            a = x.load(relaxed);
            b = x.load(relaxed);
        },
    });
    check(a <= b, "a thread does not see a location go back");
}

/// What a third thread has seen binds those that synchronise with it.
void coherence_across_threads() {
    atomic<int> x{0};
    atomic<int> ready{0};
    int a = 0;
    run_threads({
        [&] { x.store(1, relaxed); },
        [&] {
            a = x.load(relaxed);
            ready.store(1, release);
        },
        [&] {
            if (ready.load(acquire) == 1) { check(x.load(relaxed) >= a, "what was read before is not forgotten"); }
        },
    });
}

void release_sequence() {
    canary data;
    atomic<int> x{0};
    run_threads({
        [&] {
            data.write();
            x.store(1, release);
        },
        [&] { x.fetch_add(1, relaxed); },
        [&] {
            if (x.load(acquire) == 2) { data.read(); }
        },
    });
}

void broken_release_sequence() {
    canary data;
    atomic<int> x{0};
    run_threads({
        [&] {
            data.write();
            x.store(1, release);
        },
        [&] {
            if (x.load(relaxed) == 1) { x.store(2, relaxed); }
        },
        [&] {
            if (x.load(acquire) == 2) { data.read(); }
        },
    });
}

void update_sees_latest() {
    atomic<int> x{0};
    const auto add = [&] { x.fetch_add(1, relaxed); };
    run_threads({add, add, add});
    check(x.load(relaxed) == 3, "no update is lost");
}

/// Woken before it sleeps, and nothing else will: the word says nothing.
void lost_wake_up() {
    futex_word word{0};
    run_threads({
        [&] { dmasync::detail::futex_wait(word, 0, {}); },
        [&] { dmasync::detail::futex_wake(word); },
    });
}

void kept_wake_up() {
    futex_word word{0};
    run_threads({
        [&] {
            while (word.load(acquire) == 0) { dmasync::detail::futex_wait(word, 0, {}); }
        },
        [&] {
            word.store(1, release);
            dmasync::detail::futex_wake(word);
        },
    });
}

void spinning_for_nobody() {
    atomic<int> x{0};
    run_threads({
        [&] {
            while (x.load(relaxed) == 0) { interleave::pause(); }
        },
        [&] { static_cast<void>(x.load(relaxed)); },
    });
}

void freed_too_early() {
    auto* data = new canary;
    atomic<int> x{0};
    run_threads({
        [&] {
            data->write();
            x.store(1, release);
        },
        [&] {
            if (x.load(relaxed) == 1) { delete data; }
        },
    });
}

void used_too_late() {
    auto* data = new canary;
    run_threads({[&] { delete data; }, [] {}});
    data->write(); // NOLINT(clang-analyzer-cplusplus.NewDelete): this is what is to be found
}

void leaked() {
    run_threads({[] { (new canary)->write(); }, [] {}});
}

void destroyed_in_use() {
    auto* x = new atomic<int>{0};
    atomic<int> done{0};
    run_threads({
        [&] {
            x->store(1, relaxed);
            done.store(1, relaxed);
        },
        [&] {
            if (done.load(relaxed) == 1) { delete x; }
        },
    });
}

/// Programs whose every outcome is to be found by the search that leaves repetitions out.
void outcomes_of_loads() {
    atomic<int> x{0};
    atomic<int> y{0};
    int seen[4]{};
    run_threads({
        [&] {
            x.store(1, relaxed);
            y.store(1, release);
            seen[0] = x.load(relaxed);
        },
        [&] {
            seen[1] = y.load(acquire);
            seen[2] = x.load(relaxed);
            x.store(2, relaxed);
        },
        [&] {
            seen[3] = x.load(relaxed);
            y.store(2, relaxed);
        },
    });
    for (const int s : seen) { observe(static_cast<unsigned>(s)); }
}

void outcomes_of_updates() {
    atomic<unsigned> x{0};
    atomic<unsigned> y{0};
    unsigned seen[3]{};
    run_threads({
        [&] {
            seen[0] = x.exchange(1, std::memory_order_acq_rel);
            y.fetch_add(1, relaxed);
        },
        [&] {
            unsigned expected = 0;
            y.compare_exchange_weak(expected, 7, release, relaxed);
            seen[1] = expected;
            x.fetch_add(2, relaxed);
        },
        [&] { seen[2] = x.load(relaxed) + 16 * y.load(relaxed); },
    });
    for (const unsigned s : seen) { observe(s); }
    observe(x.load(relaxed) * 16 + y.load(relaxed));
}

/// Two locks in opposite order, by a thread that does not insist on the second.
void outcomes_of_locks() {
    interleave::mutex one;
    interleave::mutex two;
    unsigned order = 0;
    unsigned count = 0;
    run_threads({
        [&] {
            one.lock();
            order = order * 4 + 1;
            two.lock();
            count = count * 4 + 1;
            two.unlock();
            one.unlock();
        },
        [&] {
            two.lock();
            count = count * 4 + 2;
            two.unlock();
            one.lock();
            order = order * 4 + 2;
            one.unlock();
        },
        [&] {
            one.lock();
            order = order * 4 + 3;
            one.unlock();
        },
    });
    observe(order);
    observe(count);
}

constexpr settings compared{.compared = true};

const interleave::registration programs{
    {"checker", "checker.message", message<release, acquire>},
    {"checker", "checker.message_not_released", message<relaxed, acquire>, {}, "data race"},
    {"checker", "checker.message_not_acquired", message<release, relaxed>, {}, "data race"},
    {"checker", "checker.written_too_late", written_too_late, {}, "data race"},
    {"checker", "checker.atomics", message_of_atomics<release, acquire>},
    {"checker", "checker.atomics_not_released", message_of_atomics<relaxed, acquire>, {}, "what was released is seen"},
    {"checker", "checker.atomics_not_acquired", message_of_atomics<release, relaxed>, {}, "what was released is seen"},
    {"checker", "checker.store_buffering", store_buffering, {}, "one of the two sees the other"},
    {"checker", "checker.independent_reads", independent_reads, {}, "all see the stores in one order"},
    {"checker", "checker.coherence", coherence},
    {"checker", "checker.coherence_across_threads", coherence_across_threads},
    {"checker", "checker.release_sequence", release_sequence},
    {"checker", "checker.broken_release_sequence", broken_release_sequence, {}, "data race"},
    {"checker", "checker.update_sees_latest", update_sees_latest},
    {"checker", "checker.lost_wake_up", lost_wake_up, {}, "deadlock"},
    {"checker", "checker.kept_wake_up", kept_wake_up},
    {"checker", "checker.spinning_for_nobody", spinning_for_nobody, {}, "deadlock"},
    {"checker", "checker.freed_too_early", freed_too_early, {}, "data race"},
    {"checker", "checker.used_too_late", used_too_late, {}, "memory that was freed"},
    {"checker", "checker.leaked", leaked, {}, "leaked"},
    {"checker", "checker.destroyed_in_use", destroyed_in_use, {}, "destroyed while"},
    {"checker", "checker.outcomes_of_loads", outcomes_of_loads, compared},
    {"checker", "checker.outcomes_of_updates", outcomes_of_updates, compared},
    {"checker", "checker.outcomes_of_locks", outcomes_of_locks, compared},
};

} // namespace
