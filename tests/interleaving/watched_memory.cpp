// SPDX-License-Identifier: MIT
#include "watched_memory.hpp"

#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <new>
#include <string>

#include <dlfcn.h>
#include <unistd.h>

namespace interleave {

namespace {

constexpr std::size_t granule = 8; // bytes that share a cell

/// The latest accesses to eight bytes.
struct cell {
    std::uintptr_t address;
    std::uint32_t execution; // others are of the past
    bool freed;
    std::uint8_t latest_thread; // the latest access, to pass over those that tell nothing new
    std::uint16_t latest_time;
    std::uint8_t latest_read, latest_written; // bytes
    std::array<std::uint8_t, granule> writer;
    std::array<std::uint16_t, granule> written;
    std::array<std::array<std::uint16_t, granule>, max_threads> read;
    std::array<std::array<std::uintptr_t, 2>, max_threads> code; // where each thread has last read, and written
};

constexpr std::size_t cells_size = std::size_t{1} << 15U;
constexpr std::size_t arena_size = std::size_t{1} << 20U;

cell* const cells = static_cast<cell*>(std::calloc(cells_size, sizeof(cell)));
std::byte* const arena = static_cast<std::byte*>(std::aligned_alloc(4096, arena_size));
std::size_t arena_used = 0;
std::size_t blocks = 0;
std::uint32_t execution = 0;
const present* viewer = nullptr;

/// In front of every block of the arena.
struct alignas(16) block {
    std::size_t size;
    bool freed;
};

cell& cell_of(std::uintptr_t address) noexcept {
    std::size_t at = (address / granule) * 0x9E3779B97F4A7C15U >> 49U;
    for (std::size_t n = 0; n < cells_size; ++n, at = (at + 1) % cells_size) {
        cell& c = cells[at];
        if (c.execution != execution) {
            std::memset(&c, 0, sizeof c);
            c.execution = execution;
            c.address = address;
            return c;
        }
        if (c.address == address) { return c; }
    }
    viewer = nullptr;
    fail("the checker has no room for so much memory");
}

std::string place(std::uintptr_t code) {
    Dl_info info{};
    if (::dladdr(reinterpret_cast<void*>(code), &info) == 0) { return "?"; }
    char command[512];
    std::snprintf(command, sizeof command, "addr2line -s -f -C -i -p -e '%s' 0x%zx 2>/dev/null", info.dli_fname,
                  static_cast<std::size_t>(code - 1 - reinterpret_cast<std::uintptr_t>(info.dli_fbase)));
    std::string text;
    if (FILE* out = ::popen(command, "r"); out != nullptr) {
        char line[1024];
        while (std::fgets(line, sizeof line, out) != nullptr) { text += std::string{"      "} + line; }
        ::pclose(out);
    }
    return text.empty() ? "      ?\n" : text;
}

[[noreturn]] void fail_access(const cell& c, const char* what, unsigned other, bool wrote,
                              std::uintptr_t code) noexcept {
    const unsigned me = viewer->thread;
    viewer = nullptr;
    fail(std::string{what} + ": thread " + std::to_string(me) + " at\n" + place(code) + "    and thread " +
         std::to_string(other) + " at\n" + place(c.code[other][wrote ? 1 : 0]));
}

bool is_known(unsigned thread, std::uint16_t time) noexcept { return time <= viewer->known[thread]; }

void look_for_race(cell& c, std::size_t byte, bool writes, std::uintptr_t code) noexcept {
    if (!is_known(c.writer[byte], c.written[byte])) {
        fail_access(c, writes ? "data race, two writes" : "data race, a read and a write", c.writer[byte], true, code);
    }
    for (unsigned t = 0; writes && t < max_threads; ++t) {
        if (!is_known(t, c.read[t][byte])) { fail_access(c, "data race, a write and a read", t, false, code); }
    }
}

void touch_cell(cell& c, unsigned bytes, bool writes, std::uintptr_t code) noexcept {
    const unsigned me = viewer->thread;
    const std::uint16_t now = viewer->known[me];
    if (c.freed) { fail_access(c, "access to memory that was freed", c.writer[0], true, code); }
    if (c.latest_thread != me || c.latest_time != now) {
        c.latest_thread = static_cast<std::uint8_t>(me);
        c.latest_time = now;
        c.latest_read = c.latest_written = 0;
    }
    const unsigned known = writes ? c.latest_written : c.latest_read | c.latest_written;
    if ((bytes & ~known) == 0) { return; }
    for (std::size_t i = 0; i < granule; ++i) {
        if ((bytes >> i & 1U) == 0) { continue; }
        look_for_race(c, i, writes, code);
        if (writes) {
            c.writer[i] = static_cast<std::uint8_t>(me);
            c.written[i] = now;
        } else {
            c.read[me][i] = now;
        }
    }
    (writes ? c.latest_written : c.latest_read) |= static_cast<std::uint8_t>(bytes);
    c.code[me][writes ? 1 : 0] = code;
}

void touch(const void* p, std::size_t size, bool writes, void* code) noexcept {
    if (viewer == nullptr || viewer->alone) { return; }
    auto at = reinterpret_cast<std::uintptr_t>(p);
    const std::uintptr_t end = at + size;
    while (at < end) {
        const std::uintptr_t base = at / granule * granule;
        const std::size_t first = at - base;
        const std::size_t last = end - base < granule ? end - base : granule;
        touch_cell(cell_of(base), (1U << last) - (1U << first), writes, reinterpret_cast<std::uintptr_t>(code));
        at = base + granule;
    }
}

bool is_in_arena(const void* p) noexcept { return p >= arena && p < arena + arena_size; }

void* allocate(std::size_t size, std::size_t alignment) noexcept {
    if (viewer == nullptr) { return std::aligned_alloc(alignment, (size + alignment - 1) / alignment * alignment); }
    std::size_t at = (arena_used + sizeof(block) + alignment - 1) / alignment * alignment;
    if (at + size > arena_size) {
        viewer = nullptr;
        fail("the checker has no room for so many allocations");
    }
    // Nothing is used a second time: what comes late finds that it is freed.
    arena_used = (at + size + granule - 1) / granule * granule;
    ::new (static_cast<void*>(arena + at - sizeof(block))) block{size, false};
    std::memset(arena + at, 0xCD, size);
    ++blocks;
    return arena + at;
}

void release(void* p, void* code) noexcept {
    if (!is_in_arena(p)) {
        std::free(p);
        return;
    }
    auto* b = reinterpret_cast<block*>(static_cast<std::byte*>(p) - sizeof(block));
    if (b->freed) {
        viewer = nullptr;
        fail("memory freed twice\n" + place(reinterpret_cast<std::uintptr_t>(code)));
    }
    b->freed = true;
    --blocks;
    touch(p, b->size, true, code); // as if written: its users did so before
    const auto begin = reinterpret_cast<std::uintptr_t>(p);
    for (std::uintptr_t at = begin / granule * granule; viewer != nullptr && at < begin + b->size; at += granule) {
        cell_of(at).freed = true;
    }
}

} // namespace

void begin_watching() noexcept {
    ++execution;
    arena_used = blocks = 0;
}

void watch_as(const present* p) noexcept { viewer = p; }

std::size_t blocks_left() noexcept { return blocks; }

} // namespace interleave

