// SPDX-License-Identifier: MIT
/// A lock that is traced allocates nothing: what it is recorded in has been there from the start.
#include <dmasync/domain.hpp>
#include <dmasync/epoll_loop.hpp>
#include <dmasync/lock.hpp>
#include <dmasync/trace.hpp>

#include <doctest/doctest.h>

#include <array>
#include <atomic>
#include <cstddef>
#include <cstdlib>
#include <new>

namespace {
std::atomic<long> allocations{0};
} // namespace

// Not inlined: GCC would see free() take what it knows to come from new.
// NOLINTBEGIN(cppcoreguidelines-no-malloc): this is what replaces new
[[gnu::noinline]] void* operator new(std::size_t size) {
    ++allocations;
    void* p = std::malloc(size);
    if (p == nullptr) { std::abort(); }
    return p;
}
[[gnu::noinline]] void operator delete(void* p) noexcept { std::free(p); }
[[gnu::noinline]] void operator delete(void* p, std::size_t) noexcept { std::free(p); }
// NOLINTEND(cppcoreguidelines-no-malloc)

using namespace dmasync;

TEST_CASE("a lock that is traced allocates nothing, be the ring new or full") {
    epoll_loop loop;
    trace_recorder recorder{{.records = 64}};
    std::array<std::byte, 64> memory{};
    domain media{loop};
    const buffer b = media.adopt(memory, "b");
    media.trace_to(recorder);
    const long before = allocations;
    for (int i = 0; i < 1000; ++i) {
        guard held = try_lock(write(b), lock_options{.name = "traced"});
        held.unlock();
    }
    CHECK(allocations == before);
    CHECK(recorder.collect().recorded == 2001);
}
