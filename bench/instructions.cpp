// SPDX-License-Identifier: MIT
// Operations of which tools/instruction-budget counts the instructions: `dmasync_instructions NAME COUNT` does one of them so
// many times; `dmasync_instructions` says how it was built and names them. On one thread, on an epoll loop, with leases that do not end meanwhile: the
// same instructions in every run.
#include "build_name.hpp"

#include <dmasync/dmasync.hpp>

#include <array>
#include <charconv>
#include <coroutine>
#include <cstddef>
#include <cstdint>
#include <cstdio>
#include <exception>
#include <string_view>
#include <system_error>
#include <utility>

using namespace dmasync;

namespace {

struct studio {
    studio(std::uint64_t times, bool single_threaded)
        : count{times}, media{loop, {.lease = std::chrono::hours{1}, .single_threaded = single_threaded}} {
        for (std::size_t i = 0; i < buffers.size(); ++i) { buffers[i] = media.adopt({&memory[i], 1}); }
    }

    const std::uint64_t count;
    std::array<std::byte, 16> memory{};
    epoll_loop loop;
    domain media;
    std::array<buffer, 16> buffers;
};

/// What is held must be held: without a use the compiler might leave out what leads to it.
void use(const guard& held) noexcept { asm volatile("" : : "r"(&held) : "memory"); }

template <std::size_t... I>
task<> lock_and_unlock(studio& s, std::index_sequence<I...>) {
    for (std::uint64_t i = 0; i < s.count; ++i) {
        auto held = co_await lock(write(s.buffers[I])...);
        use(held);
    }
}

template <std::size_t N>
void lock_n(studio& s) {
    s.loop.run(lock_and_unlock(s, std::make_index_sequence<N>{}));
}

task<> lock_two_on(studio& s) {
    for (std::uint64_t i = 0; i < s.count; ++i) {
        auto held = co_await lock(write(s.buffers[0]), write(s.buffers[1]), lock_options{.on = &s.loop});
        use(held);
    }
}
void lock_2_on(studio& s) { s.loop.run(lock_two_on(s)); }

/// Each has other options than the one before it.
task<> lock_in_turns(studio& s) {
    for (std::uint64_t i = 0; i < s.count; i += 2) {
        {
            auto held = co_await lock(write(s.buffers[0]), write(s.buffers[1]), lock_options{.name = "named"});
            use(held);
        }
        auto held = co_await lock(write(s.buffers[0]), write(s.buffers[1]));
        use(held);
    }
}
void lock_2_in_turns(studio& s) { s.loop.run(lock_in_turns(s)); }

task<> lock_to_read(studio& s) {
    for (std::uint64_t i = 0; i < s.count; ++i) {
        auto held = co_await lock(read(s.buffers[0]));
        use(held);
    }
}
void read_1(studio& s) { s.loop.run(lock_to_read(s)); }

task<> lock_again(studio& s, lock_set& set) {
    for (std::uint64_t i = 0; i < s.count; ++i) {
        auto held = co_await set.lock();
        use(held);
    }
}
template <std::size_t N>
void lock_set_n(studio& s) {
    lock_set set{s.media};
    for (std::size_t i = 0; i < N; ++i) { set.add(s.buffers[i], access_mode::write); }
    s.loop.run(lock_again(s, set));
}

task<> lock_one_by_one(studio& s) {
    for (std::uint64_t i = 0; i < s.count; ++i) {
        transaction tx{s.media};
        for (std::size_t n = 0; n < 4; ++n) { co_await tx.lock(write(s.buffers[n])); }
        auto held = tx.done();
        use(held);
    }
}
void transaction_4(studio& s) { s.loop.run(lock_one_by_one(s)); }

void try_lock_1(studio& s) {
    for (std::uint64_t i = 0; i < s.count; ++i) {
        auto held = try_lock(write(s.buffers[0]));
        use(held);
    }
}

void blocking_lock_1(studio& s) {
    for (std::uint64_t i = 0; i < s.count; ++i) {
        auto held = blocking_lock(write(s.buffers[0]));
        use(held);
    }
}

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

constexpr int visitors = 64;

fire_and_forget visit(const buffer& b, std::uint64_t& left) {
    while (left != 0) {
        auto held = co_await lock(write(b));
        use(held);
        if (left != 0) { --left; }
    }
}

task<> hand_round(studio& s) {
    std::uint64_t left = s.count;
    {
        auto held = co_await lock(write(s.buffers[0])); // until all of them stand in the queue
        for (int i = 1; i < visitors; ++i) { visit(s.buffers[0], left); }
    }
    while (left != 0) {
        auto held = co_await lock(write(s.buffers[0]));
        use(held);
        if (left != 0) { --left; }
    }
    auto last = co_await lock(write(s.buffers[0])); // when the others have left
}
void hand_over(studio& s) { s.loop.run(hand_round(s)); }

struct operation {
    const char* name;
    void (*run)(studio&);
    bool single_threaded = false;
};

constexpr std::array operations{
    operation{"lock_1", lock_n<1>},
    operation{"lock_2", lock_n<2>},
    operation{"lock_2_on", lock_2_on},
    operation{"lock_2_in_turns", lock_2_in_turns},
    operation{"lock_4", lock_n<4>},
    operation{"lock_16", lock_n<16>},
    operation{"read_1", read_1},
    operation{"lock_set_4", lock_set_n<4>},
    operation{"lock_set_16", lock_set_n<16>},
    operation{"try_lock_1", try_lock_1},
    operation{"blocking_lock_1", blocking_lock_1},
    operation{"transaction_4", transaction_4},
    operation{"hand_over", hand_over},
    operation{"single_1", lock_n<1>, true},
    operation{"single_4", lock_n<4>, true},
};

} // namespace

int main(int argc, char** argv) {
    if (argc == 1) {
        std::printf("%s\n", build_name);
        for (const operation& o : operations) { std::printf("%s\n", o.name); }
        return 0;
    }
    const std::string_view name{argv[1]};
    const std::string_view digits{argc == 3 ? argv[2] : ""};
    std::uint64_t count = 0;
    const auto [end, error] = std::from_chars(digits.data(), digits.data() + digits.size(), count);
    for (const operation& o : operations) {
        if (name != o.name || error != std::errc{} || end != digits.data() + digits.size()) { continue; }
        studio s{count, o.single_threaded};
        o.run(s);
        return 0;
    }
    std::fprintf(stderr, "usage: dmasync_instructions [NAME COUNT]\n");
    return 2;
}
