// SPDX-License-Identifier: MIT
// What does the lock of an idle dma-buf cost beside that of a memfd, and beside the system calls that one would make by
// hand? For a machine that has dma-bufs, or the test machine, where only the ratios mean something.
#include <dmasync/dmasync.hpp>

#include <benchmark/benchmark.h>

#include <array>
#include <cstddef>
#include <system_error>
#include <utility>

using namespace dmasync;

namespace {

constexpr std::size_t most_buffers = 4;

struct studio {
    explicit studio(benchmark::State& state, bool memfd = false) {
        std::error_code ec;
        for (buffer& b : buffers) { b = memfd ? media.allocate(4096, {}, {.from = memory_kind::memfd}) : allocate(ec); }
        if (ec) { state.SkipWithError("this machine offers no dma-buf"); }
    }

    buffer allocate(std::error_code& ec) {
        buffer made = media.allocate(4096, {}, {.from = memory_kind::udmabuf}, ec);
        return made ? made : media.allocate(4096, {}, {.from = memory_kind::dma_heap}, ec);
    }

    epoll_loop loop;
    domain media{loop};
    std::array<buffer, most_buffers> buffers;
};

void start_and_end_by_hand(benchmark::State& state) {
    const studio s{state};
    for (auto _ : state) {
        static_cast<void>(dma_buf::start_cpu_access(s.buffers[0].fd(), access::read));
        benchmark::ClobberMemory();
        static_cast<void>(dma_buf::end_cpu_access(s.buffers[0].fd(), access::read));
    }
}
BENCHMARK(start_and_end_by_hand);

void poll_by_hand(benchmark::State& state) {
    const studio s{state};
    for (auto _ : state) { benchmark::DoNotOptimize(dma_buf::is_idle(s.buffers[0].fd(), access::read)); }
}
BENCHMARK(poll_by_hand);

template <std::size_t... I>
task<> lock_and_unlock(benchmark::State& state, studio& s, lock_options options, std::index_sequence<I...>) {
    for (auto _ : state) {
        auto held = co_await lock(read(s.buffers[I])..., options);
        benchmark::ClobberMemory();
    }
}

template <std::size_t N>
void run(benchmark::State& state, const lock_options& options, bool memfd = false) {
    studio s{state, memfd};
    s.loop.run(lock_and_unlock(state, s, options, std::make_index_sequence<N>{}));
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
    const auto body = [](benchmark::State& st, const buffer& b) -> task<> {
        for (auto _ : st) {
            auto device = co_await lock(dma_write(b));
            device.unlock();
            auto cpu = co_await lock(read(b));
            benchmark::ClobberMemory();
        }
    };
    s.loop.run(body(state, s.buffers[0]));
}
BENCHMARK(lock_by_device_and_cpu_in_turns);

} // namespace

BENCHMARK_MAIN();
