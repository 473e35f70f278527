// SPDX-License-Identifier: MIT
// Which descriptors are one buffer, and what is known of it, with the dma-bufs of every driver in the test machine.
#include <dmasync/domain.hpp>

#include <dmasync/dma_buf.hpp>
#include <dmasync/fence.hpp>
#include <dmasync/lock.hpp>
#include <dmasync/lock_set.hpp>
#include <dmasync/manual_loop.hpp>

#include <doctest/doctest.h>
#include <support/child.hpp>
#include <support/exporters.hpp>
#include <support/probe.hpp>
#include <support/sw_sync.hpp>
#include <support/video_queue.hpp>

#include <array>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <fstream>
#include <string>
#include <system_error>
#include <thread>
#include <utility>
#include <vector>

#include <fcntl.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

using namespace dmasync;
using namespace std::chrono_literals;

namespace {

constexpr std::size_t size = std::size_t{16} * 4096;

struct fixture {
    manual_loop loop;
    domain media{loop};
    std::error_code ec;
};

unique_fd duplicate(const unique_fd& fd) { return unique_fd{::fcntl(fd.get(), F_DUPFD_CLOEXEC, 0)}; }

struct socket_pair {
    socket_pair() {
        std::array<int, 2> made{};
        REQUIRE(::socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, made.data()) == 0);
        here.reset(made[0]);
        there.reset(made[1]);
    }
    unique_fd here;
    unique_fd there;
};

/// A message of one byte that may have a descriptor with it.
struct message {
    message() {
        header.msg_iov = &bytes;
        header.msg_iovlen = 1;
        header.msg_control = room.data();
        header.msg_controllen = room.size();
    }
    char byte = 0;
    iovec bytes{&byte, 1};
    alignas(cmsghdr) std::array<char, CMSG_SPACE(sizeof(int))> room{};
    msghdr header{};
};

bool send(const unique_fd& socket, int fd) {
    message m;
    cmsghdr* control = CMSG_FIRSTHDR(&m.header);
    control->cmsg_level = SOL_SOCKET;
    control->cmsg_type = SCM_RIGHTS;
    control->cmsg_len = CMSG_LEN(sizeof fd);
    std::memcpy(CMSG_DATA(control), &fd, sizeof fd);
    return ::sendmsg(socket.get(), &m.header, 0) == 1;
}

unique_fd receive(const unique_fd& socket) {
    message m;
    int fd = -1;
    if (::recvmsg(socket.get(), &m.header, MSG_CMSG_CLOEXEC) == 1 && CMSG_FIRSTHDR(&m.header) != nullptr) {
        std::memcpy(&fd, CMSG_DATA(CMSG_FIRSTHDR(&m.header)), sizeof fd);
    }
    return unique_fd{fd};
}

/// What a descriptor is known as, once its import has been refused.
std::string refused(unique_fd fd) {
    fixture f;
    REQUIRE(fd);
    std::string what = describe_descriptor(fd.get());
    CHECK(!f.media.import(std::move(fd), {}, f.ec));
    CHECK(f.ec == errc::not_a_buffer);
    return what;
}

probe keep(guard& out, const buffer& b) { out = co_await dmasync::lock(read(b)); }

void check_same(fixture& f, const buffer& one, const buffer& other) {
    CHECK(one == other);
    lock_set set{f.media};
    set.add(one, access_mode::read);
    set.add(other, access_mode::read, f.ec);
    CHECK(f.ec == errc::duplicate_buffer);
    static_cast<void>(try_lock(read(one), write(other), f.ec));
    CHECK(f.ec == errc::duplicate_buffer);
}

/// Two that share their memory, not their fences.
void check_aliases(fixture& f, const buffer& one, const buffer& other) {
    CHECK(one != other);
    const auto held = try_lock(write(one), write(other), f.ec);
    REQUIRE_FALSE(f.ec);
    held.bytes<0>()[5] = std::byte{42};
    CHECK(held.bytes<1>()[5] == std::byte{42});
}

} // namespace

// ---- one buffer -------------------------------------------------------------------------------------------------------

