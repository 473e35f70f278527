// SPDX-License-Identifier: MIT
#pragma once
/// \file session.hpp  What the camera, the overlay and the display share: three pictures that go round.
///
///     idle -> camera -> captured -> overlay -> drawn -> display -> idle
///
/// A channel says whose turn it is; the lock sees to it that the one before has really finished.

#include "common/channel.hpp"
#include "devices/drm_card.hpp"
#include "devices/dumb_buffer.hpp"
#include "devices/framebuffer.hpp"
#include "statistics.hpp"

#include <dmasync/buffer.hpp>
#include <dmasync/domain.hpp>
#include <dmasync/event_loop.hpp>
#include <dmasync/lock_options.hpp>
#include <dmasync/wait_options.hpp>

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <stop_token>
#include <vector>

namespace camera_to_display {

/// One is filled, one is shown, one is on the way from here to there.
inline constexpr std::size_t picture_count = 3;

/// A picture's memory, as the card, the screen and all stages know it.
struct shared_picture {
    devices::dumb_buffer memory;
    devices::framebuffer framebuffer;
    dmasync::buffer buffer;
};

struct session_settings {
    std::uint64_t frames = 0;                  ///< to be captured; 0 for no limit
    std::chrono::milliseconds overlay_delay{}; ///< how much longer than needed the overlay keeps a picture
};

struct session {
    session(dmasync::event_loop& l, const devices::drm_card& c, const session_settings& how, std::stop_token on_stop);

    [[nodiscard]] dmasync::lock_options options(dmasync::name who) const noexcept {
        return {.stop = stop, .name = who};
    }

    /// To wait for a device: it is broken when nothing comes of it for so long.
    [[nodiscard]] dmasync::wait_options patience() const noexcept {
        return {.deadline = loop.now() + std::chrono::seconds{10}, .stop = stop};
    }

    dmasync::event_loop& loop;
    const devices::drm_card& card;
    const session_settings wanted;
    const std::stop_token stop;

    dmasync::domain media{loop, {.name = "media"}};
    std::vector<shared_picture> pictures;
    statistics counted;

    // Numbers of pictures. Each channel has room for all of them.
    common::channel<std::size_t> idle{picture_count, loop, loop, stop};
    common::channel<std::size_t> captured{picture_count, loop, loop, stop};
    common::channel<std::size_t> drawn{picture_count, loop, loop, stop};
};

} // namespace camera_to_display
