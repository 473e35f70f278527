// SPDX-License-Identifier: MIT
#include <dmasync/allocation.hpp>

#include <dmasync/domain.hpp>
#include <dmasync/lock.hpp>
#include <dmasync/manual_loop.hpp>

#include <doctest/doctest.h>
#include <support/fake_dma_buf.hpp>

#include <algorithm>
#include <cerrno>
#include <cstddef>
#include <cstdint>
#include <fstream>
#include <limits>
#include <optional>
#include <string>
#include <string_view>
#include <system_error>

#include <fcntl.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <unistd.h>

using namespace dmasync;
using support::fake_device;
using support::fake_dma_buf;

namespace {

constexpr const char* system_heap = "/dev/dma_heap/system";
constexpr const char* udmabuf_device = "/dev/udmabuf";

struct fixture {
    manual_loop loop;
    domain media{loop};
    std::error_code ec;
    allocation_report report;

    buffer allocate(std::size_t size, std::optional<memory_kind> from = {}) {
        return media.allocate(size, "frame", {.from = from, .report = &report}, ec);
    }
};

std::size_t page_size() { return static_cast<std::size_t>(::sysconf(_SC_PAGESIZE)); }

bool is_close_on_exec(int fd) { return (::fcntl(fd, F_GETFD) & FD_CLOEXEC) != 0; }

bool is_zeroed(const buffer& b) {
    const auto held = try_lock(read(b));
    const auto bytes = held.bytes<0>();
    return bytes.size() == b.size() &&
           std::all_of(bytes.begin(), bytes.end(), [](std::byte x) { return x == std::byte{0}; });
}

} // namespace

// ---- order -----------------------------------------------------------------------------------------------------------

TEST_CASE("a dma-heap is the first choice") {
    fixture f;
    const fake_device heap{system_heap};
    const fake_device udmabuf{udmabuf_device};
    const buffer b = f.allocate(5000);
    CHECK(b.memory() == memory_kind::dma_heap);
    CHECK(f.report.source == memory_kind::dma_heap);
    CHECK(f.report.failed.empty());
    CHECK(fake_dma_buf::of(b.fd()).name() == "frame");
    CHECK(is_close_on_exec(b.fd()));
    CHECK(is_zeroed(b));
}

TEST_CASE("a udmabuf is the second, and its memfd is not kept") {
    fixture f;
    const fake_device heap{system_heap, ENOENT};
    const fake_device udmabuf{udmabuf_device};
    const std::size_t before = support::open_descriptors();
    const buffer b = f.allocate(5000);
    CHECK(b.memory() == memory_kind::udmabuf);
    CHECK(f.report.source == memory_kind::udmabuf);
    REQUIRE(f.report.failed.size() == 1);
    CHECK(f.report.failed[0].kind == memory_kind::dma_heap);
    CHECK(f.report.failed[0].error == std::errc::no_such_file_or_directory);
    CHECK(fake_dma_buf::of(b.fd()).name() == "frame");
    CHECK(is_close_on_exec(b.fd()));
    CHECK(is_zeroed(b));
    CHECK(support::open_descriptors() == before + 1);
}

TEST_CASE("a memfd is what is left, and the report says how to do better") {
    fixture f;
    const fake_device heap{system_heap, ENOENT};
    const fake_device udmabuf{udmabuf_device, EACCES};
    const buffer b = f.allocate(5000);
    CHECK(b.memory() == memory_kind::memfd);
    CHECK(f.report.source == memory_kind::memfd);
    REQUIRE(f.report.failed.size() == 2);
    CHECK(f.report.failed[0].remedy.find("CONFIG_DMABUF_HEAPS") != std::string_view::npos);
    CHECK(f.report.failed[1].kind == memory_kind::udmabuf);
    CHECK(f.report.failed[1].error == std::errc::permission_denied);
    CHECK(f.report.failed[1].remedy.find("group kvm") != std::string_view::npos);
    CHECK(is_close_on_exec(b.fd()));
    CHECK(is_zeroed(b));
    CHECK_FALSE(f.ec);
}

TEST_CASE("a dma-buf that came from a source is found again by an import") {
    fixture f;
    const fake_device heap{system_heap};
    const buffer b = f.allocate(5000);
    CHECK(f.media.import(fake_dma_buf::of(b.fd()).duplicate()) == b);
}

// ---- choice ----------------------------------------------------------------------------------------------------------

TEST_CASE("a source that is asked for is the only one that is tried") {
    fixture f;
    const fake_device heap{system_heap};
    const fake_device udmabuf{udmabuf_device};
    for (const memory_kind kind : {memory_kind::dma_heap, memory_kind::udmabuf, memory_kind::memfd}) {
        CHECK(f.allocate(4096, kind).memory() == kind);
        CHECK(f.report.failed.empty());
    }
}

