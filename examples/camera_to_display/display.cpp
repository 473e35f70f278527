// SPDX-License-Identifier: MIT
// When has a display finished with a buffer?
//
// Not when the buffer is on the screen: that is when it begins to read it, over and over. It has finished when another
// buffer has taken its place. The fence of a flip signals at that moment, so the fence of each flip unlocks the picture
// that was on the screen before it, and the last picture is unlocked when the display has been restored.
#include "display.hpp"

#include "devices/kms_output.hpp"
#include "picture.hpp"

#include <dmasync/fence.hpp>
#include <dmasync/guard.hpp>
#include <dmasync/lock.hpp>
#include <dmasync/wait.hpp>

#include <cstddef>
#include <utility>

namespace camera_to_display {
namespace {

/// A picture that the display reads.
struct picture_on_screen {
    std::size_t number = 0;
    dmasync::guard held; // empty before the first picture
};

dmasync::task<> wait_for_flip(const session& s, devices::kms_output& output) {
    do { co_await dmasync::readable(s.loop, s.card.fd(), s.patience()); } while (!output.flipped());
}

/// The camera may wait for its lock from now on; it gets it when the fence has signalled.
dmasync::task<> give_back(session& s, picture_on_screen replaced, dmasync::unique_fd fence) {
    if (!replaced.held) { co_return; }
    replaced.held.release_on(dmasync::fence::adopt(std::move(fence)));
    co_await s.idle.send(replaced.number);
}

} // namespace

dmasync::task<> show_pictures(session& s) {
    picture_on_screen current; // before the output: unlocked after the output has let go of it
    devices::kms_output output{s.card, picture_width, picture_height};
    for (;;) {
        auto next = co_await s.drawn.receive();
        if (!next) { break; }
        const shared_picture& p = s.pictures[*next];
        auto held = co_await lock(dma_read(p.buffer), s.options("display"));
        held.hand_to_device();
        dmasync::unique_fd fence = output.show(p.framebuffer);
        picture_on_screen replaced = std::exchange(current, {*next, std::move(held)});
        co_await give_back(s, std::move(replaced), std::move(fence));
        co_await wait_for_flip(s, output);
        s.counted.note_shown(s.loop.now());
    }
    s.idle.close();
}

} // namespace camera_to_display
