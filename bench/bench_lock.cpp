// SPDX-License-Identifier: MIT
// What does a lock with a lease cost, beside what one would otherwise use? `ref` is the least that any lock can cost: one
// compare-and-swap, one increment, one release; other figures are to be read as multiples of it.
#include <dmasync/dmasync.hpp>

#include <benchmark/benchmark.h>

#include <array>
#include <atomic>
#include <chrono>
#include <condition_variable>
#include <coroutine>
#include <cstddef>
#include <cstdint>
#include <exception>
#include <memory>
#include <mutex>
#include <random>
#include <shared_mutex>
#include <stop_token>
#include <thread>
#include <utility>
#include <vector>

using namespace dmasync;

namespace {

constexpr std::size_t most_buffers = 16;

// ---- what one would otherwise use ------------------------------------------------------------------------------------

struct alignas(64) reference_lock {
    std::atomic<std::uint32_t> word{0};
    std::uint32_t counter = 0;
};

void ref(benchmark::State& state) {
    reference_lock lock;
    for (auto _ : state) {
        std::uint32_t expected = 0;
        while (!lock.word.compare_exchange_strong(expected, 1, std::memory_order_acquire)) { expected = 0; }
        ++lock.counter;
        expected = 1;
        while (!lock.word.compare_exchange_strong(expected, 0, std::memory_order_release)) { expected = 1; }
    }
    benchmark::DoNotOptimize(lock.counter);
}
BENCHMARK(ref);

template <class Mutex>
struct alignas(64) padded {
    Mutex mutex;
};

template <class Mutex, std::size_t... I>
void lock_all(benchmark::State& state, std::index_sequence<I...>) {
    auto mutexes = std::make_unique<std::array<padded<Mutex>, sizeof...(I)>>();
    for (auto _ : state) {
        const std::scoped_lock held{(*mutexes)[I].mutex...};
        benchmark::ClobberMemory();
    }
}

template <std::size_t N>
void scoped_lock(benchmark::State& state) {
    lock_all<std::mutex>(state, std::make_index_sequence<N>{});
}
BENCHMARK(scoped_lock<1>);
BENCHMARK(scoped_lock<4>);
BENCHMARK(scoped_lock<16>);

/// In order of address, as who avoids deadlocks by hand does it.
template <std::size_t N>
void shared_mutex(benchmark::State& state) {
    auto mutexes = std::make_unique<std::array<padded<std::shared_mutex>, N>>();
    for (auto _ : state) {
        for (auto& m : *mutexes) { m.mutex.lock(); }
        benchmark::ClobberMemory();
        for (auto& m : *mutexes) { m.mutex.unlock(); }
    }
}
BENCHMARK(shared_mutex<1>);
BENCHMARK(shared_mutex<4>);
BENCHMARK(shared_mutex<16>);

void shared_mutex_read(benchmark::State& state) {
    std::shared_mutex mutex;
    for (auto _ : state) {
        const std::shared_lock held{mutex};
        benchmark::ClobberMemory();
    }
}
BENCHMARK(shared_mutex_read);

/// A lock with a time limit, made by hand: a mutex, and a timeout on a ring that is armed and removed for every lock.
void mutex_and_uring_timeout(benchmark::State& state) {
    io_uring ring{};
    if (const int error = io_uring_queue_init(8, &ring, 0); error < 0) {
        state.SkipWithError("io_uring is refused here");
        return;
    }
    std::mutex mutex;
    __kernel_timespec lease{.tv_sec = 5, .tv_nsec = 0};
    for (auto _ : state) {
        const std::lock_guard held{mutex};
        io_uring_sqe* sqe = io_uring_get_sqe(&ring);
        io_uring_prep_timeout(sqe, &lease, 0, 0);
        io_uring_sqe_set_data64(sqe, 1);
        io_uring_submit(&ring);
        benchmark::ClobberMemory();
        sqe = io_uring_get_sqe(&ring);
        io_uring_prep_timeout_remove(sqe, 1, 0);
        io_uring_submit(&ring);
        io_uring_cq_advance(&ring, io_uring_cq_ready(&ring));
    }
    io_uring_queue_exit(&ring);
}
BENCHMARK(mutex_and_uring_timeout);

// ---- dmasync ---------------------------------------------------------------------------------------------------------

struct studio {
    explicit studio(std::chrono::nanoseconds lease = default_lease) : media{*made.loop, {.lease = lease}} {
        for (buffer& b : buffers) { b = media.allocate(4096, {}, {.from = memory_kind::memfd}); }
    }

