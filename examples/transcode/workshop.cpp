// SPDX-License-Identifier: MIT
#include "workshop.hpp"

#include "pattern.hpp"

#include <string_view>
#include <utility>

namespace transcode {
namespace {

std::vector<dmasync::buffer> allocate(devices::dma_heap& heap, dmasync::domain& media, const std::string& name) {
    std::vector<dmasync::buffer> all;
    for (std::size_t i = 0; i < buffers_per_side; ++i) {
        const std::string label = name + ' ' + std::to_string(i);
        all.push_back(media.import(heap.allocate(picture_bytes), std::string_view{label}));
    }
    return all;
}

} // namespace

workshop::workshop(dmasync::event_loop& l, const std::string& heap, std::uint32_t count, std::stop_token on_stop)
    : loop{l}, pictures{count}, stop{std::move(on_stop)} {
    devices::dma_heap memory{heap};
    sources = allocate(memory, media, "source");
    results = allocate(memory, media, "result");
    for (std::size_t i = 0; i < buffers_per_side; ++i) {
        static_cast<void>(unused.try_send(i));
        static_cast<void>(empty.try_send(i));
    }
}

} // namespace transcode