TEST_CASE("a source that is asked for and fails is the error") {
    fixture f;
    const fake_device udmabuf{udmabuf_device, EPERM};
    CHECK(!f.allocate(4096, memory_kind::udmabuf));
    CHECK(f.ec == std::errc::operation_not_permitted);
    CHECK_FALSE(f.report.source);
    CHECK(f.report.failed.size() == 1);
}

TEST_CASE("what is no source cannot be asked for") {
    fixture f;
    for (const memory_kind kind : {memory_kind::plain, memory_kind::dma_buf}) {
        CHECK(!f.allocate(4096, kind));
        CHECK(f.ec == std::errc::invalid_argument);
    }
}

TEST_CASE("another heap can be named") {
    fixture f;
    const fake_device heap{"/dev/dma_heap/linux,cma"};
    const buffer b = f.media.allocate(4096, "frame", {.from = memory_kind::dma_heap, .heap = "linux,cma"}, f.ec);
    REQUIRE(b);
    CHECK(dma_buf::exporter(b.fd()) == "linux,cma");
    CHECK(b.memory() == memory_kind::dma_heap);
}

// ---- size ------------------------------------------------------------------------------------------------------------

TEST_CASE("a buffer is as large as asked for, its memory has whole pages") {
    fixture f;
    const fake_device heap{system_heap};
    const fake_device udmabuf{udmabuf_device};
    for (const memory_kind kind : {memory_kind::dma_heap, memory_kind::udmabuf, memory_kind::memfd}) {
        for (const std::size_t size : {std::size_t{1}, page_size() - 1, page_size(), page_size() + 1}) {
            const buffer b = f.allocate(size, kind);
            CHECK(b.size() == size);
            CHECK(try_lock(write(b)).bytes<0>().size() == size);
            CHECK(dma_buf::size(b.fd(), f.ec) == (size + page_size() - 1) / page_size() * page_size());
        }
    }
}

TEST_CASE("sizes that cannot be are refused before any source is tried") {
    fixture f;
    CHECK(!f.allocate(0));
    CHECK(f.ec == errc::not_a_buffer);
    constexpr auto any = std::numeric_limits<std::size_t>::max();
    constexpr std::uint64_t largest_file = std::numeric_limits<off_t>::max();
    constexpr auto most = static_cast<std::size_t>(std::min<std::uint64_t>(largest_file, any));
    for (const std::size_t size : {any, most < any ? most + 1 : any - 1, most}) {
        CHECK(!f.allocate(size));
        CHECK(f.ec == std::errc::not_enough_memory);
    }
    CHECK(f.report.failed.empty());
}

// ---- failure ---------------------------------------------------------------------------------------------------------

TEST_CASE("every request to a device may fail, and leaves nothing behind") {
    fixture f;
    const fake_device heap{system_heap};
    const fake_device udmabuf{udmabuf_device};
    const std::size_t before = support::open_descriptors();
    for (const int error : {EPERM, ENOMEM, EINVAL, ENOTTY, EIO, EMFILE}) {
        heap.inject(DMA_HEAP_IOCTL_ALLOC, error);
        udmabuf.inject(UDMABUF_CREATE, error);
        {
            const buffer b = f.allocate(4096);
            CHECK(b.memory() == memory_kind::memfd);
            REQUIRE(f.report.failed.size() == 2);
            CHECK(f.report.failed[0].error == std::error_code{error, std::system_category()});
            CHECK(f.report.failed[1].error == f.report.failed[0].error);
            CHECK(f.report.failed[1].remedy.empty() == (error == EIO));
        }
        CHECK(support::open_descriptors() == before);
    }
}

TEST_CASE("signals do not make a device fail") {
    fixture f;
    const fake_device heap{system_heap};
    heap.inject(DMA_HEAP_IOCTL_ALLOC, EINTR, 10);
    CHECK(f.allocate(4096).memory() == memory_kind::dma_heap);
}

TEST_CASE("a long name is cut to what the kernel takes") {
    fixture f;
    const fake_device heap{system_heap};
    const buffer b = f.media.allocate(4096, std::string_view{std::string(40, 'n')}, f.ec);
    CHECK(fake_dma_buf::of(b.fd()).name() == std::string(31, 'n'));
}

