// SPDX-License-Identifier: MIT
// How does the CPU get its turn between two devices, in the memory that they use, without a copy?
#include "overlay.hpp"

#include "picture.hpp"
#include "stamp.hpp"

#include <dmasync/lock.hpp>
#include <dmasync/wait.hpp>

#include <cstddef>
#include <cstdint>
#include <span>

namespace camera_to_display {
namespace {

pixel_view<std::uint32_t> view(std::span<std::byte> bytes, const shared_picture& p) noexcept {
    return {.first = reinterpret_cast<std::uint32_t*>(bytes.data()),
            .width = picture_width,
            .height = picture_height,
            .stride = p.memory.bytes_per_line() / sizeof(std::uint32_t)};
}

} // namespace

dmasync::task<> draw_overlays(session& s) {
    for (std::uint32_t number = 1;; ++number) {
        auto next = co_await s.captured.receive();
        if (!next) { break; }
        const shared_picture& p = s.pictures[*next];
        auto held = co_await lock(read_write(p.buffer), s.options("overlay"));
        draw_stamp(view(held.bytes<0>(), p), number);
        co_await dmasync::sleep_for(s.loop, s.wanted.overlay_delay);
        if (held.unlock()) { // the lease ran out: others have had the picture meanwhile
            s.counted.note_lost();
            co_await s.idle.send(*next);
        } else {
            co_await s.drawn.send(*next);
        }
    }
    s.drawn.close();
}

} // namespace camera_to_display
