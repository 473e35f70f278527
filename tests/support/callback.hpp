// SPDX-License-Identifier: MIT
#pragma once
/// \file callback.hpp  Work, timers and watches that call whatever a test gives them, and count.

#include <dmasync/event_loop.hpp>

#include <functional>
#include <utility>

namespace support {

/// `Base`: work, timer or fd_watch.
template <class Base>
class callback : public Base {
public:
    explicit callback(std::function<void()> f = {}) : Base{called}, f_{std::move(f)} {}
    callback(const callback&) = delete;
    callback& operator=(const callback&) = delete;

    int runs = 0;     // how often it was called to run
    int discards = 0; // how often because its loop went away

private:
    static void called(dmasync::work& w, dmasync::disposition d) noexcept {
        auto& self = static_cast<callback&>(w);
        ++(d == dmasync::disposition::run ? self.runs : self.discards);
        if (d == dmasync::disposition::run && self.f_) { self.f_(); }
    }

    std::function<void()> f_;
};

using posted = callback<dmasync::work>;
using timed = callback<dmasync::timer>;

/// Waits for a descriptor.
struct watch : callback<dmasync::fd_watch> {
    watch(int descriptor, short bits, std::function<void()> f = {}) : callback{std::move(f)} {
        fd = descriptor;
        events = bits;
    }
};

} // namespace support
