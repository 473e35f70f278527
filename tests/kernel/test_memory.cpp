// SPDX-License-Identifier: MIT
#include <dmasync/memory.hpp>

#include <dmasync/domain.hpp>
#include <dmasync/lock.hpp>
#include <dmasync/manual_loop.hpp>

#include <doctest/doctest.h>
#include <support/fake_dma_buf.hpp>
#include <support/pipe.hpp>

#include <string>
#include <system_error>
#include <utility>

#include <fcntl.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <unistd.h>

using namespace dmasync;
using support::fake_dma_buf;

namespace {

struct fixture {
    manual_loop loop;
    domain media{loop};
    std::error_code ec;
};

unique_fd memory_file(off_t size) {
    unique_fd fd{::memfd_create("memory", MFD_CLOEXEC)};
    REQUIRE(::ftruncate(fd.get(), size) == 0);
    return fd;
}

unique_fd duplicate(const unique_fd& fd) { return unique_fd{::fcntl(fd.get(), F_DUPFD_CLOEXEC, 0)}; }

} // namespace

TEST_CASE("every kind of memory has a name of its own") {
    CHECK(to_string(memory_kind::plain) == "plain");
    CHECK(to_string(memory_kind::memfd) == "memfd");
    CHECK(to_string(memory_kind::udmabuf) == "udmabuf");
    CHECK(to_string(memory_kind::dma_heap) == "dma_heap");
    CHECK(to_string(memory_kind::dma_buf) == "dma_buf");
    CHECK(to_string(static_cast<memory_kind>(99)) == "invalid");
}

TEST_CASE("what a descriptor is can be said in words") {
    const support::pipe p;
    CHECK(describe_descriptor(-1) == "not open");
    CHECK(describe_descriptor(p.read_end.get()) == "a pipe");
    CHECK(describe_descriptor(unique_fd{::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0)}.get()) == "a socket");
    CHECK(describe_descriptor(unique_fd{::open("/", O_RDONLY | O_CLOEXEC)}.get()) == "a directory");
    CHECK(describe_descriptor(unique_fd{::open("/dev/null", O_RDWR | O_CLOEXEC)}.get()) == "a device node (/dev/null)");
    CHECK(describe_descriptor(unique_fd{::open("/proc/self/exe", O_RDONLY | O_CLOEXEC)}.get()) == "a regular file");
    CHECK(describe_descriptor(unique_fd{::eventfd(0, EFD_CLOEXEC)}.get()) == "a kernel object (anon_inode:[eventfd])");
    CHECK(describe_descriptor(memory_file(4096).get()) == "a memory file");
    CHECK(describe_descriptor(memory_file(0).get()) == "a memory file without bytes");
    CHECK(describe_descriptor(fake_dma_buf{0}.fd()) == "a dma-buf without bytes");
    CHECK(describe_descriptor(fake_dma_buf{}.fd()) == "a dma-buf");
    CHECK(describe_descriptor(support::fake_fence{}.file().fd()) == "a sync_file: a fence, not a buffer");
}

TEST_CASE("an imported dma-buf is known by its exporter") {
    fixture f;
    const auto kind_from = [&f](const char* exporter) {
        return f.media.import(fake_dma_buf{4096, exporter}.duplicate()).memory();
    };
    CHECK(kind_from("udmabuf") == memory_kind::udmabuf);
    CHECK(kind_from("system") == memory_kind::dma_heap);
    CHECK(kind_from("vgem") == memory_kind::dma_buf);
    CHECK(f.media.import(memory_file(4096)).memory() == memory_kind::memfd);
    CHECK(buffer{}.memory() == memory_kind::plain);
}

TEST_CASE("two descriptors of one dma-buf are one buffer, with its size and its bytes") {
    fixture f;
    const fake_dma_buf camera{8192};
    const buffer b = f.media.import(camera.duplicate(), "camera");
    CHECK(b == f.media.import(camera.duplicate()));
    CHECK(b != f.media.import(fake_dma_buf{8192}.duplicate()));
    CHECK(b.size() == 8192);
    CHECK(try_lock(write(b)).bytes<0>().size() == 8192);
}

TEST_CASE("a dma-buf that the CPU cannot map is a buffer for devices") {
    fixture f;
    const fake_dma_buf screen;
    const buffer b = f.media.import(screen.unmappable(), "screen", f.ec);
    REQUIRE_FALSE(f.ec);
    CHECK(b.size() == 4096);
    CHECK(try_lock(dma_write(b)));
    const guard held = try_lock(read(b));
    CHECK(held.bytes(b, f.ec).empty());
    CHECK(f.ec == errc::no_cpu_access);
}

