// SPDX-License-Identifier: MIT
#pragma once
/// \file memory.hpp  Shareable memory: its kinds, what tells one piece from another, and how a descriptor is recognised.

#include <dmasync/dma_buf.hpp>
#include <dmasync/error.hpp>
#include <dmasync/mapping.hpp>
#include <dmasync/unique_fd.hpp>
#include <dmasync/version.hpp>

#include <array>
#include <compare>
#include <cstddef>
#include <cstdint>
#include <cstdio>
#include <string>
#include <string_view>
#include <system_error>
#include <type_traits>
#include <utility>

#include <fcntl.h>
#include <linux/sync_file.h>
#include <sys/stat.h>
#include <unistd.h>

namespace dmasync::inline DMASYNC_ABI {

/// What the memory of a buffer is.
enum class memory_kind : std::uint8_t {
    plain,    ///< the caller's, without a descriptor
    memfd,    ///< a file of memory: of memfd_create(2) or of a tmpfs. The CPU's only
    udmabuf,  ///< a dma-buf made of pages of a memfd
    dma_heap, ///< a dma-buf of a heap of the kernel's
    dma_buf,  ///< a dma-buf of some other exporter
};

[[nodiscard]] constexpr std::string_view to_string(memory_kind k) noexcept {
    switch (k) {
    case memory_kind::plain: return "plain";
    case memory_kind::memfd: return "memfd";
    case memory_kind::udmabuf: return "udmabuf";
    case memory_kind::dma_heap: return "dma_heap";
    case memory_kind::dma_buf: return "dma_buf";
    }
    return "invalid";
}

/// What `domain::import` asks of a descriptor beyond being shareable memory.
///
/// Trivially destructible on purpose: GCC 12 destroys a braced aggregate inside a `co_await` twice.
struct import_options {
    /// A memory file is sealed against being made shorter (F_SEAL_SHRINK). A dma-buf never changes its size.
    bool cannot_shrink = false;
};
static_assert(std::is_trivially_destructible_v<import_options>);

namespace detail {

/// What tells one piece of memory from another, however many descriptors it has.
/// Two exports of one V4L2 buffer, or two udmabufs of one memfd, count as two: they share memory, but not fences.
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
    memory_kind kind = memory_kind::plain;
    mapping cpu; // empty for a dma-buf whose exporter has none
    memory_identity identity;
    std::size_t size = 0;   // of the buffer
    std::size_t extent = 0; // of what the buffer is the beginning of: the file, the dma-buf

    [[nodiscard]] bool is_dma_buf() const noexcept { return kind >= memory_kind::udmabuf; }

    /// Why there cannot be a buffer of `other` beside one of this: their memory overlaps and is not the same.
    /// Returns: nothing when it is the same, or when neither has a byte of the other's; whole files are told by identity.
    [[nodiscard]] errc clash(const memory_object& other) const noexcept {
        if (identity == other.identity && extent == other.extent) { return errc{}; }
        if (fd) { return identity == other.identity ? errc::size_changed : errc{}; }
        return !other.fd && first() < other.past_last() && other.first() < past_last() ? errc::overlaps_buffer : errc{};
    }

private:
    [[nodiscard]] std::uint64_t first() const noexcept { return identity.inode; } // of memory without a descriptor
    [[nodiscard]] std::uint64_t past_last() const noexcept { return identity.inode + extent; }
};

/// Whether a descriptor is a file of memory. Only such can be sealed: that tells them from files that can be mapped.
[[nodiscard]] inline bool is_memory_file(int fd, const struct stat& info) noexcept {
    return S_ISREG(info.st_mode) && ::fcntl(fd, F_GET_SEALS) >= 0;
}

/// Whether no process can make a memory file shorter, now or later: a seal stays.
[[nodiscard]] inline bool is_shrink_sealed(int fd) noexcept {
    const int seals = ::fcntl(fd, F_GET_SEALS);
    return seals >= 0 && (seals & F_SEAL_SHRINK) != 0;
}

[[nodiscard]] inline memory_kind kind_of_dma_buf(int fd) {
    const std::string exporter = dma_buf::exporter(fd);
    if (exporter == "udmabuf") { return memory_kind::udmabuf; }
    return exporter == "system" ? memory_kind::dma_heap : memory_kind::dma_buf; // other heaps are named by the platform
}

[[nodiscard]] inline std::string describe_by_link(int fd) {
    std::array<char, 64> path{};
    std::snprintf(path.data(), path.size(), "/proc/self/fd/%d", fd);
    std::array<char, 128> target{};
    const ssize_t length = ::readlink(path.data(), target.data(), target.size());
    return length > 0 ? std::string{target.data(), static_cast<std::size_t>(length)} : "of an unknown kind";
}

} // namespace detail