TEST_CASE("however many descriptors are left, an allocation works or fails and leaves nothing behind") {
    fixture f;
    const fake_device heap{system_heap, ENOENT};
    const fake_device udmabuf{udmabuf_device};
    rlimit old{};
    REQUIRE(::getrlimit(RLIMIT_NOFILE, &old) == 0);
    const std::size_t before = support::open_descriptors();
    const unique_fd lowest{::fcntl(STDOUT_FILENO, F_DUPFD_CLOEXEC, 0)};
    for (rlim_t room = 0; room < 6; ++room) {
        const rlimit few{static_cast<rlim_t>(lowest.get()) + 1 + room, old.rlim_max};
        REQUIRE(::setrlimit(RLIMIT_NOFILE, &few) == 0);
        const bool made = static_cast<bool>(f.allocate(4096));
        REQUIRE(::setrlimit(RLIMIT_NOFILE, &old) == 0);
        CHECK(made == (room > 0));
        if (!made) { CHECK(f.ec == std::errc::too_many_files_open); }
        CHECK(support::open_descriptors() == before + 1);
    }
}

TEST_CASE("every usual failure of a device has its remedy, in one line") {
    for (const memory_kind kind : {memory_kind::dma_heap, memory_kind::udmabuf}) {
        for (const int error : {EACCES, EPERM, ENOENT, ENXIO, ENODEV, EINVAL, ENOMEM, ENOTTY, EMFILE, ENFILE}) {
            const std::string_view text = remedy_for(kind, {error, std::system_category()});
            CHECK_FALSE(text.empty());
            CHECK(text.find('\n') == std::string_view::npos);
        }
        CHECK(remedy_for(kind, {EIO, std::system_category()}).empty());
        CHECK(remedy_for(kind, errc{ENOMEM}).empty());
    }
    CHECK(remedy_for(memory_kind::memfd, {ENOMEM, std::system_category()}).empty());
}

// ---- what a device should not give -----------------------------------------------------------------------------------

namespace {

/// Says another size of the dma-bufs than they have.
struct odd_size : support::meddler {
    long long size;
    explicit odd_size(long long bytes) : size{bytes} {}
    long long change_size(long long) override { return size; }
};

/// A heap that gives memory, but no dma-buf.
struct odd_heap : support::meddler {
    int change_answer(unsigned long request, void* argument, int result) override {
        if (request != DMA_HEAP_IOCTL_ALLOC) { return result; }
        auto& made = *static_cast<dma_heap_allocation_data*>(argument);
        const unique_fd unwanted{static_cast<int>(made.fd)};
        unique_fd memory{::memfd_create("no dma-buf", MFD_CLOEXEC | MFD_ALLOW_SEALING)};
        REQUIRE(::ftruncate(memory.get(), static_cast<off_t>(made.len)) == 0);
        made.fd = static_cast<std::uint32_t>(memory.release());
        return result;
    }
};

/// How many pages of dma-bufs this process has mapped.
std::size_t mapped_pages_of_fakes() {
    std::ifstream maps{"/proc/self/maps"};
    std::size_t bytes = 0;
    for (std::string line; std::getline(maps, line);) {
        if (line.find("fake dma-buf") == line.npos) { continue; }
        std::size_t end_of_first = 0;
        const std::size_t first = std::stoul(line, &end_of_first, 16);
        bytes += std::stoul(line.substr(end_of_first + 1), nullptr, 16) - first;
    }
    return bytes / page_size();
}

} // namespace

TEST_CASE("a heap that gives less than it was asked for has failed, and the next source serves") {
    fixture f;
    const fake_device heap{system_heap};
    odd_size meddler{static_cast<long long>(page_size())};
    const support::meddling scope{meddler};
    const std::size_t before = support::open_descriptors();
    const buffer b = f.allocate(page_size() + 1);
    CHECK(b.memory() == memory_kind::memfd);
    REQUIRE(f.report.failed.size() == 2);
    CHECK(f.report.failed[0].error == errc::not_a_buffer);
    CHECK(is_zeroed(b));
    CHECK(support::open_descriptors() == before + 1);
}

TEST_CASE("a heap that gives something else than a dma-buf has failed") {
    fixture f;
    const fake_device heap{system_heap};
    odd_heap meddler;
    const support::meddling scope{meddler};
    CHECK_FALSE(f.allocate(100, memory_kind::dma_heap));
    CHECK(f.ec == errc::not_a_buffer);
}

TEST_CASE("what a heap gives beyond what it was asked for is not kept mapped") {
    fixture f;
    const fake_device heap{system_heap};
    odd_size meddler{static_cast<long long>(64 * page_size())};
    const support::meddling scope{meddler};
    const std::size_t before = mapped_pages_of_fakes();
    {
        const buffer b = f.allocate(page_size() + 1);
        CHECK(b.memory() == memory_kind::dma_heap);
        CHECK(mapped_pages_of_fakes() == before + 2);
    }
    CHECK(mapped_pages_of_fakes() == before);
}
