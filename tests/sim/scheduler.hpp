// SPDX-License-Identifier: MIT
#pragma once
/// \file scheduler.hpp  Virtual threads: which of them runs is decided by a seed, at every place where it could matter.
///
/// They are fibers on the one real thread. A run is: `start_run`, `spawn` for each thread, `run_threads`, which returns
/// when all have ended, or when the run was abandoned: then the process is of no more use for another run.

#include <cstddef>
#include <cstdint>

namespace sim {

inline constexpr int max_threads = 4; // the last one runs only when no other can

/// Begins a run. On average the running thread is taken the processor away once in `period` points.
void start_run(std::uint64_t seed, std::uint32_t period);

/// The body of thread `number` is run by `run_threads`.
void spawn(int number, void (*body)(int));

/// Returns: whether every thread came to its end.
bool run_threads();

/// From a thread: the run is over, whatever the threads were doing.
[[noreturn]] void abandon_run();

/// -1 outside of threads.
[[nodiscard]] int current_thread() noexcept;

/// Whether all virtual threads count as one, which is never taken the processor away: for what only one thread may use.
extern bool counts_as_one_thread;

extern std::int64_t points_to_preemption;
void preempt() noexcept;

/// A place where another thread may take over.
inline void point() noexcept {
    if (--points_to_preemption <= 0) { preempt(); }
}

/// Lets another thread go on, if there is one that can.
void yield() noexcept;

/// The same for a thread that waits in a loop: every other thread may be the one that is waited for.
void spin() noexcept;

/// Whether any other thread could run now.
[[nodiscard]] bool others_can_run() noexcept;

/// Sleeps until `wake` with the same address; may return early for no reason.
void sleep_on(const void* address) noexcept;
/// The same, but never returns early.
void sleep_soundly_on(const void* address) noexcept;
void wake(const void* address) noexcept;
/// Ends every sleep that may end early.
void wake_all_light_sleepers() noexcept;

/// The lock around the state that is looked at whenever it is free.
struct watched_lock {
    const void* at = nullptr;
    std::size_t size = 0;
};
extern watched_lock watched;
[[nodiscard]] inline bool is_watched(const void* word) noexcept {
    const auto address = [](const void* p) { return reinterpret_cast<std::uintptr_t>(p); };
    return address(word) - address(watched.at) < watched.size;
}
/// A word of that lock has just been set to 0. Defined by the onlooker.
void lock_freed() noexcept;

/// As long as one exists the running thread is not switched away from.
class undisturbed {
public:
    undisturbed() noexcept : saved_{points_to_preemption} { points_to_preemption = INT64_MAX; }
    undisturbed(const undisturbed&) = delete;
    undisturbed& operator=(const undisturbed&) = delete;
    ~undisturbed() { points_to_preemption = saved_; }

private:
    std::int64_t saved_;
};

/// How often one thread took over from another in this run.
[[nodiscard]] std::uint64_t switches() noexcept;

} // namespace sim