/// Says what a descriptor is, in a few words for messages: "a socket", "a sync_file: a fence, not a buffer", ...
/// Threads: any.
[[nodiscard]] inline std::string describe_descriptor(int fd) {
    struct stat info {};
    if (::fstat(fd, &info) != 0) { return "not open"; }
    sync_file_info fence{};
    if (dma_buf::is_dma_buf(fd)) {
        std::error_code unsized;
        return dma_buf::size(fd, unsized) == 0 && !unsized ? "a dma-buf without bytes" : "a dma-buf";
    }
    if (!detail::read_sync_file_info(fd, fence)) { return "a sync_file: a fence, not a buffer"; }
    switch (info.st_mode & S_IFMT) {
    case S_IFSOCK: return "a socket";
    case S_IFIFO: return "a pipe";
    case S_IFDIR: return "a directory";
    case S_IFBLK: return "a block device";
    case S_IFCHR: return "a device node (" + detail::describe_by_link(fd) + ")";
    case S_IFREG: break;
    default: return "a kernel object (" + detail::describe_by_link(fd) + ")"; // anon_inode:[eventfd], say
    }
    if (!detail::is_memory_file(fd, info)) { return "a regular file"; }
    return info.st_size > 0 ? "a memory file" : "a memory file without bytes";
}

namespace detail {

/// Takes over a descriptor of shared memory: a dma-buf, a memfd, or a file of tmpfs (POSIX shared memory).
/// A dma-buf whose exporter cannot map it comes without a mapping.
/// Errors: `not_a_buffer` for anything else, or when it has no bytes; then `*refused`, if any, says what it is. `not_sealed`
/// as `options` have it. Else what fstat(2), lseek(2) or mmap(2) say. The descriptor is closed then.
[[nodiscard]] inline memory_object open_memory(unique_fd fd, const import_options& options, std::error_code& ec,
                                               std::string* refused = nullptr) {
    ec.clear();
    memory_object m;
    const bool may_shrink = options.cannot_shrink && !is_shrink_sealed(fd.get()); // before the size is read
    struct stat info {};
    if (::fstat(fd.get(), &info) != 0) {
        ec = last_system_error();
    } else if (dma_buf::is_dma_buf(fd.get())) {
        m.kind = kind_of_dma_buf(fd.get());
        m.size = dma_buf::size(fd.get(), ec);
        if (!ec && m.size == 0) { ec = errc::not_a_buffer; }
        if (!ec) { m.cpu = dma_buf::map(fd.get(), m.size, ec); }
        if (ec == errc::no_cpu_access) { ec.clear(); }
    } else if (is_memory_file(fd.get(), info) && info.st_size > 0) {
        m.kind = memory_kind::memfd;
        if (may_shrink) { ec = errc::not_sealed; }
        m.size = static_cast<std::size_t>(info.st_size);
        if (!ec) { m.cpu = mapping::map(fd.get(), m.size, ec); }
    } else {
        ec = errc::not_a_buffer;
    }
    if (ec == errc::not_a_buffer && refused != nullptr) { *refused = describe_descriptor(fd.get()); }
    if (ec) { return {}; }
    m.extent = m.size;
    m.identity = {info.st_dev, info.st_ino};
    m.fd = above_standard_streams(std::move(fd));
    if (!m.fd) {
        ec = last_system_error();
        return {};
    }
    return m;
}

} // namespace detail

} // namespace dmasync::inline DMASYNC_ABI
