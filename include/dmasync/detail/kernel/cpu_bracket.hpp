// SPDX-License-Identifier: MIT
#pragma once
/// \file cpu_bracket.hpp  Tells the kernel when a dma-buf passes between the CPU and devices: as often as needed, no more.

#include <dmasync/access_mode.hpp>
#include <dmasync/detail/sync/threading.hpp>
#include <dmasync/dma_buf.hpp>
#include <dmasync/version.hpp>

#include <atomic>
#include <cstdint>
#include <mutex>
#include <system_error>

namespace dmasync::inline DMASYNC_ABI::detail {

/// The CPU's view of one dma-buf: a bracket is opened (DMA_BUF_IOCTL_SYNC, START) before the CPU looks at what a device
/// wrote, and closed (END) before a device looks at what the CPU wrote.
///
///   next access   | needs                                                      | afterwards
///   --------------|------------------------------------------------------------|----------------------
///   CPU read      | START for reading, if the view is stale                     | fresh
///   CPU write     | START for writing, unless one is open and the view fresh    | fresh, open for writing
///   device read   | END, if a bracket is open                                   | closed
///   device write  | END, if a bracket is open                                   | closed, stale
///
/// A view is stale at first, and after a device's write. A bracket for reading is closed before one for writing is
/// opened, so that each END has a START of its own direction: the exporter cleans what was announced, nothing else.
/// The state changes after the kernel has answered: readers that share a buffer either find its bracket open or wait
/// for the thread that is opening it.
/// Threads: any that hold the buffer with the access announced.
/// Source:  S8, S14; kernel Documentation/driver-api/dma-buf.rst, "CPU access to DMA buffer objects".
class cpu_bracket {
public:
    /// What a hold with access `a` needs before it may begin.
    /// Errors: what the kernel says; the state is as before then.
    /// `told` counts the requests to the kernel.
    [[nodiscard]] std::error_code enter(int fd, access_mode a, std::uint64_t& told) noexcept {
        if (is_prepared(state_.load(std::memory_order_acquire), a)) { return {}; } // with change
        const std::lock_guard guard{kernel_};
        return is_dma(a) ? give_to_device(fd, a, told) : give_to_cpu(fd, a, told);
    }
    [[nodiscard]] std::error_code enter(int fd, access_mode a) noexcept {
        std::uint64_t uncounted = 0;
        return enter(fd, a, uncounted);
    }

    /// A bracket of one hold's own, whatever the state: to be ended by `leave_always`. For writers outside the library.
    [[nodiscard]] static std::error_code enter_always(int fd, access_mode a) noexcept {
        return dma_buf::start_cpu_access(fd, a);
    }
    [[nodiscard]] static std::error_code leave_always(int fd, access_mode a) noexcept {
        return dma_buf::end_cpu_access(fd, a);
    }

    /// A hold lost its buffer without having ended its own bracket: the next device does it, as if it had been a shared
    /// one. Never blocks.
    void inherit(access_mode a) noexcept {
        state_.fetch_or(is_write(a) ? open_write : open_read, std::memory_order_release); // with enter
    }

    /// Closes what is open. For the end of the buffer: nothing is left that could be told of an error.
    void close(int fd) noexcept {
        const std::lock_guard guard{kernel_};
        std::uint64_t uncounted = 0;
        static_cast<void>(end_open(fd, uncounted));
    }

private:
    using bits = std::uint8_t;
    static constexpr bits stale = 1;      // what the CPU's caches have may be older than the memory
    static constexpr bits open_read = 2;  // a bracket for reading is open
    static constexpr bits open_write = 4; // one for reading and writing is
    static constexpr bits open = open_read | open_write;

    [[nodiscard]] static bool is_prepared(bits s, access_mode a) noexcept {
        if (is_dma(a)) { return (s & open) == 0 && (!is_write(a) || (s & stale) != 0); }
        return (s & stale) == 0 && (!is_write(a) || (s & open_write) != 0);
    }

    [[nodiscard]] std::error_code give_to_device(int fd, access_mode a, std::uint64_t& told) noexcept {
        const std::error_code ec = end_open(fd, told);
        if (!ec && is_write(a)) { change(0, stale); }
        return ec;
    }

    [[nodiscard]] std::error_code give_to_cpu(int fd, access_mode a, std::uint64_t& told) noexcept {
        if (is_prepared(state_.load(std::memory_order_relaxed), a)) { return {}; } // by a faster thread
        std::error_code ec = end_open(fd, told);
        if (!ec) {
            ++told;
            ec = dma_buf::start_cpu_access(fd, a);
        }
        if (!ec) { change(stale, is_write(a) ? open_write : open_read); }
        return ec;
    }

    [[nodiscard]] std::error_code end_open(int fd, std::uint64_t& told) noexcept {
        const bits s = state_.load(std::memory_order_acquire); // with inherit
        if ((s & open) == 0) { return {}; }
        ++told;
        const std::error_code ec =
            dma_buf::end_cpu_access(fd, (s & open_write) != 0 ? access_mode::write : access_mode::read);
        if (!ec) { change(open, 0); }
        return ec;
    }

    void change(bits off, bits on) noexcept {
        // release, with enter; `on` first: in between the state asks for more than it has to
        state_.fetch_or(on, std::memory_order_release);
        state_.fetch_and(static_cast<bits>(~off), std::memory_order_release);
    }

    mutex kernel_; // held while the kernel is told
    atomic<bits> state_{stale};
};

} // namespace dmasync::inline DMASYNC_ABI::detail
