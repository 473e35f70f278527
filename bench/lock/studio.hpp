// SPDX-License-Identifier: MIT
#pragma once
/// \file studio.hpp  A domain with some buffers, and counters that are changed under their locks only.

#include "../support/check.hpp"

#include <dmasync/dmasync.hpp>

#include <benchmark/benchmark.h>

#include <array>
#include <chrono>
#include <coroutine>
#include <cstddef>
#include <cstdint>
#include <exception>
#include <span>
#include <utility>

namespace bench {

/// The counters of some buffers, which are the buffers' memory. Eight share a cache line, and move with it.
template <std::size_t N>
using counters = std::array<std::uint64_t, N>;

/// A buffer whose memory is a counter.
[[nodiscard]] inline dmasync::buffer counting_buffer(dmasync::domain& media, std::uint64_t& counter) {
    return media.adopt(std::as_writable_bytes(std::span{&counter, 1}));
}

/// A domain of 16 buffers on a loop of its own.
struct studio {
    explicit studio(dmasync::domain_options options = {}) : media{*made.loop, std::move(options)} {
        for (std::size_t i = 0; i < buffers.size(); ++i) { buffers[i] = counting_buffer(media, counts[i]); }
    }

    dmasync::made_event_loop made = dmasync::make_event_loop();
    dmasync::domain media;
    alignas(64) counters<16> counts{};
    std::array<dmasync::buffer, 16> buffers;
};

/// Locks the first `I` buffers in every iteration, and counts in the first of them.
template <std::size_t... I>
dmasync::task<> lock_and_count(benchmark::State& state, studio& s, std::index_sequence<I...>) {
    for (auto _ : state) {
        auto held = co_await dmasync::lock(dmasync::write(s.buffers[I])...);
        ++s.counts[0];
        benchmark::ClobberMemory();
    }
}

/// Runs `body(state, studio)` on the studio's loop; it counts in the first buffer.
template <class Body>
void run(benchmark::State& state, studio& s, Body body) {
    s.made.loop->run(body(state, s));
    expect_count(state, s.counts[0], static_cast<std::uint64_t>(state.iterations()));
}

/// The same with locks of the first N buffers.
template <std::size_t N>
void run_locks_of(benchmark::State& state, studio& s) {
    run(state, s, [](auto& st, auto& all) { return lock_and_count(st, all, std::make_index_sequence<N>{}); });
}

/// A coroutine that runs by itself and destroys itself.
struct fire_and_forget {
    struct promise_type {
        fire_and_forget get_return_object() const noexcept { return {}; }
        std::suspend_never initial_suspend() const noexcept { return {}; }
        std::suspend_never final_suspend() const noexcept { return {}; }
        void return_void() const noexcept {}
        [[noreturn]] void unhandled_exception() const noexcept { std::terminate(); }
    };
};

} // namespace bench
