// SPDX-License-Identifier: MIT
// What the other programs rely on in the test machine is there. A test that finds less fails here, and says what.
#include <dmasync/fence.hpp>
#include <dmasync/unique_fd.hpp>

#include <doctest/doctest.h>
#include <support/devices.hpp>
#include <support/sw_sync.hpp>
#include <support/test_machine.hpp>

#include <liburing.h>
#include <linux/dma-heap.h>
#include <linux/udmabuf.h>
#include <linux/videodev2.h>

#include <cerrno>
#include <cstdint>
#include <fstream>
#include <string>
#include <vector>

#include <fcntl.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/statfs.h>
#include <unistd.h>

using dmasync::unique_fd;
using support::open_device;

namespace {

constexpr std::uint32_t page = 4096;

bool is_dma_buf(const unique_fd& fd) {
    constexpr auto dma_buf_magic = 0x444d4142;
    struct statfs info {};
    return ::fstatfs(fd.get(), &info) == 0 && info.f_type == dma_buf_magic;
}

unique_fd allocate_from_heap(const std::string& path) {
    dma_heap_allocation_data request{};
    request.len = page;
    request.fd_flags = O_RDWR | O_CLOEXEC;
    if (::ioctl(open_device(path).get(), DMA_HEAP_IOCTL_ALLOC, &request) != 0) { return {}; }
    return unique_fd{static_cast<int>(request.fd)};
}

} // namespace

TEST_CASE("pages of a memfd become a dma-buf by udmabuf") {
    const unique_fd memory{::memfd_create("pages", MFD_CLOEXEC | MFD_ALLOW_SEALING)};
    REQUIRE(::ftruncate(memory.get(), page) == 0);
    REQUIRE(::fcntl(memory.get(), F_ADD_SEALS, F_SEAL_SHRINK) == 0);
    const udmabuf_create request{static_cast<std::uint32_t>(memory.get()), UDMABUF_FLAGS_CLOEXEC, 0, page};
    const unique_fd made{::ioctl(open_device("/dev/udmabuf").get(), UDMABUF_CREATE, &request)};
    CHECK(is_dma_buf(made));
}

TEST_CASE("every heap gives dma-bufs, and the older kernel has one of contiguous memory") {
    const auto heaps = support::paths_in("/dev/dma_heap");
    const bool is_debians_own = support::linux_is_at_least(6, 12);
    CHECK(heaps == (is_debians_own ? std::vector<std::string>{"/dev/dma_heap/system"}
                                   : std::vector<std::string>{"/dev/dma_heap/reserved", "/dev/dma_heap/system"}));
    for (const std::string& heap : heaps) {
        CAPTURE(heap);
        CHECK(is_dma_buf(allocate_from_heap(heap)));
    }
}

TEST_CASE("sw_sync makes fences that are signalled when their timeline gets there") {
    const support::sw_timeline timeline;
    const dmasync::fence fence = timeline.create(1);
    CHECK(fence.state() == dmasync::fence_state::pending);
    timeline.advance();
    CHECK(fence.state() == dmasync::fence_state::signalled);
}

TEST_CASE("the kernel's list of dma-bufs can be read") {
    CHECK(std::ifstream{"/sys/kernel/debug/dma_buf/bufinfo"}.good());
}

TEST_CASE("there is a graphics card of each driver") {
    for (const char* driver : {"vgem", "vkms", "virtio_gpu"}) {
        CAPTURE(driver);
        CHECK(support::open_card(driver));
    }
}

TEST_CASE("there are a camera and converters") {
    CHECK(support::open_video("vivid", V4L2_CAP_VIDEO_CAPTURE | V4L2_CAP_STREAMING));
    CHECK(support::open_video("vim2m", V4L2_CAP_VIDEO_M2M | V4L2_CAP_STREAMING));
    CHECK(support::open_video("vicodec", V4L2_CAP_VIDEO_M2M | V4L2_CAP_STREAMING));
}

TEST_CASE("io_uring can be used") {
    io_uring ring{};
    REQUIRE(::io_uring_queue_init(2, &ring, 0) == 0);
    ::io_uring_queue_exit(&ring);
}

TEST_CASE("a file can be written in the scratch folder and in memory, and nowhere else") {
    for (const std::string& folder : {support::scratch_folder(), std::string{"/tmp"}, std::string{"/dev/shm"}}) {
        CAPTURE(folder);
        CHECK((std::ofstream{folder + "/written"} << "here\n").flush().good());
    }
    CHECK(::open("/written", O_CREAT | O_WRONLY, 0600) == -1);
    CHECK(errno == EROFS);
}

TEST_CASE("the host takes a picture of the display on request") {
    const std::string picture = support::scratch_folder() + "/screen.ppm";
    CHECK(support::take_screendump(picture) == "ok");
    std::string format;
    std::ifstream{picture} >> format;
    CHECK(format == "P6");
    CHECK(support::take_screendump("/elsewhere.ppm").starts_with("error"));
}

TEST_CASE("every device is listed by its driver") {
    for (const std::string& path : support::paths_in("/dev/dri", "card")) {
        MESSAGE(path << " " << support::card_driver(open_device(path).get()));
    }
    for (const std::string& path : support::paths_in("/dev", "video")) {
        const auto found = support::describe_video(open_device(path).get());
        MESSAGE(path << " " << found.driver);
        CHECK(!found.driver.empty());
    }
}
