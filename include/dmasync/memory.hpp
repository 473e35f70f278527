// SPDX-License-Identifier: MIT
#pragma once
/// \file memory.hpp  Shareable memory: where it comes from, what tells one piece from another, and its mapping.

#include <dmasync/error.hpp>
#include <dmasync/unique_fd.hpp>

#include <compare>
#include <cstddef>
#include <cstdint>
#include <limits>
#include <span>
#include <string_view>
#include <system_error>
#include <utility>

#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

namespace dmasync {

/// Owns a mapping of memory into this process, or stands for memory that somebody else owns. Move-only.
///
/// Threads: one at a time, like a std::unique_ptr.
class mapping {
public:
    mapping() noexcept = default;

    /// Memory of somebody else, which outlives this object.
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

private:
    mapping(std::span<std::byte> bytes, bool writable, bool owned) noexcept
        : bytes_{bytes}, writable_{writable}, owned_{owned} {}

    std::span<std::byte> bytes_;
    bool writable_ = false;
    bool owned_ = false; // invariant: then bytes_ is a mapping that nobody else unmaps
};

namespace detail {

/// What tells one piece of memory from another, however many descriptors it has.
struct memory_identity {
    std::uint64_t device = 0;
    std::uint64_t inode = 0;

    // NOLINTNEXTLINE(modernize-use-nullptr): a false alarm of clang-tidy 14
    auto operator<=>(const memory_identity&) const = default;

    /// Memory without a descriptor is known by its address; no device has the number used for it.
    [[nodiscard]] static memory_identity of(const void* address) noexcept {
        return {~std::uint64_t{0}, reinterpret_cast<std::uintptr_t>(address)};
    }
};

/// A piece of memory that can be shared, ready to become a buffer.
struct memory_object {
    unique_fd fd; // empty for memory without a descriptor
    mapping cpu;
    memory_identity identity;
    std::size_t size = 0;
};

/// Takes over a descriptor of shared memory: a memfd, or a file of tmpfs (POSIX shared memory).
/// Errors: `not_a_buffer` for anything else, or when it has no bytes; what fstat(2) or mmap(2) say.
[[nodiscard]] inline memory_object open_memory(unique_fd fd, std::error_code& ec) noexcept {
    struct stat info {};
    if (::fstat(fd.get(), &info) != 0) {
        ec = last_system_error();
        return {};
    }
    // Only memory-backed files can be sealed: that tells them from files that merely can be mapped.
    if (!S_ISREG(info.st_mode) || ::fcntl(fd.get(), F_GET_SEALS) < 0 || info.st_size <= 0) {
        ec = errc::not_a_buffer;
        return {};
    }
    memory_object m;
    m.size = static_cast<std::size_t>(info.st_size);
    m.identity = {info.st_dev, info.st_ino};
    m.cpu = mapping::map(fd.get(), m.size, ec);
    m.fd = std::move(fd);
    return m;
}

/// Allocates `size` bytes of zeroed memory that can be shared by its descriptor and cannot be resized by anybody.
/// Errors: `not_a_buffer` for no bytes; what memfd_create(2), ftruncate(2) or mmap(2) say.
[[nodiscard]] inline memory_object allocate_memory(std::size_t size, std::string_view label, std::error_code& ec) {
    if (size > static_cast<std::size_t>(std::numeric_limits<off_t>::max())) {
        ec = std::make_error_code(std::errc::not_enough_memory);
        return {};
    }
    unique_fd fd{::memfd_create(std::string{label}.c_str(), MFD_CLOEXEC | MFD_ALLOW_SEALING)};
    if (!fd || ::ftruncate(fd.get(), static_cast<off_t>(size)) != 0 ||
        ::fcntl(fd.get(), F_ADD_SEALS, F_SEAL_SHRINK | F_SEAL_GROW) != 0) {
        ec = last_system_error();
        return {};
    }
    return open_memory(std::move(fd), ec);
}

} // namespace detail

} // namespace dmasync
