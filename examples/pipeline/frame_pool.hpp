// SPDX-License-Identifier: MIT
#pragma once
/// \file frame_pool.hpp  A fixed number of frame buffers, used again and again.

#include "channel.hpp"

#include <dmasync/buffer.hpp>
#include <dmasync/domain.hpp>
#include <dmasync/event_loop.hpp>
#include <dmasync/task.hpp>

#include <cstddef>
#include <memory>
#include <stop_token>
#include <string_view>
#include <vector>

namespace pipeline {

/// A frame on its way through the stages. When the last of them has dropped it, its buffer can be taken again: that is
/// what holds ingest back when a later stage is slow. The lock still decides which stage may touch the bytes.
using shared_frame = std::shared_ptr<const dmasync::buffer>;

/// Threads: frames may be dropped on any; one coroutine at a time waits for one, on the thread of the taker's loop.
/// Lifetime: outlives its frames.
class frame_pool {
public:
    struct shape {
        std::size_t count = 0;
        std::size_t bytes = 0;
    };

    /// Its buffers are called "`name` 0", "`name` 1", ... Throws std::system_error without memory.
    frame_pool(dmasync::domain& owner, std::string_view name, const shape& frames, dmasync::event_loop& taker,
               std::stop_token stop);

    /// Waits until a buffer is free. Errors: as channel::receive.
    [[nodiscard]] dmasync::task<shared_frame> take();

private:
    void give_back(const dmasync::buffer* used) noexcept;

    std::vector<dmasync::buffer> buffers_;
    channel<const dmasync::buffer*> free_; // has room for all of them
};

} // namespace pipeline