    made_event_loop made = make_event_loop();
    domain media;
    std::array<buffer, most_buffers> buffers;
};

template <std::size_t... I>
task<> lock_and_unlock(benchmark::State& state, studio& s, std::index_sequence<I...>) {
    for (auto _ : state) {
        auto held = co_await lock(write(s.buffers[I])...);
        benchmark::ClobberMemory();
    }
}

template <std::size_t N>
void dmasync_lock(benchmark::State& state) {
    studio s;
    s.made.loop->run(lock_and_unlock(state, s, std::make_index_sequence<N>{}));
}
BENCHMARK(dmasync_lock<1>);
BENCHMARK(dmasync_lock<4>);
BENCHMARK(dmasync_lock<16>);

void dmasync_lock_without_lease(benchmark::State& state) {
    studio s{no_lease};
    s.made.loop->run(lock_and_unlock(state, s, std::make_index_sequence<1>{}));
}
BENCHMARK(dmasync_lock_without_lease);

void dmasync_lock_read(benchmark::State& state) {
    studio s;
    const auto body = [](benchmark::State& st, const buffer& b) -> task<> {
        for (auto _ : st) {
            auto held = co_await lock(read(b));
            benchmark::ClobberMemory();
        }
    };
    s.made.loop->run(body(state, s.buffers[0]));
}
BENCHMARK(dmasync_lock_read);

template <std::size_t N>
void dmasync_lock_set(benchmark::State& state) {
    studio s;
    lock_set set{s.media};
    for (std::size_t i = 0; i < N; ++i) { set.add(s.buffers[i], access::write); }
    const auto body = [](benchmark::State& st, lock_set& all) -> task<> {
        for (auto _ : st) {
            auto held = co_await all.lock();
            benchmark::ClobberMemory();
        }
    };
    s.made.loop->run(body(state, set));
}
BENCHMARK(dmasync_lock_set<1>);
BENCHMARK(dmasync_lock_set<4>);
BENCHMARK(dmasync_lock_set<16>);

void dmasync_blocking_lock(benchmark::State& state) {
    studio s;
    for (auto _ : state) {
        auto held = blocking_lock(write(s.buffers[0]));
        benchmark::ClobberMemory();
    }
}
BENCHMARK(dmasync_blocking_lock);

// ---- waiting ---------------------------------------------------------------------------------------------------------

/// Runs by itself and destroys itself.
struct fire_and_forget {
    struct promise_type {
        fire_and_forget get_return_object() const noexcept { return {}; }
        std::suspend_never initial_suspend() const noexcept { return {}; }
        std::suspend_never final_suspend() const noexcept { return {}; }
        void return_void() const noexcept {}
        [[noreturn]] void unhandled_exception() const noexcept { std::terminate(); }
    };
};

/// 64 coroutines on one thread queue for one buffer; an iteration is one of them getting it.
void dmasync_hand_over(benchmark::State& state) {
    constexpr int coroutines = 64;
    studio s;
    const auto visitor = [](const buffer& b, const bool& done) -> fire_and_forget {
        while (!done) { auto held = co_await lock(write(b)); }
    };
    const auto body = [&visitor](benchmark::State& st, const buffer& b) -> task<> {
        bool done = false;
        {
            auto held = co_await lock(write(b));
            for (int i = 1; i < coroutines; ++i) { visitor(b, done); }
        }
        std::uint64_t mine = 0;
        for (auto _ : st) {
            auto held = co_await lock(write(b)); // after each of the others has had it once
            ++mine;
        }
        st.SetItemsProcessed(static_cast<std::int64_t>(mine * coroutines));
        done = true;
        auto last = co_await lock(write(b)); // when they have left
    };
    s.made.loop->run(body(state, s.buffers[0]));
}
BENCHMARK(dmasync_hand_over);

// ---- two threads -----------------------------------------------------------------------------------------------------

constexpr std::size_t contended = 8;

/// Pairs of different numbers below `contended`, the same for all that are compared.
class pairs {
public:
    explicit pairs(int seed) {
        std::minstd_rand random{static_cast<unsigned>(seed + 1)};
        for (auto& [first, second] : list_) {
            first = random() % contended;
            second = (first + 1 + random() % (contended - 1)) % contended;
        }
    }
    std::pair<std::size_t, std::size_t> next() noexcept { return list_[++at_ % list_.size()]; }

private:
    std::array<std::pair<std::size_t, std::size_t>, 1024> list_;
    std::size_t at_ = 0;
};

void two_threads_scoped_lock(benchmark::State& state) {
    static std::array<padded<std::mutex>, contended> mutexes;
    pairs sets{state.thread_index()};
    for (auto _ : state) {
        const auto [a, b] = sets.next();
        const std::scoped_lock held{mutexes[a].mutex, mutexes[b].mutex};
        benchmark::ClobberMemory();
    }
}
BENCHMARK(two_threads_scoped_lock)->Threads(2)->UseRealTime();

/// Each thread runs a loop of its own, on which its coroutine is resumed.
void two_threads_dmasync_lock(benchmark::State& state) {
    static studio shared;
    const made_event_loop mine = make_event_loop();
    const auto body = [](benchmark::State& st, event_loop& loop) -> task<> {
        pairs sets{st.thread_index()};
        const lock_options here{.on = &loop};
        for (auto _ : st) {
            const auto [a, b] = sets.next();
            auto held = co_await lock(write(shared.buffers[a]), write(shared.buffers[b]), here);
            benchmark::ClobberMemory();
        }
    };
    mine.loop->run(body(state, *mine.loop));
}
BENCHMARK(two_threads_dmasync_lock)->Threads(2)->UseRealTime();

} // namespace

int main(int argc, char** argv) {
    // With a single thread, glibc's std::mutex leaves out its atomic operations.
    const std::jthread parked{[](const std::stop_token& stop) {
        std::mutex mutex;
        std::unique_lock lock{mutex};
        std::condition_variable_any{}.wait(lock, stop, [] { return false; });
    }};
    benchmark::Initialize(&argc, argv);
    if (benchmark::ReportUnrecognizedArguments(argc, argv)) { return 1; }
    benchmark::RunSpecifiedBenchmarks();
    benchmark::Shutdown();
}
