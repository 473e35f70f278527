// SPDX-License-Identifier: MIT
#pragma once
/// \file kernel.hpp  A kernel of the simulation's own: dma-bufs, fences, eventfds and epoll sets that live in memory.
///
/// tests/support/fake_dma_buf.hpp answers for fakes behind real descriptors; here the descriptors are made up as well, so
/// that a run makes no system call, costs microseconds, and a call that blocks hands over to another virtual thread.
/// kernel.cpp replaces ioctl, poll, ppoll, read, write, close, fcntl, mmap, ... for these descriptors; others are passed on.

#include <cstddef>
#include <cstdint>

namespace sim {

/// Forgets all descriptors, buffers and fences.
void start_kernel();

/// Open descriptors, all of them made up.
[[nodiscard]] std::size_t open_descriptors() noexcept;

/// STARTs that no END has followed.
[[nodiscard]] int open_brackets() noexcept;

/// A piece of a device's work, pending until it is ended: a number.
[[nodiscard]] int begin_work();
/// `error` 0 for a good end. Ending it twice changes nothing.
void end_work(int work, int error);
[[nodiscard]] bool is_pending(int work);
void end_all_work();

/// A new sync_file that stands for a piece of work.
[[nodiscard]] int make_sync_file(int work);

/// A new dma-buf. Returns: its number; the descriptor is closed by the caller.
[[nodiscard]] int make_dma_buf(int& fd);
/// One more descriptor of it.
[[nodiscard]] int open_dma_buf(int buffer);

/// A device begins to work on a dma-buf.
void add_work(int buffer, int work, bool writes);

/// How many uses by devices have begun, of all dma-bufs.
[[nodiscard]] std::uint64_t uses_so_far() noexcept;
/// Whether a device still is at work on a dma-buf, in the way of a reader or a writer, that was among the first `uses`.
[[nodiscard]] bool is_in_use(int buffer, bool for_writing, std::uint64_t uses);

/// The next `times` requests of this kind to the dma-buf fail.
void inject(int buffer, unsigned long request, int error, int times);
void forget_injections();

} // namespace sim
