// SPDX-License-Identifier: MIT
#pragma once
/// \file workshop.hpp  What producer, converter and consumer share: memory of a dma-heap, and whose turn it is with it.
///
///     unused -> producer -> drawn -.              .-> unused
///                                  |-> converter -|
///     empty ----------------------'              '-> converted -> consumer -> empty

#include "common/channel.hpp"
#include "devices/dma_heap.hpp"

#include <dmasync/buffer.hpp>
#include <dmasync/domain.hpp>
#include <dmasync/event_loop.hpp>
#include <dmasync/lock_options.hpp>
#include <dmasync/wait_options.hpp>

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <stop_token>
#include <string>
#include <vector>

namespace transcode {

/// On each side one is worked on by the device while another is drawn, or looked at.
inline constexpr std::size_t buffers_per_side = 2;

/// A picture on its way.
struct picture {
    std::size_t index = 0;    // of the buffer that it is in
    std::uint32_t number = 0; // what it shows
};

struct workshop {
    workshop(dmasync::event_loop& l, const std::string& heap, std::uint32_t count, std::stop_token on_stop);

    [[nodiscard]] dmasync::lock_options options(dmasync::name who) const noexcept {
        return {.stop = stop, .name = who};
    }

    /// To wait for a device: it is broken when nothing comes of it for so long.
    [[nodiscard]] dmasync::wait_options patience() const noexcept {
        return {.deadline = loop.now() + std::chrono::seconds{10}, .stop = stop};
    }

    dmasync::event_loop& loop;
    const std::uint32_t pictures; // to be converted
    const std::stop_token stop;

    dmasync::domain media{loop, {.name = "media"}};
    std::vector<dmasync::buffer> sources;
    std::vector<dmasync::buffer> results;

    // Each has room for all buffers of its side.
    common::channel<std::size_t> unused{buffers_per_side, loop, loop, stop};
    common::channel<picture> drawn{buffers_per_side, loop, loop, stop};
    common::channel<std::size_t> empty{buffers_per_side, loop, loop, stop};
    common::channel<picture> converted{buffers_per_side, loop, loop, stop};
};

} // namespace transcode
