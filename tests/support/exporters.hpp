// SPDX-License-Identifier: MIT
#pragma once
/// \file exporters.hpp  Dma-bufs of every driver in the test machine, made by nothing but the kernel's own interface.

#include <dmasync/mapping.hpp>
#include <dmasync/memory.hpp>
#include <dmasync/unique_fd.hpp>

#include <doctest/doctest.h>
#include <support/devices.hpp>
#include <support/skip.hpp>
#include <support/video_queue.hpp>

#include <linux/dma-heap.h>
#include <linux/udmabuf.h>
#include <linux/videodev2.h>
#include <xf86drm.h>

#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include <fcntl.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <unistd.h>

namespace support {

/// Memory that a udmabuf can be made of.
inline dmasync::unique_fd make_memfd(std::size_t size) {
    dmasync::unique_fd memory{::memfd_create("memory", MFD_CLOEXEC | MFD_ALLOW_SEALING)};
    REQUIRE(::ftruncate(memory.get(), static_cast<off_t>(size)) == 0);
    REQUIRE(::fcntl(memory.get(), F_ADD_SEALS, F_SEAL_SHRINK) == 0);
    return memory;
}

inline dmasync::unique_fd make_udmabuf(const dmasync::unique_fd& memory, std::size_t size) {
    const udmabuf_create request{static_cast<std::uint32_t>(memory.get()), UDMABUF_FLAGS_CLOEXEC, 0, size};
    return dmasync::unique_fd{::ioctl(open_device("/dev/udmabuf").get(), UDMABUF_CREATE, &request)};
}

/// The heap of contiguous memory, of which there is as much as was set aside when the machine started; Debian's own kernel
/// has none.
constexpr const char* contiguous_heap = "reserved";

inline bool has_contiguous_heap() {
    const std::string path = std::string{"/dev/dma_heap/"} + contiguous_heap;
    if (::access(path.c_str(), F_OK) == 0) { return true; }
    report_skip("this kernel has no heap of contiguous memory");
    return false;
}

/// The heaps that this kernel has.
inline const std::vector<std::string>& heaps() {
    static const std::vector<std::string> all = has_contiguous_heap()
                                                    ? std::vector<std::string>{"system", contiguous_heap}
                                                    : std::vector<std::string>{"system"};
    return all;
}

/// `access`: O_RDWR, O_RDONLY or O_WRONLY. Empty when the heap refuses.
inline dmasync::unique_fd allocate_from_heap(const std::string& heap, std::size_t size, int access = O_RDWR) {
    dma_heap_allocation_data request{};
    request.len = size;
    request.fd_flags = static_cast<std::uint32_t>(access) | O_CLOEXEC;
    if (::ioctl(open_device("/dev/dma_heap/" + heap).get(), DMA_HEAP_IOCTL_ALLOC, &request) != 0) { return {}; }
    return dmasync::unique_fd{static_cast<int>(request.fd)};
}

/// A buffer of a graphics card, with a line for each page.
class dumb_buffer {
public:
    dumb_buffer(std::string_view driver, std::size_t size) : card_{open_card(driver)}, size_{size} {
        drm_mode_create_dumb request{};
        request.width = 1024;
        request.height = static_cast<std::uint32_t>(size / 4096);
        request.bpp = 32;
        REQUIRE(::drmIoctl(card_.get(), DRM_IOCTL_MODE_CREATE_DUMB, &request) == 0);
        REQUIRE(request.size == size);
        handle_ = request.handle;
    }

    [[nodiscard]] int card() const { return card_.get(); }
    [[nodiscard]] std::uint32_t handle() const { return handle_; }

    /// Exports it once more. Without DRM_RDWR it can be mapped for reading only.
    [[nodiscard]] dmasync::unique_fd share(std::uint32_t flags = DRM_CLOEXEC | DRM_RDWR) const {
        int fd = -1;
        REQUIRE(::drmPrimeHandleToFD(card_.get(), handle_, flags, &fd) == 0);
        return dmasync::unique_fd{fd};
    }

    /// As the card's own interface maps it.
    [[nodiscard]] dmasync::mapping map() const {
        drm_mode_map_dumb request{};
        request.handle = handle_;
        REQUIRE(::drmIoctl(card_.get(), DRM_IOCTL_MODE_MAP_DUMB, &request) == 0);
        void* at =
            ::mmap(nullptr, size_, PROT_READ | PROT_WRITE, MAP_SHARED, card_.get(), static_cast<off_t>(request.offset));
        REQUIRE(at != MAP_FAILED);
        return dmasync::mapping::borrow({static_cast<std::byte*>(at), size_}); // until the program ends
    }

private:
    dmasync::unique_fd card_;
    std::size_t size_;
    std::uint32_t handle_ = 0;
};

/// A driver that makes dma-bufs.
struct exporter {
    std::string name;
    std::string known_as;      ///< to the kernel: exp_name in /proc/PID/fdinfo
    dmasync::memory_kind kind; ///< what an import makes of it
    dmasync::unique_fd (*make)(std::size_t size);

    /// Whether the virtual camera and converters take it: they write by the CPU, and map it in the kernel for that.
    [[nodiscard]] bool can_be_lent_to_video() const { return name != "udmabuf" || linux_is_at_least(6, 2); }
};

inline std::vector<exporter> find_exporters() {
    using dmasync::memory_kind;
    std::vector<exporter> found{
        {"udmabuf", "udmabuf", memory_kind::udmabuf,
         [](std::size_t size) { return make_udmabuf(make_memfd(size), size); }},
        {"system heap", "system", memory_kind::dma_heap,
         [](std::size_t size) { return allocate_from_heap("system", size); }},
        {"vgem", "drm", memory_kind::dma_buf,
         [](std::size_t size) {
             return dumb_buffer{"vgem", size}.share();
         }},
        {"virtio_gpu", "virtio_gpu", memory_kind::dma_buf,
         [](std::size_t size) {
             return dumb_buffer{"virtio_gpu", size}.share();
         }},
        {"vivid", "videobuf2_vmalloc", memory_kind::dma_buf,
         [](std::size_t) {
             return camera_queue{V4L2_MEMORY_MMAP, 2}.share(0);
         }},
    };
    if (heaps().size() > 1) {
        found.push_back({"contiguous heap", contiguous_heap, memory_kind::dma_buf,
                         [](std::size_t size) { return allocate_from_heap(contiguous_heap, size); }});
    }
    return found;
}

/// All of the test machine that its kernel has. The camera gives as many bytes as it has in a picture, the others what they
/// are asked for.
inline const std::vector<exporter>& exporters() {
    static const std::vector<exporter> all = find_exporters();
    return all;
}

} // namespace support
