// SPDX-License-Identifier: MIT
// What does the lock of an idle dma-buf cost beside that of a memfd, and beside the system calls that one would make by
// hand? For a machine that has dma-bufs, or the test machine, where only the ratios mean something.
#include "support/check.hpp"

#include <dmasync/dmasync.hpp>

#include <benchmark/benchmark.h>

#include <array>
#include <cstddef>
#include <cstdint>
#include <system_error>
#include <utility>

using namespace dmasync;

namespace {

constexpr std::size_t most_buffers = 4;

struct studio {
    explicit studio(benchmark::State& state, bool memfd = false) {
        std::error_code ec;
        for (buffer& b : buffers) { b = memfd ? media.allocate(4096, {}, {.from = memory_kind::memfd}) : allocate(ec); }
        if (ec) { bench::skip(state, "this machine offers no dma-buf"); }
        missing = static_cast<bool>(ec);
    }

    /// Every iteration did what it is named for, `done` times in all.
    void expect_count(benchmark::State& state, std::uint64_t done) const {
        if (!missing) { bench::expect_count(state, done, static_cast<std::uint64_t>(state.iterations())); }
    }

    buffer allocate(std::error_code& ec) {
        buffer made = media.allocate(4096, {}, {.from = memory_kind::udmabuf}, ec);
        return made ? made : media.allocate(4096, {}, {.from = memory_kind::dma_heap}, ec);
    }

    epoll_loop loop;
    domain media{loop};
    std::array<buffer, most_buffers> buffers;
    bool missing = false; // there is no dma-buf
    std::uint64_t count = 0;
};

void start_and_end_by_hand(benchmark::State& state) {
    const studio s{state};
    std::uint64_t count = 0;
    for (auto _ : state) {
        const std::error_code started = dma_buf::start_cpu_access(s.buffers[0].fd(), access_mode::read);
        benchmark::ClobberMemory();
        const std::error_code ended = dma_buf::end_cpu_access(s.buffers[0].fd(), access_mode::read);
        count += !started && !ended ? 1 : 0;
    }
    s.expect_count(state, count);
}
BENCHMARK(start_and_end_by_hand);

void poll_by_hand(benchmark::State& state) {
    const studio s{state};
    std::uint64_t count = 0;
    for (auto _ : state) { count += dma_buf::is_idle(s.buffers[0].fd(), access_mode::read) ? 1 : 0; }
    s.expect_count(state, count);
}
BENCHMARK(poll_by_hand);

template <std::size_t... I>
task<> lock_and_unlock(benchmark::State& state, studio& s, lock_options options, std::index_sequence<I...>) {
    for (auto _ : state) {
        auto held = co_await lock(read(s.buffers[I])..., options);
        s.count += held ? 1 : 0;
        benchmark::ClobberMemory();
    }
}

template <std::size_t N>
void run(benchmark::State& state, const lock_options& options, bool memfd = false) {
    studio s{state, memfd};
    s.loop.run(lock_and_unlock(state, s, options, std::make_index_sequence<N>{}));
    s.expect_count(state, s.count);
}

template <std::size_t N>
void lock_memfd(benchmark::State& state) {
    run<N>(state, {}, true);
}
BENCHMARK(lock_memfd<1>);
BENCHMARK(lock_memfd<4>);

template <std::size_t N>
void lock_dma_buf(benchmark::State& state) {
    run<N>(state, {});
}
BENCHMARK(lock_dma_buf<1>);
BENCHMARK(lock_dma_buf<4>);

template <std::size_t N>
void lock_dma_buf_ignoring_fences(benchmark::State& state) {
    run<N>(state, {.fences = fences::ignore});
}
BENCHMARK(lock_dma_buf_ignoring_fences<1>);
BENCHMARK(lock_dma_buf_ignoring_fences<4>);

template <std::size_t N>
void lock_dma_buf_bracketing_always(benchmark::State& state) {
    run<N>(state, {.cpu_access = cpu_access::always});
}
BENCHMARK(lock_dma_buf_bracketing_always<1>);
BENCHMARK(lock_dma_buf_bracketing_always<4>);

/// An iteration is a device's write and the CPU's look at it.
void lock_by_device_and_cpu_in_turns(benchmark::State& state) {
    studio s{state};
    const auto body = [](benchmark::State& st, studio& all) -> task<> {
        for (auto _ : st) {
            auto device = co_await lock(dma_write(all.buffers[0]));
            device.unlock();
            auto cpu = co_await lock(read(all.buffers[0]));
            all.count += cpu ? 1 : 0;
            benchmark::ClobberMemory();
        }
    };
    s.loop.run(body(state, s));
    s.expect_count(state, s.count);
}
BENCHMARK(lock_by_device_and_cpu_in_turns);

} // namespace
