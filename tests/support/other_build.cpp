// SPDX-License-Identifier: MIT
#include <support/other_build.hpp>

#include <dmasync/domain.hpp>
#include <dmasync/lock.hpp>
#include <dmasync/manual_loop.hpp>

using namespace dmasync;

const void* support::other_category() noexcept { return &error_category(); }

bool support::other_library_locks() {
    manual_loop loop;
    domain media{loop};
    const buffer b = media.allocate(64, "b");
    const guard held = try_lock(write(b));
    return bool{held} && !try_lock(write(b));
}
