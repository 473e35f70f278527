// SPDX-License-Identifier: MIT
// A foreign program, built in every way in which dmasync can be used.
#include <dmasync/dmasync.hpp>

#include <cstdio>

static dmasync::task<bool> lock_both(dmasync::buffer a, dmasync::buffer b) {
    const auto held = co_await lock(read(a), write(b));
    co_return held.bytes(a).size() == 4096;
}

int main() {
    const auto made = dmasync::make_event_loop();
    dmasync::domain media{*made.loop};
    const bool locked = made.loop->run(lock_both(media.allocate(4096), media.allocate(4096)));
    std::printf("dmasync %s on %s: %s\n", dmasync::version.data(), made.kind.data(), locked ? "locked" : "not locked");
    return locked ? 0 : 1;
}
