// SPDX-License-Identifier: MIT
#pragma once
/// \file checker.hpp  Runs a small program with threads in one interleaving after the other, on a weak memory.
///
/// A program is a function that makes what it needs, calls `run_threads` once, and looks at what has become of it. Its
/// threads are fibers. Whatever one thread can see of another is a *step*: an access to an atomic, a sleep, a wake-up.
/// Before each step the checker decides which thread goes on, and which of the values that the C++ memory model allows a load
/// returns. Plain memory is watched too: two accesses without an order between them are a failure, whatever they read.

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <initializer_list>
#include <source_location>
#include <string>
#include <vector>

namespace interleave {

using word = std::uint64_t;
using where = std::source_location;

// ---- for programs ---------------------------------------------------------------------------------------------------

/// Runs these at once, each as a thread of its own, and returns when all have ended. Once in a program.
void run_threads(std::initializer_list<std::function<void()>> bodies);

/// A failed check ends the execution; `text` says what should have been true.
void check(bool truth, const char* text, where at = where::current());

/// Part of what this execution has come to, for searches to be compared by. Up to 16 bits.
void observe(word value);

/// Plain memory, touched to show that an access here is ordered with the others. The word grows by one.
class canary {
public:
    void write() { touched_ = touched_ + 1; }
    unsigned read() const { return touched_; } // NOLINT(modernize-use-nodiscard): to have looked may be enough

private:
    volatile unsigned touched_ = 0; // not to be optimised away
};

// ---- for what stands in for the machine -------------------------------------------------------------------------------

[[nodiscard]] std::uint32_t this_thread() noexcept; // 1 and up

/// Nothing is to be done until what the thread has looked at last is changed by another.
void pause(where at = where::current()) noexcept;

/// Every thread sees from here on whatever has been stored up to here: membarrier(2). Not in a full search, whose reduction
/// knows of steps at one location only.
void process_fence(where at) noexcept;

enum class update : std::uint8_t { exchange, add, subtract, bit_or, bit_and };

/// An atomic object: all the stores to it so far, in modification order.
class location {
public:
    location(const location&) = delete;
    location& operator=(const location&) = delete;

protected:
    location(word initial, std::size_t size, const where& made) noexcept;
    ~location();

    [[nodiscard]] word load_word(std::memory_order order, const where& at) const noexcept;
    void store_word(word value, std::memory_order order, const where& at) noexcept;
    [[nodiscard]] word update_word(update kind, word operand, std::memory_order order, const where& at) noexcept;
    bool compare_exchange_word(word& expected, word desired, bool weak, std::memory_order success,
                               std::memory_order failure, const where& at) noexcept;
    void wait_word(word expected, const where& at) const noexcept; // futex(2), FUTEX_WAIT
    void wake_word(const where& at) const noexcept;                // futex(2), FUTEX_WAKE; the object may be gone

private:
    friend class bell;
    std::uint32_t id_;
};

/// What an eventfd is to a loop: rung by any thread, heard by one, which may sleep until it is. The kernel's lock around its
/// counter orders what comes before a ring and after hearing it.
class bell : location {
public:
    explicit bell(where made = where::current()) noexcept : location{0, sizeof(word), made} {}
    void ring(where at = where::current()) noexcept;
    bool heard(where at = where::current()) noexcept; // and silent again
    void wait(where at = where::current()) noexcept;
};

/// A lock that is taken for granted: for parts of the standard library.
class mutex : location {
public:
    explicit mutex(where made = where::current()) noexcept : location{0, sizeof(word), made} {}
    void lock() noexcept;
    void unlock() noexcept { store_word(0, std::memory_order_release, where::current()); }
};

// ---- for the runner -------------------------------------------------------------------------------------------------

/// One change to the library that the search has to notice: an order that is weaker, or a step that is left out.
struct mutation {
    std::string function; // part of the name of the function it is in
    std::string
        operation; // load, store, cas, exchange, add, subtract, or, and; ring, wake, fence: left out; empty: any
    std::memory_order order = std::memory_order_relaxed; // instead
    unsigned thread = 0;                                 // of this thread only; 0: of all
};

struct settings {
    enum class search : std::uint8_t { full, bounded, random };
    search mode = search::full;
    unsigned bound = 2;          // of preemptions and stale loads together
    std::uint64_t schedules = 0; // at most; 0: all there are
    std::uint64_t seed = 1;      // of a random search
    bool compared = false;       // the full search finds every outcome that one without any reduction finds
    bool locks_block = true;     // an attempt at a spin lock that would fail is not made: it changes nothing
    unsigned early_returns = 0;  // of futex waits, for no reason, by each thread
    const mutation* mutant = nullptr;
    const char* replay = nullptr; // a schedule to run, and to print
};

struct verdict {
    std::uint64_t schedules = 0; // that ran to their end
    std::uint64_t cut = 0;       // that could have shown nothing new
    std::uint64_t mutated = 0;   // steps that were changed
    bool exhausted = false;      // there are no others
    std::string failure;         // what went wrong in the last one; empty: nothing
    std::string schedule;        // the last one: what `replay` takes
    std::string trace;           // of a replay
    std::vector<word> outcomes;  // what was observed, once each, in order
};

[[nodiscard]] verdict explore(const std::function<void()>& program, const settings& how);

} // namespace interleave