TEST_CASE("a dma-buf that was opened for reading can be read") {
    fixture f;
    const fake_dma_buf camera;
    const buffer b = f.media.import(camera.read_only(), "camera");
    const guard held = try_lock(read_write(b));
    CHECK(held.bytes(b).size() == 4096);
    CHECK(held.writable_bytes(b, f.ec).empty());
    CHECK(f.ec == errc::no_cpu_access);
}

TEST_CASE("what is refused is closed") {
    fixture f;
    const std::size_t before = support::open_descriptors();
    CHECK(!f.media.import(support::fake_fence{}.file().release(), {}, f.ec));
    CHECK(f.ec == errc::not_a_buffer);
    CHECK(!f.media.import(memory_file(0), {}, f.ec));
    CHECK(f.ec == errc::not_a_buffer);
    CHECK(support::open_descriptors() == before);
}

#if defined(__cpp_exceptions)
TEST_CASE("an import that is refused says what it was given") {
    fixture f;
    const auto text = [&f](unique_fd fd) -> std::string {
        try {
            static_cast<void>(f.media.import(std::move(fd)));
        } catch (const std::system_error& e) { return e.what(); }
        return {};
    };
    const std::string why = ": " + make_error_code(errc::not_a_buffer).message();
    CHECK(text(unique_fd{::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0)}) ==
          "dmasync: import: a socket is no shareable memory" + why);
    CHECK(text(support::fake_fence{}.file().release()) ==
          "dmasync: import: a sync_file: a fence, not a buffer is no shareable memory" + why);
    CHECK(text(unique_fd{}).starts_with("dmasync: import: ")); // and what the kernel says
}
#endif

TEST_CASE("a memory file that was resized since its import is no second buffer of another size") {
    for (const off_t size : {off_t{4096}, off_t{12288}}) {
        fixture f;
        const unique_fd file = memory_file(8192);
        const buffer known = f.media.import(duplicate(file));
        REQUIRE(::ftruncate(file.get(), size) == 0);
        CHECK_FALSE(f.media.import(duplicate(file), "again", f.ec));
        CHECK(f.ec == errc::size_changed);
    }
}

TEST_CASE("a memory file that was resized can be imported once its buffer is closed") {
    fixture f;
    const unique_fd file = memory_file(4096);
    f.media.import(duplicate(file)).close();
    REQUIRE(::ftruncate(file.get(), 8192) == 0);
    CHECK(f.media.import(duplicate(file)).size() == 8192);
}

TEST_CASE("allocated memory is found again by its descriptor, though its file has whole pages") {
    fixture f;
    const buffer b = f.media.allocate(5000, "odd", {.from = memory_kind::memfd});
    CHECK(f.media.import(unique_fd{::fcntl(b.fd(), F_DUPFD_CLOEXEC, 0)}) == b);
}

TEST_CASE("a memory file that could be made shorter is refused on request") {
    fixture f;
    const unique_fd file = memory_file(4096);
    CHECK_FALSE(f.media.import(duplicate(file), "open", {.cannot_shrink = true}, f.ec));
    CHECK(f.ec == errc::not_sealed);
    CHECK(f.media.import(duplicate(file), "open", f.ec));
}

TEST_CASE("a memory file that is sealed against being made shorter is imported on request") {
    fixture f;
    const unique_fd file{::memfd_create("sealed", MFD_CLOEXEC | MFD_ALLOW_SEALING)};
    REQUIRE(::ftruncate(file.get(), 4096) == 0);
    REQUIRE(::fcntl(file.get(), F_ADD_SEALS, F_SEAL_SHRINK) == 0);
    CHECK(f.media.import(duplicate(file), "sealed", {.cannot_shrink = true}, f.ec));
    CHECK_FALSE(f.ec);
}

TEST_CASE("a dma-buf and allocated memory need no seal to be imported on request") {
    fixture f;
    const fake_dma_buf memory;
    CHECK(f.media.import(memory.duplicate(), "device", {.cannot_shrink = true}));
    const buffer own = f.media.allocate(4096, "own", {.from = memory_kind::memfd});
    CHECK(f.media.import(unique_fd{::fcntl(own.fd(), F_DUPFD_CLOEXEC, 0)}, "own", {.cannot_shrink = true}) == own);
}

TEST_CASE("a dma-buf without bytes is no buffer") {
    fixture f;
    const fake_dma_buf nothing{0};
    CHECK_FALSE(f.media.import(nothing.duplicate(), "nothing", f.ec));
    CHECK(f.ec == errc::not_a_buffer);
}
