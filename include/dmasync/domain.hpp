// SPDX-License-Identifier: MIT
#pragma once
/// \file domain.hpp  Buffers that can be locked together.

#include <dmasync/allocation.hpp>
#include <dmasync/buffer.hpp>
#include <dmasync/detail/domain/buffers.hpp>
#include <dmasync/detail/domain/callbacks.hpp>
#include <dmasync/detail/domain/observation.hpp>
#include <dmasync/detail/domain/state.hpp>
#include <dmasync/event_loop.hpp>
#include <dmasync/memory.hpp>
#include <dmasync/name.hpp>
#include <dmasync/observe/trace.hpp>
#include <dmasync/version.hpp>

#include <cstddef>
#include <span>
#include <string>
#include <system_error>
#include <utility>

namespace dmasync::inline DMASYNC_ABI {

struct domain_snapshot;

/// Owns the buffers that may stand in one set, and the policy by which they are granted (kernel: ww_class).
///
/// Its event loop looks after its leases, and resumes its waiters unless they ask for another; that one looks after them, too. Several domains
/// do not slow each other down; a set cannot span them.
/// Threads: members from any. Destroy it on its loop's thread, or where no other thread calls it.
/// Lifetime: its loop outlives it, and calls on other threads that began to lock or unlock before it was destroyed and
/// still run; threads blocked in `blocking_lock` do not count. Its buffers and guards may outlive both: buffers are closed
/// then, every waiter completes with `errc::closed`, a holder goes on until it unlocks, and leases end no more.
class domain {
public:
    explicit domain(event_loop& loop, domain_options options = {})
        : state_{detail::callbacks::make_domain(loop, std::move(options))} {}
    domain(const domain&) = delete;
    domain& operator=(const domain&) = delete;
    ~domain() { detail::buffers::close_all(*state_); }

    /// Zeroed memory that is shareable by its descriptor: a dma-buf where the machine offers one, from a dma-heap or by
    /// udmabuf, else a memfd. `buffer::memory()` says which; `options` choose, and say why it was not a better one.
    /// Units:  bytes, more than none. The memory has whole pages; `bytes()` has as many as asked for.
    /// Errors: `errc::not_a_buffer` for no bytes, and when the last source gave less or something else; what that source
    /// said: open(2), ioctl(2), memfd_create(2), ftruncate(2) or mmap(2); `errc::out_of_memory`. The buffer is empty then.
    [[nodiscard]] buffer allocate(std::size_t size, dmasync::name name = {}) {
        return allocate(size, name, allocate_options{}, nullptr);
    }
    [[nodiscard]] buffer allocate(std::size_t size, dmasync::name name, std::error_code& ec) {
        return allocate(size, name, allocate_options{}, &ec);
    }
    [[nodiscard]] buffer allocate(std::size_t size, dmasync::name name, const allocate_options& options) {
        return allocate(size, name, options, nullptr);
    }
    [[nodiscard]] buffer allocate(std::size_t size, dmasync::name name, const allocate_options& options,
                                  std::error_code& ec) {
        return allocate(size, name, options, &ec);
    }

    /// The buffer of a dma-buf, a memfd or another file of memory. Descriptors of the same dma-buf or file, however they
    /// came here, give the same buffer (S2), mapped as the first of them allows. Several dma-bufs of the same memory (two
    /// exports of one V4L2 buffer, two udmabufs of one memfd) are several buffers, which do not exclude each other: they
    /// do not share fences either. So are buffers of different domains: what is imported into two of them is locked by each
    /// without the other, and nothing finds that out.
    ///
    /// A memory file that is not sealed against it (F_SEAL_SHRINK) can be truncated by any process that has it; code that
    /// touches bytes behind its new end, inside a guard or not, gets SIGBUS. `import_options::cannot_shrink` refuses it.
    /// Errors: `errc::not_a_buffer` when it is something else, which the exception names, or has no bytes;
    /// `errc::not_sealed`, as `options` have it; `errc::size_changed` when a buffer of the file has another size than the
    /// file has now (close that buffer first); what fstat(2) and mmap(2) say; `errc::out_of_memory`. The buffer is empty
    /// then and the descriptor closed.
    [[nodiscard]] buffer import(unique_fd fd, dmasync::name name = {}) {
        return import(std::move(fd), name, import_options{}, nullptr);
    }
    [[nodiscard]] buffer import(unique_fd fd, dmasync::name name, std::error_code& ec) {
        return import(std::move(fd), name, import_options{}, &ec);
    }
    [[nodiscard]] buffer import(unique_fd fd, dmasync::name name, const import_options& options) {
        return import(std::move(fd), name, options, nullptr);
    }
    [[nodiscard]] buffer import(unique_fd fd, dmasync::name name, const import_options& options, std::error_code& ec) {
        return import(std::move(fd), name, options, &ec);
    }