TEST_CASE("duplicates of a descriptor are one buffer, whatever driver it is from") {
    for (const support::exporter& e : support::exporters()) {
        CAPTURE(e.name);
        fixture f;
        const unique_fd made = e.make(size);
        const buffer b = f.media.import(duplicate(made));
        check_same(f, b, f.media.import(duplicate(made)));
        CHECK(b != f.media.import(e.make(size)));
    }
}

TEST_CASE("a descriptor that was sent through a socket is the same buffer") {
    for (const support::exporter& e : support::exporters()) {
        CAPTURE(e.name);
        fixture f;
        const unique_fd made = e.make(size);
        const socket_pair sockets;
        REQUIRE(send(sockets.here, made.get()));
        check_same(f, f.media.import(duplicate(made)), f.media.import(receive(sockets.there)));
    }
}

TEST_CASE("a descriptor that comes back from another process is the same buffer") {
    for (const support::exporter& e : support::exporters()) {
        CAPTURE(e.name);
        fixture f;
        const buffer b = f.media.import(e.make(size));
        const socket_pair sockets;
        REQUIRE(send(sockets.here, b.fd()));
        const auto child = support::in_child([&]() noexcept {
            const unique_fd received = receive(sockets.there);
            return send(sockets.there, duplicate(received).get()) ? 0 : 1;
        });
        REQUIRE(child.exit_code == 0);
        check_same(f, b, f.media.import(receive(sockets.here)));
    }
}

TEST_CASE("in another process, too, what is sent twice is one buffer, and has the bytes that were written here") {
    for (const support::exporter& e : support::exporters()) {
        CAPTURE(e.name);
        fixture f;
        const buffer b = f.media.import(e.make(size));
        try_lock(write(b)).bytes<0>()[7] = std::byte{77};
        const socket_pair sockets;
        REQUIRE(send(sockets.here, b.fd()));
        REQUIRE(send(sockets.here, b.fd()));
        const auto child = support::in_child([&]() noexcept {
            fixture there;
            const buffer one = there.media.import(receive(sockets.there));
            const buffer two = there.media.import(receive(sockets.there));
            return one == two && try_lock(read(one)).bytes<0>()[7] == std::byte{77} ? 0 : 1;
        });
        CHECK(child.exit_code == 0);
    }
}

TEST_CASE("a card's buffer that is exported twice is one buffer") {
    for (const char* driver : {"vgem", "virtio_gpu", "vkms"}) {
        CAPTURE(driver);
        fixture f;
        const support::dumb_buffer dumb{driver, size};
        check_same(f, f.media.import(dumb.share()), f.media.import(dumb.share()));
    }
}

TEST_CASE("a card's buffer is the same when it is exported again after all its descriptors were closed") {
    fixture f;
    const support::dumb_buffer dumb{"vgem", size};
    const auto before = detail::open_memory(dumb.share(), {}, f.ec).identity;
    CHECK(before == detail::open_memory(dumb.share(), {}, f.ec).identity);
}

TEST_CASE("what a card has imported and exports again is the buffer that it was") {
    fixture f;
    const buffer b = f.media.import(support::allocate_from_heap("system", size));
    const unique_fd card = support::open_card("vgem");
    std::uint32_t handle = 0;
    REQUIRE(::drmPrimeFDToHandle(card.get(), b.fd(), &handle) == 0);
    int fd = -1;
    REQUIRE(::drmPrimeHandleToFD(card.get(), handle, DRM_CLOEXEC | DRM_RDWR, &fd) == 0);
    check_same(f, b, f.media.import(unique_fd{fd}));
}

TEST_CASE("a buffer that goes and comes again is a new one") {
    fixture f;
    const unique_fd made = support::allocate_from_heap("system", size);
    buffer b = f.media.import(duplicate(made));
    static_cast<void>(try_lock(write(b)));
    CHECK(b.token() == 2);
    b = {};
    CHECK(f.media.import(duplicate(made)).token() == 0);
}

TEST_CASE("a domain of its own has a buffer of its own") {
    fixture f;
    domain other{f.loop};
    const unique_fd made = support::allocate_from_heap("system", size);
    const buffer here = f.media.import(duplicate(made));
    const buffer there = other.import(duplicate(made));
    CHECK(here != there);
    static_cast<void>(try_lock(read(here), read(there), f.ec));
    CHECK(f.ec == errc::wrong_domain);
}

