// SPDX-License-Identifier: MIT
#pragma once
/// \file dma_buf.hpp  What the kernel offers for a dma-buf, by its descriptor, with types.
///
/// Threads: any, throughout. Source: kernel Documentation/driver-api/dma-buf.rst; include/uapi/linux/dma-buf.h.

#include <dmasync/access_mode.hpp>
#include <dmasync/detail/kernel/retrying_ioctl.hpp>
#include <dmasync/detail/kernel/sync_file.hpp>
#include <dmasync/error.hpp>
#include <dmasync/fence.hpp>
#include <dmasync/mapping.hpp>
#include <dmasync/name.hpp>
#include <dmasync/unique_fd.hpp>
#include <dmasync/version.hpp>

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstddef>
#include <cstdint>
#include <cstdio>
#include <string>
#include <string_view>
#include <system_error>

#include <fcntl.h>
#include <linux/dma-buf.h>
#include <poll.h>
#include <sys/vfs.h>
#include <unistd.h>

#if !defined(DMA_BUF_IOCTL_EXPORT_SYNC_FILE) // kernel headers before 6.0
struct dma_buf_export_sync_file {
    __u32 flags;
    __s32 fd;
};
struct dma_buf_import_sync_file {
    __u32 flags;
    __s32 fd;
};
#define DMA_BUF_IOCTL_EXPORT_SYNC_FILE _IOWR(DMA_BUF_BASE, 2, struct dma_buf_export_sync_file)
#define DMA_BUF_IOCTL_IMPORT_SYNC_FILE _IOW(DMA_BUF_BASE, 3, struct dma_buf_import_sync_file)
#endif

namespace dmasync::inline DMASYNC_ABI::dma_buf {

/// Whether a descriptor is a dma-buf. Does not ask its exporter.
[[nodiscard]] inline bool is_dma_buf(int fd) noexcept {
    constexpr auto dma_buf_magic = 0x444d4142; // DMA_BUF_MAGIC of linux/magic.h
    struct statfs info {};
    return ::fstatfs(fd, &info) == 0 && info.f_type == dma_buf_magic;
}

} // namespace dmasync::inline DMASYNC_ABI::dma_buf

namespace dmasync::inline DMASYNC_ABI::detail {

/// One request to a dma-buf.
/// Errors: `errc::not_a_dma_buf`; else what the kernel says.
[[nodiscard]] inline std::error_code dma_buf_request(int fd, unsigned long request, void* argument) noexcept {
    if (retrying_ioctl(fd, request, argument) >= 0) { return {}; }
    const std::error_code failure = last_system_error();
    const bool unknown = failure == std::errc::inappropriate_io_control_operation;
    return unknown && !dma_buf::is_dma_buf(fd) ? make_error_code(errc::not_a_dma_buf) : failure;
}

[[nodiscard]] inline std::error_code bracket_cpu_access(int fd, access_mode a, std::uint64_t side) noexcept {
    dma_buf_sync request{};
    request.flags = side | static_cast<std::uint64_t>(is_write(a) ? DMA_BUF_SYNC_RW : DMA_BUF_SYNC_READ);
    return dma_buf_request(fd, DMA_BUF_IOCTL_SYNC, &request);
}

/// The value of a line `key:` in /proc/self/fdinfo; empty without one.
[[nodiscard]] inline std::string read_fdinfo(int fd, std::string_view key) {
    std::array<char, 64> path{};
    std::snprintf(path.data(), path.size(), "/proc/self/fdinfo/%d", fd);
    const unique_fd file{::open(path.data(), O_RDONLY | O_CLOEXEC)};
    std::array<char, 1024> page{};
    const ssize_t length = file ? ::read(file.get(), page.data(), page.size()) : 0;
    std::string_view rest{page.data(), length > 0 ? static_cast<std::size_t>(length) : 0};
    while (!rest.empty()) {
        const std::string_view line = rest.substr(0, rest.find('\n'));
        rest.remove_prefix(std::min(line.size() + 1, rest.size()));
        if (line.starts_with(key) && line.substr(key.size()).starts_with(":\t")) {
            return std::string{line.substr(key.size() + 2)};
        }
    }
    return {};
}

/// Whether that is what mmap(2) says of a dma-buf whose exporter has no mapping: exporters answer as they like.
[[nodiscard]] inline bool says_no_mapping(const std::error_code& ec) noexcept {
    switch (ec.value()) {
    case EACCES:
    case EINVAL:
    case ENODEV:
    case ENOSYS: // graphics drivers without gem_prime_mmap
    case ENOTTY:
    case ENXIO:
    case EOPNOTSUPP:
    case EPERM: return true;
    default: return false;
    }
}

} // namespace dmasync::inline DMASYNC_ABI::detail

