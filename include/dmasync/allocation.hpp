// SPDX-License-Identifier: MIT
#pragma once
/// \file allocation.hpp  Where new memory comes from: the best source that this machine offers, and why not a better one.

#include <dmasync/dma_buf.hpp>
#include <dmasync/error.hpp>
#include <dmasync/memory.hpp>
#include <dmasync/name.hpp>
#include <dmasync/unique_fd.hpp>
#include <dmasync/version.hpp>

#include <cerrno>
#include <cstddef>
#include <cstdint>
#include <limits>
#include <optional>
#include <string>
#include <string_view>
#include <system_error>
#include <type_traits>
#include <utility>
#include <vector>

#include <fcntl.h>
#include <linux/dma-heap.h>
#include <linux/udmabuf.h>
#include <sys/mman.h>
#include <unistd.h>

namespace dmasync::inline DMASYNC_ABI {

/// A source of memory that was tried in vain.
struct allocation_attempt {
    memory_kind kind = memory_kind::plain;
    std::error_code error;
    std::string_view remedy; ///< one line for the user of the machine; empty when nothing is known
};

/// How an allocation went: the sources that were tried before, best first, and the one that served.
struct allocation_report {
    std::vector<allocation_attempt> failed;
    std::optional<memory_kind> source; ///< none when the allocation failed
};

/// Trivially destructible on purpose: GCC 12 destroys a braced aggregate inside a `co_await` twice.
struct allocate_options {
    std::optional<memory_kind> from{};   ///< dma_heap, udmabuf or memfd: this or nothing. Else the first that serves
    std::string_view heap = "system";    ///< a name in /dev/dma_heap
    allocation_report* report = nullptr; ///< filled in, if any
};
static_assert(std::is_trivially_destructible_v<allocate_options>);

/// What to do about a source of memory that failed, in one line; empty when nothing is known.
/// Threads: any.
[[nodiscard]] inline std::string_view remedy_for(memory_kind kind, const std::error_code& error) noexcept {
    const bool heap = kind == memory_kind::dma_heap;
    if (error == std::errc::too_many_files_open || error == std::errc::too_many_files_open_in_system) {
        return "raise the limit of open files: ulimit -n, fs.file-max";
    }
    if ((kind != memory_kind::udmabuf && !heap) || error.category() != std::system_category()) { return {}; }
    switch (error.value()) {
    case EACCES:
    case EPERM:
        return heap ? "let the user open /dev/dma_heap/*: group video, or a udev rule"
                    : "let the user open /dev/udmabuf: group kvm, or a udev rule";
    case ENOENT:
        return heap ? "see /dev/dma_heap for the heaps there are; the kernel options are CONFIG_DMABUF_HEAPS*; "
                      "a container has to be given the device"
                    : "modprobe udmabuf, or a kernel with CONFIG_UDMABUF; a container has to be given the device";
    case ENXIO:
    case ENODEV:
        return heap ? "a kernel with CONFIG_DMABUF_HEAPS*" : "modprobe udmabuf, or a kernel with CONFIG_UDMABUF";
    case EINVAL:
        return heap ? "ask this heap for less" : "raise /sys/module/udmabuf/parameters/size_limit_mb, or ask for less";
    case ENOMEM: return "free memory, or ask for less";
    case ENOTTY: return heap ? "the heap's device node is another device's" : "/dev/udmabuf is another device's node";
    default: return {};
    }
}

namespace detail {

/// `bytes` of zeroed memory in a memfd that cannot be resized: what a udmabuf, too, has to be made of.
[[nodiscard]] inline unique_fd allocate_memfd(std::size_t bytes, dmasync::name label, std::error_code& ec) noexcept {
    unique_fd fd{::memfd_create(label.view().data(), MFD_CLOEXEC | MFD_ALLOW_SEALING)};
    if (!fd || ::ftruncate(fd.get(), static_cast<off_t>(bytes)) != 0 ||
        ::fcntl(fd.get(), F_ADD_SEALS, F_SEAL_SHRINK | F_SEAL_GROW) != 0) {
        ec = last_system_error();
        return {};
    }
    ec.clear();
    return fd;
}

/// The memfd is closed here: the dma-buf keeps its pages.
[[nodiscard]] inline unique_fd allocate_udmabuf(std::size_t bytes, dmasync::name label, std::error_code& ec) noexcept {
    const unique_fd device{::open("/dev/udmabuf", O_RDWR | O_CLOEXEC)};
    if (!device) {
        ec = last_system_error();
        return {};
    }
    const unique_fd pages = allocate_memfd(bytes, label, ec);
    if (ec) { return {}; }
    udmabuf_create request{};
    request.memfd = static_cast<std::uint32_t>(pages.get());
    request.flags = UDMABUF_FLAGS_CLOEXEC;
    request.size = bytes;
    unique_fd fd{retrying_ioctl(device.get(), UDMABUF_CREATE, &request)};
    if (!fd) { ec = last_system_error(); }
    return fd;
}

[[nodiscard]] inline unique_fd allocate_from_heap(std::size_t bytes, std::string_view heap, std::error_code& ec) {
    const std::string path = "/dev/dma_heap/" + std::string{heap};
    const unique_fd device{::open(path.c_str(), O_RDONLY | O_CLOEXEC)};
    dma_heap_allocation_data request{};
    request.len = bytes;
    request.fd_flags = O_RDWR | O_CLOEXEC;
    if (!device || retrying_ioctl(device.get(), DMA_HEAP_IOCTL_ALLOC, &request) < 0) {
        ec = last_system_error();
        return {};
    }
    ec.clear();
    return unique_fd{static_cast<int>(request.fd)};
}

/// Errors: what the source says; `not_a_buffer` when it gave less than it was asked for, or something else.
[[nodiscard]] inline memory_object allocate_from(memory_kind kind, std::size_t bytes, dmasync::name label,
                                                 std::string_view heap, std::error_code& ec) {
    unique_fd fd = kind == memory_kind::dma_heap  ? allocate_from_heap(bytes, heap, ec)
                   : kind == memory_kind::udmabuf ? allocate_udmabuf(bytes, label, ec)
                                                  : allocate_memfd(bytes, label, ec);
    if (ec) { return {}; }
    if (kind != memory_kind::memfd) {
        static_cast<void>(dma_buf::set_name(fd.get(), label.view())); // for debugging only: no reason to fail
    }
    memory_object m = open_memory(std::move(fd), {}, ec);
    if (!ec && (m.size < bytes || m.is_dma_buf() != (kind != memory_kind::memfd))) { ec = errc::not_a_buffer; }
    if (ec) { return {}; }
    m.kind = kind;
    return m;
}

/// Allocates zeroed memory that can be shared by its descriptor and cannot be resized: from a dma-heap, else
/// by udmabuf, else a memfd.
/// Units:  bytes. The object is as large as asked for, its memory has whole pages.
/// Errors: `not_a_buffer` for no bytes; ENOMEM for more than there can be; else what the last source said, or
/// `not_a_buffer` for what it gave.
[[nodiscard]] inline memory_object allocate_memory(std::size_t size, dmasync::name label,
                                                   const allocate_options& options, std::error_code& ec) {
    if (options.report != nullptr) { *options.report = {}; }
    const auto page = static_cast<std::size_t>(::sysconf(_SC_PAGESIZE));
    if (size == 0) {
        ec = errc::not_a_buffer;
        return {};
    }
    if (size > static_cast<std::size_t>(std::numeric_limits<off_t>::max()) - page) {
        ec = std::make_error_code(std::errc::not_enough_memory);
        return {};
    }
    ec = std::make_error_code(std::errc::invalid_argument); // unless `from` is one of these
    for (const memory_kind kind : {memory_kind::dma_heap, memory_kind::udmabuf, memory_kind::memfd}) {
        if (options.from.value_or(kind) != kind) { continue; }
        memory_object m = allocate_from(kind, (size + page - 1) / page * page, label, options.heap, ec);
        if (!ec) {
            m.size = size;
            if (!m.cpu.bytes().empty()) { m.cpu.trim(size); }
            if (options.report != nullptr) { options.report->source = kind; }
            return m;
        }
        if (options.report != nullptr) { options.report->failed.push_back({kind, ec, remedy_for(kind, ec)}); }
    }
    return {};
}

} // namespace detail

} // namespace dmasync::inline DMASYNC_ABI