TEST_CASE("a lock by a second descriptor waits for a hold by the first") {
    for (const support::exporter& e : support::exporters()) {
        CAPTURE(e.name);
        fixture f;
        const unique_fd made = e.make(size);
        guard held = try_lock(write(f.media.import(duplicate(made))));
        REQUIRE(held);
        const buffer second = f.media.import(duplicate(made)); // while the only handle is the holder's
        CHECK(try_lock(read(second)).error() == errc::would_block);
        guard granted;
        const probe reader = keep(granted, second);
        f.loop.run_ready();
        CHECK_FALSE(granted);
        held.unlock();
        f.loop.run_ready();
        CHECK(granted);
    }
}

// ---- two buffers ------------------------------------------------------------------------------------------------------

TEST_CASE("two exports of one buffer of a camera are two buffers of one memory") {
    fixture f;
    const support::camera_queue camera{V4L2_MEMORY_MMAP, 2};
    check_aliases(f, f.media.import(camera.share(0)), f.media.import(camera.share(0)));
}

TEST_CASE("two udmabufs of one memfd are two buffers of one memory, and the memfd is a third") {
    fixture f;
    const unique_fd memory = support::make_memfd(size);
    const buffer one = f.media.import(support::make_udmabuf(memory, size));
    const buffer two = f.media.import(support::make_udmabuf(memory, size));
    check_aliases(f, one, two);
    check_aliases(f, one, f.media.import(duplicate(memory)));
}

TEST_CASE("what is pending on one alias is no matter for the other") {
    fixture f;
    const unique_fd memory = support::make_memfd(size);
    const unique_fd one = support::make_udmabuf(memory, size);
    const unique_fd two = support::make_udmabuf(memory, size);
    const support::sw_timeline device;
    dma_buf::import_fence(one.get(), device.create(1), access_mode::dma_write, f.ec);
    REQUIRE_FALSE(f.ec);
    CHECK_FALSE(dma_buf::is_idle(one.get(), access_mode::read));
    CHECK(dma_buf::is_idle(two.get(), access_mode::write));
    CHECK(try_lock(write(f.media.import(duplicate(two)))));
    CHECK(try_lock(read(f.media.import(duplicate(one)))).error() == errc::would_block);
}

TEST_CASE("work that a card began before its buffer was exported is waited for") {
    struct attach_request { // include/uapi/drm/vgem_drm.h, which is not everywhere
        std::uint32_t handle;
        std::uint32_t flags; // 1: it writes
        std::uint32_t out_fence;
        std::uint32_t pad;
    };
    for (const bool writes : {false, true}) {
        CAPTURE(writes);
        fixture f;
        const support::dumb_buffer dumb{"vgem", size};
        attach_request work{dumb.handle(), writes ? 1U : 0U, 0, 0};
        REQUIRE(::drmIoctl(dumb.card(), DRM_IOWR(DRM_COMMAND_BASE + 1, attach_request), &work) == 0);
        const buffer b = f.media.import(dumb.share());
        CHECK(static_cast<bool>(try_lock(read(b))) == !writes);
        CHECK_FALSE(try_lock(write(b)));
        std::array<std::uint32_t, 2> done{work.out_fence, 0};
        REQUIRE(::drmIoctl(dumb.card(), DRM_IOW(DRM_COMMAND_BASE + 2, done), done.data()) == 0);
        CHECK(try_lock(write(b)));
    }
}

// ---- fences -----------------------------------------------------------------------------------------------------------

TEST_CASE("a fence that was sent to another process is pending there, and ends there as well") {
    const support::sw_timeline device;
    const fence work = device.create(1);
    const socket_pair sockets;
    REQUIRE(send(sockets.here, work.fd()));
    std::jthread end{[&] {
        char told = 0;
        if (::read(sockets.here.get(), &told, 1) == 1) { device.advance(); }
    }};
    const auto child = support::in_child([&]() noexcept {
        const fence received = fence::adopt(receive(sockets.there));
        const bool was_pending = received.state() == fence_state::pending;
        if (::write(sockets.there.get(), "", 1) != 1 || !was_pending) { return 1; }
        return received.blocking_wait(event_loop::clock::now() + 10s) ? 2 : 0;
    });
    CHECK(child.exit_code == 0);
}

