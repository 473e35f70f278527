// SPDX-License-Identifier: MIT
#pragma once
/// \file program.hpp  What the virtual threads of a run do, as it follows from a seed. Plain data: to be cut and printed.

#include <dmasync/access_mode.hpp>

#include <array>
#include <cstddef>
#include <cstdint>
#include <string>
#include <vector>

namespace sim {

inline constexpr int most_buffers = 6;
inline constexpr int most_threads = 3; // besides the one that ends the run
inline constexpr int nothing = -1;

/// What a thread does next. Those up to `transact` are acquisitions, and known by their place in the program.
enum class verb : std::uint8_t {
    lock,
    lock_set,
    try_lock,
    block,
    transact,
    // to the acquisition `target`:
    unlock,
    release,
    downgrade,
    upgrade,
    split,
    renew,
    use,
    look_at_token,
    watch_stop,
    hand_to_device,
    release_on,
    release_part_on,
    publish,
    request_stop,
    destroy,
    // to the world:
    begin_work,
    end_work, // that `target` began
    pass_time,
    poll,
    inject,
    close_buffer,
    drop_buffer,
    import_again,
    close_domain,
};

struct wish {
    std::int8_t buffer = 0;
    dmasync::access_mode mode{};
};

struct operation {
    verb what{};
    std::int8_t thread = 0;
    bool in_turn = false; // done by the thread's loop, in a turn of it
    int target = nothing;
    std::array<wish, 6> wishes{};
    std::int8_t size = 0;
    std::int8_t buffer = 0;
    std::int8_t on = nothing; // the loop to resume on
    bool always = false;      // cpu_access::always
    bool ignore = false;      // fences::ignore
    bool stoppable = false;
    bool quick = false;             // unlocked at once when it is granted
    bool blocks = false;            // a transaction of a thread that waits itself
    bool pauses = false;            // a transaction that lets a turn of its loop pass before each lock
    bool pairs = false;             // a transaction that locks two at a time
    bool tries = false;             // a transaction that tries before it waits
    bool runs = false;              // by run_transaction
    bool by_set = false;            // the lease is an option of the set, not of the lock
    std::int64_t lease = 0;         // ns; 0: the domain's, -1: no_lease
    std::int64_t deadline = 0;      // ns from now; 0: none
    std::int64_t fence_timeout = 0; // ns; 0: as long as the lease, -1: none
    std::int64_t amount = 0;        // ns, or how often
    int error = 0;
};

struct program {
    std::uint64_t seed = 0;
    int threads = 1;
    int loops = 1;        // thread i has a loop if i < loops; the first is the domain's
    unsigned stalled = 0; // a bit for each loop that has no turn before the end, but by operations that are done in one
    int closed = -1;      // the loop that its thread closes when it has done its operations; none: -1
    int buffers = 2;
    unsigned dma_bufs = 0; // a bit for each buffer that is one
    std::int64_t lease = 0;
    std::int64_t overdue_limit = 0;
    std::int64_t stuck_after = 0; // ns; 0: never
    bool reports_stuck = false;   // else they are only counted
    bool reports_leases = true;
    bool single_threaded = false;
    std::size_t reserve = 8;
    std::uint64_t first_ticket = 0;
    std::uint32_t period = 1; // of preemption
    bool wait_die = false;
    bool ends_by_leases = false; // instead of unlocking, time passes
    std::vector<operation> operations;
};

[[nodiscard]] program make_program(std::uint64_t seed);

[[nodiscard]] constexpr bool is_acquisition(verb v) noexcept { return v <= verb::transact; }

/// One operation in words, on one line without a newline.
[[nodiscard]] std::string in_words(const program& p, int index);

/// A part of a program: which operations and buffers of it.
struct selection {
    std::vector<bool> operations; // all when empty
    unsigned without_buffers = 0; // a bit for each
    std::uint64_t schedule = 0;   // another order of the same
    [[nodiscard]] bool has(std::size_t i) const { return operations.empty() || operations[i]; }
};

} // namespace sim
