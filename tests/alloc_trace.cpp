// SPDX-License-Identifier: MIT
/// A lock that is traced allocates nothing: what it is recorded in has been there from the start.
#include <dmasync/domain.hpp>
#include <dmasync/epoll_loop.hpp>
#include <dmasync/lock.hpp>
#include <dmasync/observe/trace.hpp>

#include <doctest/doctest.h>
#include <support/replaced_new.hpp>

#include <array>
#include <atomic>
#include <cstddef>

namespace {
std::atomic<long> allocations{0};
} // namespace

void* support::allocate(std::size_t size, std::size_t alignment) noexcept {
    ++allocations;
    return allocate_from_heap(size, alignment);
}

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
