// SPDX-License-Identifier: MIT
// What memory does this machine offer to share with devices, and why not more?
#include <dmasync/dmasync.hpp>

#include <cstdio>

int main() {
    using namespace dmasync;
    const made_event_loop made = make_event_loop();
    domain media{*made.loop};
    for (const memory_kind kind : {memory_kind::dma_heap, memory_kind::udmabuf, memory_kind::memfd}) {
        std::error_code ec;
        const buffer b = media.allocate(640 * 480 * 4, "frame", {.from = kind}, ec);
        const auto remedy = b ? std::string_view{} : remedy_for(kind, ec);
        std::printf("%-9s %s%s%.*s\n", std::string{to_string(kind)}.c_str(), b ? "yes" : ec.message().c_str(),
                    remedy.empty() ? "" : ": ", static_cast<int>(remedy.size()), remedy.data());
    }
    const buffer best = media.allocate(640 * 480 * 4, "frame");
    std::printf("allocate() takes %s\n", std::string{to_string(best.memory())}.c_str());
}