TEST_CASE("a fence that is waited for here ends when another process gets its timeline through a socket") {
    const support::sw_timeline device;
    const fence work = device.create(1);
    const socket_pair sockets;
    std::jthread other{[&] {
        const auto child = support::in_child([&]() noexcept {
            const support::sw_timeline received{receive(sockets.there)};
            received.advance();
            return 0;
        });
        CHECK(child.exit_code == 0);
    }};
    CHECK(work.state() == fence_state::pending);
    REQUIRE(send(sockets.here, device.fd()));
    CHECK_FALSE(work.blocking_wait(event_loop::clock::now() + 10s));
}

TEST_CASE("a fence that another process ends has ended here") {
    const support::sw_timeline device;
    const fence work = device.create(1);
    const auto child = support::in_child([&]() noexcept {
        if (work.state() != fence_state::pending) { return 1; }
        device.advance();
        return 0;
    });
    CHECK(child.exit_code == 0);
    CHECK(work.state() == fence_state::signalled);
}

// ---- no buffer --------------------------------------------------------------------------------------------------------

TEST_CASE("what is no memory is refused, and known for what it is") {
    const auto opened = [](const char* path) { return unique_fd{::open(path, O_RDONLY | O_CLOEXEC)}; };
    std::array<int, 2> pipe{};
    REQUIRE(::pipe2(pipe.data(), O_CLOEXEC) == 0);
    CHECK(refused(unique_fd{pipe[0]}) == "a pipe");
    CHECK(refused(unique_fd{pipe[1]}) == "a pipe");
    CHECK(refused(std::move(socket_pair{}.here)) == "a socket");
    CHECK(refused(support::sw_timeline{}.create(1).release()) == "a sync_file: a fence, not a buffer");
    CHECK(refused(opened("/proc/self/exe")) == "a regular file");
    CHECK(refused(opened("/tmp")) == "a directory");
    CHECK(refused(opened("/dev/null")) == "a device node (/dev/null)");
    CHECK(refused(opened("/dev/udmabuf")) == "a device node (/dev/udmabuf)");
    CHECK(refused(opened("/dev/dma_heap/system")) == "a device node (/dev/dma_heap/system)");
    CHECK(refused(unique_fd{::memfd_create("empty", MFD_CLOEXEC)}) == "a memory file without bytes");
}

TEST_CASE("a device that makes buffers is none itself") {
    CHECK(refused(support::open_card("vgem")).starts_with("a device node (/dev/dri/card"));
    CHECK(refused(support::open_video("vivid", V4L2_CAP_VIDEO_CAPTURE)).starts_with("a device node (/dev/video"));
    CHECK(refused(support::open_device("/sys/kernel/debug/sync/sw_sync")) == "a regular file"); // as debugfs has them
}

#if defined(__cpp_exceptions)
TEST_CASE("an import that is refused says what it was given") {
    fixture f;
    std::string text;
    try {
        static_cast<void>(f.media.import(support::open_device("/dev/udmabuf")));
    } catch (const std::system_error& e) { text = e.what(); }
    CHECK(text.starts_with("dmasync: import: a device node (/dev/udmabuf) is no shareable memory: "));
}
#endif

// ---- what is known of it ----------------------------------------------------------------------------------------------

TEST_CASE("every driver is known by its name, its buffers by their kind and size") {
    for (const support::exporter& e : support::exporters()) {
        CAPTURE(e.name);
        fixture f;
        const buffer b = f.media.import(e.make(size));
        CHECK(dma_buf::exporter(b.fd()) == e.known_as);
        CHECK(b.memory() == e.kind);
        CHECK((e.name == "vivid" || b.size() == size));
        CHECK(b.size() % 4096 == 0);
        CHECK(dma_buf::size(b.fd(), f.ec) == b.size());
        CHECK(try_lock(read(b)).bytes<0>().size() == b.size());
    }
}