namespace dmasync::inline DMASYNC_ABI::dma_buf {

/// Begins a use by the CPU: makes what devices have written visible to it. Every start has its end.
/// May block, without limit: the kernel waits here for the fences that `is_idle` tells of. It does not look whether they
/// failed.
/// Errors: `errc::not_a_dma_buf`; else what DMA_BUF_IOCTL_SYNC says. Outlasts signals; a driver that answers EAGAIN is
/// asked again for 33 ms.
[[nodiscard]] inline std::error_code start_cpu_access(int fd, access_mode a) noexcept {
    return detail::bracket_cpu_access(fd, a, DMA_BUF_SYNC_START);
}

/// Ends a use by the CPU, by the access it was started with: makes what it has written visible to devices. Does not wait
/// for fences.
/// Errors: as `start_cpu_access`; EINVAL of some exporters without a start.
[[nodiscard]] inline std::error_code end_cpu_access(int fd, access_mode a) noexcept {
    return detail::bracket_cpu_access(fd, a, DMA_BUF_SYNC_END);
}

/// Whether an access of this kind has no fence to wait for: a reader those of writers, a writer all. Never blocks.
/// Returns: false also when the kernel cannot be asked.
[[nodiscard]] inline bool is_idle(int fd, access_mode a) noexcept {
    return detail::poll_now(fd, is_write(a) ? POLLOUT : POLLIN) != 0;
}

/// What an access of this kind has to wait for, as it is now; an idle buffer gives a fence that has ended.
/// Errors: `errc::not_a_dma_buf`; ENOTTY before kernel 6.0; else what DMA_BUF_IOCTL_EXPORT_SYNC_FILE says.
[[nodiscard]] inline fence export_fence(int fd, access_mode a, std::error_code& ec) noexcept {
    dma_buf_export_sync_file request{};
    request.flags = static_cast<std::uint32_t>(is_write(a) ? DMA_BUF_SYNC_RW : DMA_BUF_SYNC_READ);
    request.fd = -1;
    ec = detail::dma_buf_request(fd, DMA_BUF_IOCTL_EXPORT_SYNC_FILE, &request);
    return ec ? fence{} : fence::adopt(unique_fd{request.fd}, ec);
}

/// Makes all other users of the buffer wait for a fence: readers and writers when its access writes, else
/// writers only. An empty fence adds nothing.
/// Errors: as `export_fence`, of DMA_BUF_IOCTL_IMPORT_SYNC_FILE.
inline void import_fence(int fd, const fence& f, access_mode a, std::error_code& ec) noexcept {
    ec.clear();
    if (!f) { return; }
    dma_buf_import_sync_file request{};
    request.flags = static_cast<std::uint32_t>(is_write(a) ? DMA_BUF_SYNC_WRITE : DMA_BUF_SYNC_READ);
    request.fd = f.fd();
    ec = detail::dma_buf_request(fd, DMA_BUF_IOCTL_IMPORT_SYNC_FILE, &request);
}

/// Units:  bytes. 0 with an error.
/// Errors: what lseek(2) says.
[[nodiscard]] inline std::size_t size(int fd, std::error_code& ec) noexcept {
    const off_t end = ::lseek(fd, 0, SEEK_END);
    ec = end < 0 ? detail::last_system_error() : std::error_code{};
    return end < 0 ? 0 : static_cast<std::size_t>(end);
}

/// Names the buffer for the kernel's debug files. Cut to the 31 bytes that the kernel takes.
/// Errors: `errc::not_a_dma_buf`; else what DMA_BUF_SET_NAME says.
[[nodiscard]] inline std::error_code set_name(int fd, std::string_view text) noexcept {
    dmasync::name cut{text};
    return detail::dma_buf_request(fd, DMA_BUF_SET_NAME_B, const_cast<char*>(cut.view().data()));
}

/// The name that was given to the buffer; empty without one, or without /proc.
[[nodiscard]] inline std::string name(int fd) { return detail::read_fdinfo(fd, "name"); }

/// The driver or heap that the buffer is from: "udmabuf", "system", "virtio_gpu", "drm" for many graphics cards, ...; empty
/// without /proc.
[[nodiscard]] inline std::string exporter(int fd) { return detail::read_fdinfo(fd, "exp_name"); }

/// Maps the buffer, for writing where its descriptor allows that, else for reading.
/// Errors: `errc::no_cpu_access` when its exporter cannot; what mmap(2) says of memory, descriptor and size.
[[nodiscard]] inline mapping map(int fd, std::size_t size, std::error_code& ec) noexcept {
    mapping m = mapping::map(fd, size, ec);
    if (detail::says_no_mapping(ec)) { ec = errc::no_cpu_access; }
    return m;
}

} // namespace dmasync::inline DMASYNC_ABI::dma_buf
