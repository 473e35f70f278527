// SPDX-License-Identifier: MIT
#include "frame_pool.hpp"

#include <string>
#include <utility>

namespace pipeline {

frame_pool::frame_pool(dmasync::domain& owner, std::string_view name, const shape& frames, dmasync::event_loop& taker,
                       std::stop_token stop)
    : free_{frames.count, taker, taker, std::move(stop)} {
    for (std::size_t i = 0; i < frames.count; ++i) {
        const std::string label = std::string{name} + ' ' + std::to_string(i);
        buffers_.push_back(owner.allocate(frames.bytes, std::string_view{label}));
    }
    for (const dmasync::buffer& b : buffers_) { give_back(&b); }
}

dmasync::task<shared_frame> frame_pool::take() {
    const auto unused = co_await free_.receive();
    co_return shared_frame{*unused, [this](const dmasync::buffer* used) { give_back(used); }};
}

void frame_pool::give_back(const dmasync::buffer* used) noexcept {
    try {
        static_cast<void>(free_.try_send(used));
    } catch (const std::system_error&) {} // stopped: it is not going to be taken
}

} // namespace pipeline
