// SPDX-License-Identifier: MIT
#pragma once
/// \file buffer.hpp  A handle on something that can be locked.

#include <dmasync/detail/base/lifetimebound.hpp>
#include <dmasync/detail/domain/buffer_state.hpp>
#include <dmasync/detail/domain/buffers.hpp>
#include <dmasync/memory.hpp>
#include <dmasync/version.hpp>

#include <cstddef>
#include <cstdint>
#include <string_view>
#include <utility>

namespace dmasync::inline DMASYNC_ABI {

/// Refers to a buffer of a domain: a dma-buf, a memfd, or plain memory without a descriptor (S13). Cheap to copy; empty by default.
///
/// Two handles are equal when they refer to the same buffer. The buffer lives as long as a handle, a hold or a waiter of
/// it does. Bytes are reached through a guard only (S14).
/// Threads: a handle one at a time, like a std::shared_ptr; the buffer itself any.
class buffer {
public:
    buffer() noexcept = default;
    buffer(const buffer& other) noexcept : state_{other.state_} {
        if (state_ != nullptr) { detail::buffers::add_handle(*state_); }
    }
    buffer(buffer&& other) noexcept : state_{std::exchange(other.state_, nullptr)} {}
    buffer& operator=(buffer other) noexcept {
        std::swap(state_, other.state_);
        return *this;
    }
    ~buffer() {
        if (state_ != nullptr) { detail::buffers::drop_handle(*state_); }
    }

    [[nodiscard]] explicit operator bool() const noexcept { return state_ != nullptr; }
    [[nodiscard]] bool operator==(const buffer&) const noexcept = default;

    /// Units: bytes; 0 for an empty handle.
    [[nodiscard]] std::size_t size() const noexcept { return state_ == nullptr ? 0 : state_->memory.size; }

    [[nodiscard]] std::string_view name() const noexcept DMASYNC_LIFETIMEBOUND {
        return state_ == nullptr ? std::string_view{} : state_->label.view();
    }

    /// What its memory is; `plain` for an empty handle.
    [[nodiscard]] memory_kind memory() const noexcept {
        return state_ == nullptr ? memory_kind::plain : state_->memory.kind;
    }

    /// A descriptor of the memory, to hand to a device or another process; owned by the buffer. -1 without one.
    [[nodiscard]] int fd() const noexcept { return state_ == nullptr ? -1 : state_->memory.fd.get(); }

    /// The fencing token of the latest grant: grows with every grant that conflicts with one before it, and with every
    /// lease that runs out. A store that keeps results by token and refuses smaller ones is safe from a holder that was
    /// away for longer than its lease. 0 for an empty handle.
    /// Source: S7; Kleppmann, "How to do distributed locking" (2016).
    [[nodiscard]] std::uint64_t token() const noexcept {
        return state_ == nullptr ? 0 : detail::buffers::token(*state_);
    }

    /// Ends the use of the buffer: every lock that waits for it, and every later one, fails with `errc::closed`. What
    /// is held stays so until it is unlocked. An import of the same memory makes a new buffer.
    void close() const noexcept {
        if (state_ != nullptr) { detail::buffers::close(*state_); }
    }

private:
    friend class domain;
    friend class guard;
    friend class lock_set;
    friend class transaction;
    template <access_mode>
    friend struct lock_request;

    explicit buffer(detail::buffer_state& adopted) noexcept : state_{&adopted} {}

    detail::buffer_state* state_ = nullptr; // owns one of its handles
};

} // namespace dmasync::inline DMASYNC_ABI
