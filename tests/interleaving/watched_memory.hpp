// SPDX-License-Identifier: MIT
#pragma once
/// \file watched_memory.hpp  Plain memory under the checker: which thread touched which byte when, and what has been freed.
///
/// The programs are compiled with -fsanitize=thread, and the functions that this makes them call at every access are
/// here, in place of the sanitizer's own library, which knows nothing of fibers.

#include <array>
#include <cstddef>
#include <cstdint>
#include <string>

namespace interleave {

constexpr std::size_t max_threads = 5; // the one that makes and ends the program, and four

/// For each thread up to where its past is known: all that it did at or before that time comes first.
using clocks = std::array<std::uint16_t, max_threads>;

/// The thread that runs.
struct present {
    unsigned thread = 0;
    bool alone = false; // there are no threads yet: what is done now comes before all that they do
    clocks known{};     // its own: the time now
};

/// A new execution: memory that the last one had is free, and nothing has been touched.
void begin_watching() noexcept;

/// From here on the code of the program runs, as this thread; null: the checker's own code does.
void watch_as(const present* viewer) noexcept;

/// Returns: the blocks that have not been freed.
[[nodiscard]] std::size_t blocks_left() noexcept;

/// Ends the execution that goes on. Does not return.
[[noreturn]] void fail(const std::string& why) noexcept;

} // namespace interleave