using interleave::allocate;
using interleave::release;
using interleave::touch;

namespace {
constexpr std::size_t usual = 16;
} // namespace

void* operator new(std::size_t n) { return allocate(n, usual); }
void* operator new[](std::size_t n) { return allocate(n, usual); }
void* operator new(std::size_t n, const std::nothrow_t&) noexcept { return allocate(n, usual); }
void* operator new[](std::size_t n, const std::nothrow_t&) noexcept { return allocate(n, usual); }
void* operator new(std::size_t n, std::align_val_t a) { return allocate(n, static_cast<std::size_t>(a)); }
void* operator new(std::size_t n, std::align_val_t a, const std::nothrow_t&) noexcept {
    return allocate(n, static_cast<std::size_t>(a));
}
void operator delete(void* p) noexcept { release(p, __builtin_return_address(0)); }
void operator delete[](void* p) noexcept { release(p, __builtin_return_address(0)); }
void operator delete(void* p, std::size_t) noexcept { release(p, __builtin_return_address(0)); }
void operator delete[](void* p, std::size_t) noexcept { release(p, __builtin_return_address(0)); }
void operator delete(void* p, std::align_val_t) noexcept { release(p, __builtin_return_address(0)); }
void operator delete(void* p, std::size_t, std::align_val_t) noexcept { release(p, __builtin_return_address(0)); }
void operator delete(void* p, std::align_val_t, const std::nothrow_t&) noexcept {
    release(p, __builtin_return_address(0));
}

// What the compiler calls.
#define DMASYNC_WATCH(size)                                                                                            \
    void __tsan_read##size(void* p) { touch(p, size, false, __builtin_return_address(0)); }                            \
    void __tsan_write##size(void* p) { touch(p, size, true, __builtin_return_address(0)); }                            \
    void __tsan_unaligned_read##size(void* p) { touch(p, size, false, __builtin_return_address(0)); }                  \
    void __tsan_unaligned_write##size(void* p) { touch(p, size, true, __builtin_return_address(0)); }                  \
    void __tsan_volatile_read##size(void* p) { touch(p, size, false, __builtin_return_address(0)); }                   \
    void __tsan_volatile_write##size(void* p) { touch(p, size, true, __builtin_return_address(0)); }

extern "C" {
DMASYNC_WATCH(1)
DMASYNC_WATCH(2)
DMASYNC_WATCH(4)
DMASYNC_WATCH(8)
DMASYNC_WATCH(16)
void __tsan_init() {}
void __tsan_func_entry(void*) {}
void __tsan_func_exit() {}
void __tsan_read_range(void* p, std::size_t n) { touch(p, n, false, __builtin_return_address(0)); }
void __tsan_write_range(void* p, std::size_t n) { touch(p, n, true, __builtin_return_address(0)); }
void __tsan_vptr_update(void** p, void* v) { // often to what it is already, by a destructor
    touch(static_cast<void*>(p), sizeof *p, *p != v, __builtin_return_address(0));
}
void __tsan_vptr_read(void** p) { touch(static_cast<void*>(p), sizeof *p, false, __builtin_return_address(0)); }
// The standard library's own counts of references, within one thread at a time here.
int __tsan_atomic32_fetch_add(volatile int* p, int v, int) { return __atomic_fetch_add(p, v, __ATOMIC_SEQ_CST); }
int __tsan_atomic32_fetch_sub(volatile int* p, int v, int) { return __atomic_fetch_sub(p, v, __ATOMIC_SEQ_CST); }
char __tsan_atomic8_load(const volatile char* p, int) { return __atomic_load_n(p, __ATOMIC_SEQ_CST); }
}
