// SPDX-License-Identifier: MIT
#include "stages.hpp"

#include "pattern.hpp"

#include <dmasync/lock.hpp>

namespace transcode {

dmasync::task<> produce(workshop& w) {
    for (std::uint32_t number = 0; number < w.pictures; ++number) {
        auto index = co_await w.unused.receive();
        auto held = co_await lock(write(w.sources[*index]), w.options("producer"));
        draw_pattern(held.bytes<0>(), number);
        held.unlock();
        co_await w.drawn.send(picture{*index, number});
    }
    w.drawn.close();
}

dmasync::task<> consume(workshop& w, verdict& result) {
    for (;;) {
        auto next = co_await w.converted.receive();
        if (!next) { break; }
        auto held = co_await lock(read(w.results[next->index]), w.options("consumer"));
        ++(is_converted_pattern(held.bytes<0>(), next->number) ? result.right : result.wrong);
        result.checksum = checksum_of(held.bytes<0>());
        held.unlock();
        co_await w.empty.send(next->index);
    }
}

} // namespace transcode