    /// A buffer for memory of the caller's, which outlives its use. The same bytes give the same buffer.
    /// Errors: `errc::not_a_buffer` for no bytes; `errc::overlaps_buffer` for memory that shares some bytes, but not all, with
    /// memory adopted before (that of other buffers is not looked at); `errc::out_of_memory`.
    [[nodiscard]] buffer adopt(std::span<std::byte> memory, dmasync::name name = {}) {
        return adopt(memory, name, nullptr);
    }
    [[nodiscard]] buffer adopt(std::span<std::byte> memory, dmasync::name name, std::error_code& ec) {
        return adopt(memory, name, &ec);
    }

    [[nodiscard]] event_loop& loop() const noexcept { return state_->loop; }
    /// From now on `r` records what happens to the buffers of this domain. It outlives the domain, or `stop_trace` is called
    /// before. What goes on when the domain has been destroyed is not recorded.
    /// Errors: throws std::bad_alloc, before anything has changed; aborts without exceptions.
    void trace_to(trace_recorder& r) {
        r.add_domain(state_->trace.domain_id(), state_->options.name.view());
        detail::observation::trace_to(*state_, &r);
    }
    void stop_trace() noexcept { detail::observation::trace_to(*state_, nullptr); }

    [[nodiscard]] domain_counters counters() const noexcept { return detail::observation::counters(*state_); }

    /// What is held, and what waits for what, at one moment. Others wait for the copy, not for what is made of it.
    /// Needs `#include <dmasync/observe/snapshot.hpp>`. Throws std::bad_alloc. Threads: any; of a single-threaded domain its own.
    [[nodiscard]] domain_snapshot snapshot() const;

private:
    friend class lock_set;
    friend class transaction;
    friend struct detail::inspector;

    [[nodiscard]] buffer allocate(std::size_t size, dmasync::name name, const allocate_options& options,
                                  std::error_code* ec) {
        const auto memory = [&](std::error_code& e) { return detail::allocate_memory(size, name, options, e); };
        return make(memory, name, ec, "dmasync: allocate");
    }

    [[nodiscard]] buffer import(unique_fd fd, dmasync::name name, const import_options& options, std::error_code* ec) {
        std::string refused; // what it is instead; only an exception has room for that
        const auto memory = [&](std::error_code& e) {
            return detail::open_memory(std::move(fd), options, e, ec == nullptr ? &refused : nullptr);
        };
        std::error_code failure;
        buffer made = make(memory, name, &failure, "");
        if (!refused.empty()) {
            detail::deliver(failure, ec, ("dmasync: import: " + refused + " is no shareable memory").c_str());
        } else {
            detail::deliver(failure, ec, "dmasync: import");
        }
        return made;
    }

    [[nodiscard]] buffer adopt(std::span<std::byte> bytes, dmasync::name name, std::error_code* ec) {
        const auto memory = [&](std::error_code& e) {
            if (bytes.empty()) { e = errc::not_a_buffer; }
            detail::memory_object m;
            m.cpu = mapping::borrow(bytes);
            m.identity = detail::memory_identity::of(bytes.data());
            m.size = m.extent = bytes.size();
            return m;
        };
        return make(memory, name, ec, "dmasync: adopt");
    }

    /// A buffer of the memory that `memory(failure)` gives; running out of memory on the way counts as failed.
    template <class Memory>
    [[nodiscard]] buffer make(Memory memory, dmasync::name name, std::error_code* ec, const char* what) {
        std::error_code failure;
        detail::buffer_state* made = nullptr;
        const errc shortage = detail::try_allocating([&] {
            detail::memory_object m = memory(failure);
            errc clash{};
            if (!failure) { made = detail::buffers::add(*state_, std::move(m), name, clash); }
            if (clash != errc{}) { failure = clash; }
        });
        if (shortage != errc{}) { failure = shortage; }
        detail::deliver(failure, ec, what);
        return made == nullptr ? buffer{} : buffer{*made};
    }

    detail::domain_state* state_;
};

} // namespace dmasync::inline DMASYNC_ABI
