// SPDX-License-Identifier: MIT
// Two threads that do nothing but lock sets of 2: out of the same 8 buffers; out of 4 of their own each, in one domain; and
// in a domain each. What has contended for a processor is told apart from what has contended for a lock: contest.hpp.
#include "../support/check.hpp"
#include "contest.hpp"
#include "studio.hpp"

#include <dmasync/dmasync.hpp>

#include <benchmark/benchmark.h>

#include <array>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <mutex>
#include <numeric>
#include <random>
#include <utility>

using namespace dmasync;
using bench::contest;
using bench::contestant;

namespace {

/// Pairs of different numbers from `first` on, the same for all that are compared.
class pairs {
public:
    pairs(std::size_t seed, std::size_t first, std::size_t count) {
        std::minstd_rand random{static_cast<unsigned>(seed + 1)};
        for (auto& [a, b] : list_) {
            a = random() % count;
            b = first + (a + 1 + random() % (count - 1)) % count;
            a += first;
        }
    }
    std::pair<std::size_t, std::size_t> next() noexcept { return list_[++at_ % list_.size()]; }

private:
    std::array<std::pair<std::size_t, std::size_t>, 1024> list_;
    std::size_t at_ = 0;
};

pairs all_eight(const contestant& me) { return {me.index, 0, 8}; }
pairs own_four(const contestant& me) { return {me.index, 4 * me.index, 4}; }

/// Both members of each set have been counted under its locks.
template <class Counts>
void expect_sets(benchmark::State& state, const Counts& counts, std::uint64_t sets) {
    bench::expect_count(state, std::accumulate(counts.begin(), counts.end(), std::uint64_t{0}), 2 * sets);
}

// ---- std::scoped_lock ------------------------------------------------------------------------------------------------

struct alignas(64) counting_mutex {
    std::mutex mutex;
    std::uint64_t count = 0;
};

template <class Choose>
void scoped_locks(benchmark::State& state, Choose choose) {
    auto all = std::make_unique<std::array<counting_mutex, 8>>();
    contest c;
    const std::uint64_t sets = c.run(state, [&](contestant& me) {
        pairs chosen = choose(me);
        while (me.goes_on()) {
            const auto [a, b] = chosen.next();
            const std::scoped_lock held{(*all)[a].mutex, (*all)[b].mutex};
            ++(*all)[a].count;
            ++(*all)[b].count;
            ++me.locks;
        }
    });
    std::array<std::uint64_t, 8> counts{};
    for (std::size_t i = 0; i < counts.size(); ++i) { counts[i] = (*all)[i].count; }
    expect_sets(state, counts, sets);
}

void two_threads_scoped_lock(benchmark::State& state) { scoped_locks(state, all_eight); }
BENCHMARK(two_threads_scoped_lock)->UseManualTime();

void two_threads_disjoint_scoped_lock(benchmark::State& state) { scoped_locks(state, own_four); }
BENCHMARK(two_threads_disjoint_scoped_lock)->UseManualTime();

// ---- dmasync ---------------------------------------------------------------------------------------------------------

/// What a thread locks with.
struct desk {
    std::array<buffer, 8> buffers;
    std::array<std::uint64_t*, 8> counts{};
    event_loop* elsewhere = nullptr; // the loop that the thread runs, where that is not the domain's
};

task<> lock_sets(contestant& me, desk& d, pairs chosen) {
    const auto count = [&](std::size_t a, std::size_t b) {
        ++*d.counts[a];
        ++*d.counts[b];
        ++me.locks;
    };
    if (d.elsewhere == nullptr) {
        while (me.goes_on()) {
            const auto [a, b] = chosen.next();
            auto held = co_await lock(write(d.buffers[a]), write(d.buffers[b]));
            count(a, b);
        }
    } else {
        const lock_options here{.on = d.elsewhere};
        while (me.goes_on()) {
            const auto [a, b] = chosen.next();
            auto held = co_await lock(write(d.buffers[a]), write(d.buffers[b]), here);
            count(a, b);
        }
    }
}

/// Thread 0 runs the loop of the first domain, thread 1 that of the second, which may be used for nothing else.
struct workplace {
    std::array<made_event_loop, contest::threads> loops{make_event_loop(), make_event_loop()};
    domain first{*loops[0].loop};
    domain second{*loops[1].loop};
    alignas(64) std::array<std::uint64_t, 8> low{};
    alignas(64) std::array<std::uint64_t, 8> high{};
    std::array<desk, contest::threads> desks;

    /// Buffer `i` of a thread's desk.
    void furnish(std::size_t thread, std::size_t i, domain& d, std::uint64_t& counter) {
        desks[thread].buffers[i] = bench::counting_buffer(d, counter);
        desks[thread].counts[i] = &counter;
        desks[thread].elsewhere = &d.loop() == loops[thread].loop.get() ? nullptr : loops[thread].loop.get();
    }

    template <class Choose>
    void run(benchmark::State& state, Choose choose) {
        contest c;
        const std::uint64_t sets = c.run(
            state, [&](contestant& me) { loops[me.index].loop->run(lock_sets(me, desks[me.index], choose(me))); });
        std::array<std::uint64_t, 16> counts{};
        for (std::size_t i = 0; i < low.size(); ++i) {
            counts[i] = low[i];
            counts[8 + i] = high[i];
        }
        expect_sets(state, counts, sets);
    }
};

void two_threads_dmasync_lock(benchmark::State& state) {
    workplace w;
    for (std::size_t i = 0; i < 8; ++i) {
        w.furnish(0, i, w.first, w.low[i]);
        w.furnish(1, i, w.first, w.low[i]); // the same memory: the same buffer
    }
    w.run(state, all_eight);
}
BENCHMARK(two_threads_dmasync_lock)->UseManualTime();

void disjoint(benchmark::State& state, domain workplace::*of_other_thread) {
    workplace w;
    for (std::size_t i = 0; i < 4; ++i) {
        w.furnish(0, i, w.first, w.low[i]);
        w.furnish(1, 4 + i, w.*of_other_thread, w.high[i]);
    }
    w.run(state, own_four);
}

void two_threads_disjoint_one_domain(benchmark::State& state) { disjoint(state, &workplace::first); }
BENCHMARK(two_threads_disjoint_one_domain)->UseManualTime();

void two_threads_disjoint_two_domains(benchmark::State& state) { disjoint(state, &workplace::second); }
BENCHMARK(two_threads_disjoint_two_domains)->UseManualTime();

} // namespace
