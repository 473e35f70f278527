// SPDX-License-Identifier: MIT
// How many bytes does what a user has take? Prints a table: first how this was built, then a line for each.
#include "build_name.hpp"

#include <dmasync/dmasync.hpp>

#include <array>
#include <coroutine>
#include <cstddef>
#include <cstdio>
#include <cstdlib>
#include <exception>
#include <memory>
#include <new>
#include <utility>
#include <vector>

namespace {

std::size_t allocated = 0; // bytes, all that ever were

void* allocate(std::size_t size, std::size_t alignment) {
    allocated += size;
    void* p = std::aligned_alloc(alignment, (size + alignment - 1) / alignment * alignment);
    if (p == nullptr) { std::abort(); }
    return p;
}

} // namespace

// NOLINTBEGIN(cppcoreguidelines-no-malloc): this is what replaces new
[[gnu::noinline]] void* operator new(std::size_t size) { return allocate(size, alignof(std::max_align_t)); }
[[gnu::noinline]] void* operator new(std::size_t size, std::align_val_t a) {
    return allocate(size, static_cast<std::size_t>(a));
}
[[gnu::noinline]] void* operator new(std::size_t size, std::align_val_t a, const std::nothrow_t&) noexcept {
    return allocate(size, static_cast<std::size_t>(a));
}
[[gnu::noinline]] void operator delete(void* p) noexcept { std::free(p); }
[[gnu::noinline]] void operator delete(void* p, std::size_t) noexcept { std::free(p); }
[[gnu::noinline]] void operator delete(void* p, std::align_val_t) noexcept { std::free(p); }
[[gnu::noinline]] void operator delete(void* p, std::size_t, std::align_val_t) noexcept { std::free(p); }
// NOLINTEND(cppcoreguidelines-no-malloc)

using namespace dmasync;

namespace {

constexpr std::size_t many = 4096; // of what is counted by what it allocates, so that what comes in blocks is spread

void row(const char* what, std::size_t bytes) { std::printf("| %s | %zu |\n", what, bytes); }

/// What `make` allocates, of which it makes many.
template <class Make>
std::size_t heap_of_each(Make make) {
    const std::size_t before = allocated;
    make();
    return (allocated - before + many / 2) / many;
}

/// A coroutine that waits for a buffer, and nothing else; it runs by itself and destroys itself.
struct waiting {
    struct promise_type {
        waiting get_return_object() const noexcept { return {}; }
        std::suspend_never initial_suspend() const noexcept { return {}; }
        std::suspend_never final_suspend() const noexcept { return {}; }
        void return_void() const noexcept {}
        [[noreturn]] void unhandled_exception() const noexcept { std::terminate(); }
        static void* operator new(std::size_t size) {
            frame = size;
            return ::operator new(size);
        }
        static void operator delete(void* p, std::size_t size) { ::operator delete(p, size); }
        static inline std::size_t frame = 0;
    };
};
waiting wait_for(const buffer& b) { auto held = co_await lock(write(b)); }

struct studio {
    explicit studio(std::size_t count) : memory(count), buffers(count) {}

    void adopt() {
        for (std::size_t i = 0; i < buffers.size(); ++i) { buffers[i] = media.adopt({&memory[i], 1}); }
    }

    std::vector<std::byte> memory;
    std::vector<buffer> buffers;
    manual_loop loop;
    domain media{loop, {.reserve = 1}};
};

template <class Set>
std::size_t heap_of_a_hold(studio& s, Set set) {
    std::vector<guard> held(many);
    return heap_of_each([&] {
        for (std::size_t i = 0; i < many; ++i) { held[i] = set(s, i); }
    });
}

template <std::size_t... I>
guard read_all(studio& s, std::index_sequence<I...>) {
    return try_lock(read(s.buffers[I])...);
}

void print_objects() {
    row("`buffer`, a handle", sizeof(buffer));
    row("`guard`, `guard_of`: a hold", sizeof(guard));
    row("`domain`", sizeof(domain));
    row("`lock_set`", sizeof(lock_set));
    row("`transaction`", sizeof(transaction));
    row("`lock_options`", sizeof(lock_options));
    row("`name`", sizeof(name));
    row("`fence`", sizeof(fence));
    row("`task<>`", sizeof(task<>));
    row("`epoll_loop`", sizeof(epoll_loop));
    row("`uring_loop`", sizeof(uring_loop));
}

void print_inside() {
    using one = decltype(write(std::declval<buffer&>()));
    row("what `co_await lock(...)` keeps in a coroutine's frame: 1 buffer",
        sizeof(lock_awaitable<detail::arguments_of<one>>));
    row("the same, 4 buffers", sizeof(lock_awaitable<detail::arguments_of<one, one, one, one>>));
    row("`detail::lock_operation`, a part of it", sizeof(lock_operation));
    row("`detail::domain_state`: a domain", sizeof(detail::domain_state));
    row("`detail::buffer_state`: a buffer", sizeof(detail::buffer_state));
    row("`detail::claim`: an acquisition", sizeof(detail::claim));
    row("`detail::entry`: each buffer of it", sizeof(detail::entry));
}

void print_heap() {
    const auto s = std::make_unique<studio>(many);
    row("a buffer more", heap_of_each([&] { s->adopt(); }));
    row("a hold more, of 1 to 4 buffers",
        heap_of_a_hold(*s, [](studio& of, std::size_t i) -> guard { return try_lock(write(of.buffers[i])); }));
    row("a hold more, of 16 buffers",
        heap_of_a_hold(*s, [](studio& of, std::size_t) { return read_all(of, std::make_index_sequence<16>{}); }));

    // The records of holds that have ended are there to be used again: only a domain of its own allocates for waiters.
    const auto crowd = std::make_unique<studio>(1);
    crowd->adopt();
    guard held = try_lock(write(crowd->buffers[0]));
    const std::size_t each = heap_of_each([&] {
        for (std::size_t i = 0; i < many; ++i) { wait_for(crowd->buffers[0]); }
    });
    row("a waiter more: a coroutine that waits for one buffer", each);
    row("of that, the coroutine's frame", waiting::promise_type::frame);
    held.unlock();
    while (crowd->loop.poll()) {}
}

} // namespace

int main() {
    std::printf("| %s | bytes |\n|---|---|\n", build_name);
    print_objects();
    print_inside();
    print_heap();
}
