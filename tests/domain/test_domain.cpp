// SPDX-License-Identifier: MIT
#include <dmasync/domain.hpp>

#include <dmasync/lock.hpp>
#include <dmasync/manual_loop.hpp>

#include <doctest/doctest.h>
#include <support/probe.hpp>

#include <array>
#include <cstddef>
#include <optional>
#include <span>
#include <string>
#include <system_error>
#include <vector>

#include <fcntl.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

using namespace dmasync;

namespace {

struct fixture {
    manual_loop loop;
    domain media{loop};
    std::error_code ec;
};

unique_fd duplicate(int fd) { return unique_fd{::dup(fd)}; }

} // namespace

TEST_CASE("allocated memory is zeroed, writable, named, and shared by its descriptor") {
    fixture f;
    const buffer b = f.media.allocate(10'000, "frame", {.from = memory_kind::memfd});
    CHECK(b.size() == 10'000);
    CHECK(b.name() == "frame");
    auto held = try_lock(write(b));
    CHECK(held.bytes<0>()[9'999] == std::byte{0});
    held.bytes<0>()[9'999] = std::byte{7};
    std::byte seen{};
    CHECK(::pread(b.fd(), &seen, 1, 9'999) == 1);
    CHECK(seen == std::byte{7});
}

TEST_CASE("allocated memory cannot be resized behind our back") {
    fixture f;
    const buffer b = f.media.allocate(4096, {}, {.from = memory_kind::memfd});
    CHECK(::ftruncate(b.fd(), 0) != 0);
    CHECK(::ftruncate(b.fd(), 1 << 20) != 0);
}

TEST_CASE("no bytes, or more than there can be, cannot be allocated") {
    fixture f;
    CHECK(!f.media.allocate(0, {}, f.ec));
    CHECK(f.ec == errc::not_a_buffer);
    CHECK(!f.media.allocate(~std::size_t{0}, {}, f.ec));
    CHECK(f.ec == std::errc::not_enough_memory);
}

TEST_CASE("two descriptors of the same memory are one buffer, and a duplicate in a set") {
    fixture f;
    const buffer original = f.media.allocate(4096, "original");
    const buffer again = f.media.import(duplicate(original.fd()), "again");
    CHECK(again == original);
    CHECK(again.name() == "original");
    static_cast<void>(try_lock(read(original), read(again), f.ec));
    CHECK(f.ec == errc::duplicate_buffer);
}

TEST_CASE("what is no shareable memory is refused") {
    fixture f;
    unique_fd fd;
    SUBCASE("a pipe") {
        std::array<int, 2> ends{};
        REQUIRE(::pipe(ends.data()) == 0);
        ::close(ends[1]);
        fd.reset(ends[0]);
    }
    SUBCASE("a directory") { fd.reset(::open("/", O_RDONLY | O_CLOEXEC)); }
    SUBCASE("a device") { fd.reset(::open("/dev/null", O_RDWR | O_CLOEXEC)); }
    SUBCASE("an empty memfd") { fd.reset(::memfd_create("empty", MFD_CLOEXEC)); }
    CHECK(!f.media.import(std::move(fd), {}, f.ec));
    CHECK(f.ec == errc::not_a_buffer);
}

TEST_CASE("a descriptor that is not open is refused with the kernel's error") {
    fixture f;
    CHECK(!f.media.import(unique_fd{}, {}, f.ec));
    CHECK(f.ec == std::errc::bad_file_descriptor);
}

TEST_CASE("memory that was opened for reading can be read, and writing it is refused") {
    fixture f;
    const unique_fd writable{::memfd_create("shared", MFD_CLOEXEC)};
    REQUIRE(::ftruncate(writable.get(), 4096) == 0);
    const std::string path = "/proc/self/fd/" + std::to_string(writable.get());
    const buffer b = f.media.import(unique_fd{::open(path.c_str(), O_RDONLY | O_CLOEXEC)}, "shared");
    const guard held = try_lock(read_write(b));
    CHECK(held.bytes(b).size() == 4096);
    CHECK(held.writable_bytes(b, f.ec).empty());
    CHECK(f.ec == errc::no_cpu_access);
}

TEST_CASE("plain memory needs no descriptor, and the same address is the same buffer") {
    fixture f;
    std::array<std::byte, 16> memory{};
    const buffer b = f.media.adopt(memory, "plain");
    CHECK(b.fd() == -1);
    CHECK(b == f.media.adopt(memory));
    CHECK(!f.media.adopt({}, {}, f.ec));
    CHECK(f.ec == errc::not_a_buffer);
}

TEST_CASE("adopted memory that overlaps a buffer's is refused, wherever it begins") {
    fixture f;
    std::array<std::byte, 64> memory{};
    const auto bytes = [&memory](std::size_t from, std::size_t count) {
        return std::span{memory}.subspan(from, count);
    };
    const buffer middle = f.media.adopt(bytes(16, 32), "middle");
    for (const auto part : {bytes(0, 17), bytes(0, 64), bytes(16, 31), bytes(16, 33), bytes(17, 1), bytes(47, 17)}) {
        CHECK_FALSE(f.media.adopt(part, "part", f.ec));
        CHECK(f.ec == errc::overlaps_buffer);
    }
}

TEST_CASE("adopted memory may touch its neighbours") {
    fixture f;
    std::array<std::byte, 48> memory{};
    const std::span bytes{memory};
    const buffer middle = f.media.adopt(bytes.subspan(16, 16));
    CHECK(f.media.adopt(bytes.first(16)));
    CHECK(f.media.adopt(bytes.last(16)));
}

TEST_CASE("memory whose buffer has been closed, or has gone, can be adopted in other parts") {
    fixture f;
    std::array<std::byte, 32> memory{};
    const std::span bytes{memory};
    f.media.adopt(bytes).close();
    static_cast<void>(f.media.adopt(bytes.first(8)));
    CHECK(f.media.adopt(bytes.first(16)));
}

TEST_CASE("an empty handle is harmless") {
    const buffer none;
    CHECK(!none);
    CHECK(none.size() == 0);
    CHECK(none.fd() == -1);
    CHECK(none.name().empty());
    CHECK(none.token() == 0);
    none.close();
}

TEST_CASE("a buffer that only its holder keeps alive is found again by an import") {
    fixture f;
    buffer b = f.media.allocate(4096, "frame");
    unique_fd fd = duplicate(b.fd());
    auto held = try_lock(write(b));
    b = buffer{};
    const buffer found = f.media.import(std::move(fd), "again");
    CHECK(found.name() == "frame");
    CHECK(!try_lock(read(found)));
    held.unlock();
    CHECK(try_lock(read(found)).bytes<0>().size() == 4096);
}

TEST_CASE("the last handle of a waiting buffer may go: the waiter is granted all the same") {
    fixture f;
    buffer b = f.media.allocate(4096);
    guard held = try_lock(write(b));
    guard next;
    const auto wait = [](lock_request<access_mode::write> what, guard& out) -> probe { out = co_await lock(what); };
    const probe p = wait(write(b), next);
    b = buffer{};
    held.unlock();
    f.loop.run_ready();
    CHECK(next);
}

TEST_CASE("a closed buffer's memory can be imported anew, as another buffer") {
    fixture f;
    const buffer old = f.media.allocate(4096);
    old.close();
    const buffer fresh = f.media.import(duplicate(old.fd()));
    CHECK(fresh != old);
    CHECK(try_lock(write(fresh)));
}

TEST_CASE("descriptors and mappings go with the buffer") {
    fixture f;
    const auto lowest_free = [] {
        const unique_fd probe_fd{::open("/dev/null", O_RDONLY | O_CLOEXEC)};
        return probe_fd.get();
    };
    const int before = lowest_free();
    for (int i = 0; i < 10; ++i) {
        const buffer b = f.media.allocate(4096);
        const guard held = try_lock(write(b));
    }
    CHECK(lowest_free() == before);
}

TEST_CASE("too many descriptors: a clear error, and later allocations work") {
    fixture f;
    std::vector<buffer> all;
    const rlim_t limit = 64;
    rlimit old{};
    REQUIRE(::getrlimit(RLIMIT_NOFILE, &old) == 0);
    const rlimit small{limit, old.rlim_max};
    REQUIRE(::setrlimit(RLIMIT_NOFILE, &small) == 0);
    while (!f.ec && all.size() < limit) { all.push_back(f.media.allocate(4096, {}, f.ec)); }
    CHECK(f.ec == std::errc::too_many_files_open);
    all.clear();
    CHECK(f.media.allocate(4096));
    ::setrlimit(RLIMIT_NOFILE, &old);
}
