// SPDX-License-Identifier: MIT
#pragma once
/// \file mapping.hpp  Memory as this process sees it.

#include <dmasync/error.hpp>
#include <dmasync/version.hpp>

#include <cstddef>
#include <span>
#include <system_error>
#include <utility>

#include <sys/mman.h>
#include <unistd.h>

namespace dmasync::inline DMASYNC_ABI {

/// Owns a mapping of memory into this process, or stands for memory that is owned elsewhere. Move-only.
///
/// Threads: one at a time, like a std::unique_ptr.
class mapping {
public:
    mapping() noexcept = default;

    /// Memory that is owned elsewhere, which outlives this object.
    [[nodiscard]] static mapping borrow(std::span<std::byte> memory) noexcept { return {memory, true, false}; }

    /// Maps `size` bytes of `fd`, for writing where that is allowed, else for reading.
    /// Errors: what mmap(2) says.
    [[nodiscard]] static mapping map(int fd, std::size_t size, std::error_code& ec) noexcept {
        for (const bool writable : {true, false}) {
            void* p = ::mmap(nullptr, size, writable ? PROT_READ | PROT_WRITE : PROT_READ, MAP_SHARED, fd, 0);
            if (p != MAP_FAILED) {
                ec.clear();
                return {{static_cast<std::byte*>(p), size}, writable, true};
            }
            ec = detail::last_system_error();
            if (ec != std::errc::permission_denied && ec != std::errc::operation_not_permitted) { break; }
        }
        return {};
    }

    mapping(mapping&& other) noexcept
        : bytes_{std::exchange(other.bytes_, {})},
          writable_{other.writable_},
          owned_{std::exchange(other.owned_, false)} {}
    mapping& operator=(mapping&& other) noexcept {
        std::swap(bytes_, other.bytes_);
        std::swap(writable_, other.writable_);
        std::swap(owned_, other.owned_);
        return *this;
    }
    ~mapping() {
        if (owned_) { ::munmap(bytes_.data(), bytes_.size()); }
    }

    [[nodiscard]] std::span<std::byte> bytes() const noexcept { return bytes_; }
    [[nodiscard]] bool writable() const noexcept { return writable_; }

    /// Gives up what lies behind the first `size` bytes. What shares a page with them stays mapped, and is hidden.
    void trim(std::size_t size) noexcept {
        const auto page = static_cast<std::size_t>(::sysconf(_SC_PAGESIZE));
        const std::size_t kept = (size + page - 1) / page * page;
        if (owned_ && kept < bytes_.size()) { ::munmap(bytes_.data() + kept, bytes_.size() - kept); }
        bytes_ = bytes_.first(size);
    }

private:
    mapping(std::span<std::byte> bytes, bool writable, bool owned) noexcept
        : bytes_{bytes}, writable_{writable}, owned_{owned} {}

    std::span<std::byte> bytes_;
    bool writable_ = false;
    bool owned_ = false; // invariant: then bytes_ is a mapping that only this unmaps
};

} // namespace dmasync::inline DMASYNC_ABI
