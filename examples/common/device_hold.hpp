// SPDX-License-Identifier: MIT
#pragma once
/// \file device_hold.hpp  Holds of buffers that a device is working on. Stands in for what the library is going to have:
/// domain::import of a dma-buf, guard::hand_to_device and guard::release_on.

#include <dmasync/buffer.hpp>
#include <dmasync/domain.hpp>
#include <dmasync/event_loop.hpp>
#include <dmasync/guard.hpp>
#include <dmasync/memory.hpp>
#include <dmasync/name.hpp>
#include <dmasync/task.hpp>
#include <dmasync/unique_fd.hpp>
#include <dmasync/wait.hpp>

#include <cstddef>
#include <system_error>
#include <utility>

namespace common {

/// A dma-buf that can be locked. The domain's buffer refers to its mapping.
class shared_memory {
public:
    shared_memory(dmasync::domain& owner, dmasync::unique_fd dma_buf, std::size_t bytes, dmasync::name name)
        : dma_buf_{std::move(dma_buf)}, cpu_{map(dma_buf_.get(), bytes)}, buffer_{owner.adopt(cpu_.bytes(), name)} {}

    [[nodiscard]] int fd() const noexcept { return dma_buf_.get(); }
    [[nodiscard]] const dmasync::buffer& buffer() const noexcept { return buffer_; }

private:
    static dmasync::mapping map(int fd, std::size_t bytes) {
        std::error_code ec;
        dmasync::mapping m = dmasync::mapping::map(fd, bytes, ec);
        if (ec) { throw std::system_error{ec, "mmap of a dma-buf"}; }
        return m;
    }

    dmasync::unique_fd dma_buf_;
    dmasync::mapping cpu_;
    dmasync::buffer buffer_;
};

/// From now until unlock() a device works on the buffers.
inline void hand_to_device(const dmasync::guard&) noexcept {}

inline dmasync::detail::detached unlock_after(dmasync::guard held, dmasync::unique_fd fence,
                                              dmasync::event_loop& loop) {
    co_await dmasync::readable(loop, fence.get());
    held.unlock();
}

/// Gives the guard's buffers back once the device's fence has signalled.
inline void release_on(dmasync::guard held, dmasync::unique_fd fence, dmasync::event_loop& loop) {
    unlock_after(std::move(held), std::move(fence), loop);
}

} // namespace common
