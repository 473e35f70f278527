// SPDX-License-Identifier: MIT
/// With DMASYNC_TRACE=0 there is no trace, and everything else is as it was.
#include <dmasync/dmasync.hpp>

#include <doctest/doctest.h>

#include <array>
#include <cstddef>

using namespace dmasync;

static_assert(DMASYNC_TRACE == 0 && !trace_is_compiled_in);

TEST_CASE("where the trace is not compiled in, nothing is recorded, and locks do what they do") {
    manual_loop loop;
    std::array<std::byte, 64> memory{};
    trace_recorder recorder;
    domain media{loop};
    media.trace_to(recorder);
    const buffer b = media.adopt(memory, "b");
    guard held = try_lock(write(b));
    CHECK(held);
    CHECK_FALSE(try_lock(read(b)));
    held.unlock();
    CHECK(recorder.collect().recorded == 0);
    CHECK(trace_timeline{recorder.collect()}.slices.empty());
}