TEST_CASE("a name is seen through every descriptor, in the kernel's own files, and as long as it is allowed to be") {
    const std::string name = "a name of thirty-one characters";
    for (const support::exporter& e : support::exporters()) {
        CAPTURE(e.name);
        const unique_fd made = e.make(size);
        CHECK(dma_buf::name(made.get()).empty());
        REQUIRE_FALSE(dma_buf::set_name(made.get(), name + ", and more"));
        CHECK(dma_buf::name(duplicate(made).get()) == name);
        std::ifstream list{"/sys/kernel/debug/dma_buf/bufinfo"};
        bool listed = false;
        for (std::string line; std::getline(list, line);) { listed = listed || line.find(name) != std::string::npos; }
        CHECK(listed);
    }
}

TEST_CASE("what a domain allocates has its name and its source known to the kernel") {
    fixture f;
    const buffer heap = f.media.allocate(100, "from a heap", {.from = memory_kind::dma_heap});
    const buffer udmabuf = f.media.allocate(100, "of a memfd", {.from = memory_kind::udmabuf});
    CHECK(dma_buf::name(heap.fd()) == "from a heap");
    CHECK(dma_buf::exporter(heap.fd()) == "system");
    CHECK(dma_buf::name(udmabuf.fd()) == "of a memfd");
    CHECK(dma_buf::exporter(udmabuf.fd()) == "udmabuf");
    CHECK(heap.size() == 100);
    CHECK(dma_buf::size(heap.fd(), f.ec) == 4096);
}

TEST_CASE("an import leaves the buffer the name that it was given elsewhere") {
    fixture f;
    unique_fd made = support::allocate_from_heap("system", size);
    REQUIRE_FALSE(dma_buf::set_name(made.get(), "theirs"));
    const buffer b = f.media.import(std::move(made), "ours");
    CHECK(b.name() == "ours");
    CHECK(dma_buf::name(b.fd()) == "theirs");
}

// ---- its bytes --------------------------------------------------------------------------------------------------------

TEST_CASE("every driver's buffers can be written and read") {
    for (const support::exporter& e : support::exporters()) {
        CAPTURE(e.name);
        fixture f;
        const buffer b = f.media.import(e.make(size));
        try_lock(write(b)).bytes<0>().back() = std::byte{1};
        CHECK(try_lock(read(b)).bytes<0>().back() == std::byte{1});
    }
}

TEST_CASE("what was exported for reading can be read, not written") {
    const auto check = [](unique_fd fd) {
        fixture f;
        const buffer b = f.media.import(std::move(fd));
        CHECK(try_lock(read(b)).bytes<0>().size() == b.size());
        const guard held = try_lock(write(b));
        CHECK(held.bytes(b).size() == b.size());
        CHECK(held.writable_bytes(b, f.ec).empty());
        CHECK(f.ec == errc::no_cpu_access);
    };
    check(support::dumb_buffer{"vgem", size}.share(DRM_CLOEXEC));
    check(support::dumb_buffer{"virtio_gpu", size}.share(DRM_CLOEXEC));
    for (const std::string& heap : support::heaps()) { check(support::allocate_from_heap(heap, size, O_RDONLY)); }
    check(support::camera_queue{V4L2_MEMORY_MMAP, 2}.share(0, O_RDONLY));
}

TEST_CASE("what cannot be mapped at all is a buffer for devices, and says so when its bytes are asked for") {
    const auto check = [](unique_fd fd) {
        fixture f;
        static_cast<void>(dma_buf::map(fd.get(), size, f.ec));
        CHECK(f.ec == errc::no_cpu_access);
        const buffer b = f.media.import(std::move(fd));
        CHECK(try_lock(dma_write(b)));
        const guard held = try_lock(read(b));
        CHECK(held.bytes(b, f.ec).empty());
        CHECK(f.ec == errc::no_cpu_access);
    };
    for (const std::string& heap : support::heaps()) { check(support::allocate_from_heap(heap, size, O_WRONLY)); }
    check(support::camera_queue{V4L2_MEMORY_MMAP, 2}.share(0, O_WRONLY));
}

TEST_CASE("a buffer is mapped as the descriptor allows that it was imported by first") {
    fixture f;
    const support::dumb_buffer dumb{"vgem", size};
    const buffer for_reading = f.media.import(dumb.share(DRM_CLOEXEC));
    const buffer b = f.media.import(dumb.share());
    CHECK(b == for_reading);
    const guard held = try_lock(write(b));
    CHECK(held.writable_bytes(b, f.ec).empty());
    CHECK(f.ec == errc::no_cpu_access);
}
