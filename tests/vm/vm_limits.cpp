// SPDX-License-Identifier: MIT
// What happens at the limits that a machine sets: descriptors, rights, sizes, and a process that dies in the middle.
#include <dmasync/domain.hpp>

#include <dmasync/allocation.hpp>
#include <dmasync/dma_buf.hpp>
#include <dmasync/epoll_loop.hpp>
#include <dmasync/lock.hpp>
#include <dmasync/manual_loop.hpp>
#include <dmasync/mapping.hpp>
#include <dmasync/uring_loop.hpp>

#include <doctest/doctest.h>
#include <support/child.hpp>
#include <support/exporters.hpp>
#include <support/pipe.hpp>
#include <support/probe.hpp>
#include <support/skip.hpp>
#include <support/sw_sync.hpp>
#include <support/video_queue.hpp>

#include <algorithm>
#include <array>
#include <chrono>
#include <csignal>
#include <cstddef>
#include <fstream>
#include <string>
#include <string_view>
#include <system_error>
#include <thread>
#include <utility>
#include <vector>

#include <fcntl.h>
#include <grp.h>
#include <linux/udmabuf.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

using namespace dmasync;
using namespace std::chrono_literals;

namespace {

constexpr std::size_t size = 4096;
constexpr std::size_t megabyte = 1 << 20;

struct fixture {
    manual_loop loop;
    domain media{loop, {.report = {}}};
    std::error_code ec;
};

unique_fd duplicate(const unique_fd& fd) { return unique_fd{::fcntl(fd.get(), F_DUPFD_CLOEXEC, 0)}; }

std::size_t open_descriptors() { return support::paths_in("/proc/self/fd").size(); }

/// Changes a limit of the process while in scope.
class limit {
public:
    limit(__rlimit_resource what, rlim_t to) : what_{what} {
        REQUIRE(::getrlimit(what_, &before_) == 0);
        rlimit changed = before_;
        changed.rlim_cur = to;
        REQUIRE(::setrlimit(what_, &changed) == 0);
    }
    limit(const limit&) = delete;
    limit& operator=(const limit&) = delete;
    ~limit() { ::setrlimit(what_, &before_); }

private:
    __rlimit_resource what_;
    rlimit before_{};
};

/// As long as it is in scope, no further descriptor can be had.
class no_descriptors : limit {
public:
    no_descriptors() : limit{RLIMIT_NOFILE, first_free()} {}

private:
    static rlim_t first_free() {
        const unique_fd next{::dup(STDIN_FILENO)};
        REQUIRE(next);
        return static_cast<rlim_t>(next.get());
    }
};

/// A dma-buf that a device writes.
struct busy_buffer {
    explicit busy_buffer(fixture& f) : made{support::allocate_from_heap("system", size)} {
        dma_buf::import_fence(made.get(), device.create(1), access_mode::dma_write, f.ec);
        REQUIRE_FALSE(f.ec);
        b = f.media.import(duplicate(made));
    }
    unique_fd made;
    support::sw_timeline device;
    buffer b;
};

probe keep(guard& out, const buffer& b, std::error_code& ec) { out = co_await dmasync::lock(read(b), ec); }

bool is_listed(std::string_view name) {
    std::ifstream list{"/sys/kernel/debug/dma_buf/bufinfo"};
    for (std::string line; std::getline(list, line);) {
        if (line.find(name) != std::string::npos) { return true; }
    }
    return false;
}

/// Whether the kernel has let go of all dma-bufs of a name: it does so behind the back of what has closed them.
bool goes_away(std::string_view name) {
    for (int i = 0; i < 500 && is_listed(name); ++i) { std::this_thread::sleep_for(10ms); }
    return !is_listed(name);
}

/// A parameter of a module of the kernel's, changed while in scope.
class module_parameter {
public:
    module_parameter(std::string path, const std::string& value) : path_{std::move(path)} {
        std::ifstream{path_} >> before_;
        REQUIRE((std::ofstream{path_} << value).flush().good());
    }
    module_parameter(const module_parameter&) = delete;
    module_parameter& operator=(const module_parameter&) = delete;
    ~module_parameter() { std::ofstream{path_} << before_; }

private:
    std::string path_;
    std::string before_;
};

constexpr const char* size_limit = "/sys/module/udmabuf/parameters/size_limit_mb";

/// Goes on as a user without rights, in the groups `groups`.
bool become_nobody(const std::vector<gid_t>& groups = {}) {
    constexpr uid_t nobody = 65534;
    return ::setgroups(groups.size(), groups.data()) == 0 && ::setgid(nobody) == 0 && ::setuid(nobody) == 0;
}

/// One line for each source that was tried.
std::string to_text(const allocation_report& report) {
    std::string text;
    for (const allocation_attempt& a : report.failed) {
        text += std::string{to_string(a.kind)} + ": " + a.error.message() + ": " + std::string{a.remedy} + "\n";
    }
    return text + (report.source ? "from " + std::string{to_string(*report.source)} + "\n" : "nothing\n");
}

void write_text(const std::string& text) { static_cast<void>(::write(STDERR_FILENO, text.data(), text.size())); }

/// A process of its own that goes on until it is killed.
class victim {
public:
    /// `body(ready)`: calls `ready()` when it may be killed, and goes on.
    template <class Body>
    explicit victim(Body body) : child_{::fork()} {
        if (child_ != 0) { return; }
        std::signal(SIGABRT, SIG_DFL); // doctest would report it
        run(body);
    }
    victim(const victim&) = delete;
    victim& operator=(const victim&) = delete;
    ~victim() { kill(); }

    void wait_until_ready() const {
        pollfd entry{ready_.read_end.get(), POLLIN, 0};
        REQUIRE(::poll(&entry, 1, 30'000) == 1);
    }

    /// Returns: the signal that it died of.
    int kill() {
        if (child_ <= 0) { return 0; }
        int status = 0;
        ::kill(child_, SIGKILL);
        ::waitpid(std::exchange(child_, 0), &status, 0);
        return WIFSIGNALED(status) ? WTERMSIG(status) : 0;
    }

private:
    template <class Body>
    [[noreturn]] void run(Body& body) noexcept { // an exception ends it
        body([this] { ready_.put(); });
        ::_exit(1);
    }

    support::pipe ready_;
    pid_t child_;
};

/// Takes a few pictures, by a camera of its own.
void check_camera() {
    const support::camera_queue camera{V4L2_MEMORY_MMAP, 2};
    camera->enqueue(0);
    camera->enqueue(1);
    camera->start();
    for (int i = 0; i < 3; ++i) { camera->enqueue(camera->dequeue()); }
    camera->stop();
}

} // namespace

// ---- descriptors ------------------------------------------------------------------------------------------------------

TEST_CASE("without descriptors nothing is allocated, and the report says what to do") {
    fixture f;
    const std::size_t before = open_descriptors();
    allocation_report report;
    {
        const no_descriptors none;
        CHECK(!f.media.allocate(size, "memory", {.report = &report}, f.ec));
    }
    CHECK(f.ec == std::errc::too_many_files_open);
    CHECK_FALSE(report.source);
    REQUIRE(report.failed.size() == 3);
    for (const allocation_attempt& a : report.failed) {
        CHECK(a.error == std::errc::too_many_files_open);
        CHECK(a.remedy == "raise the limit of open files: ulimit -n, fs.file-max");
    }
    CHECK(open_descriptors() == before);
    CHECK(f.media.allocate(size, "memory", {.report = &report}).memory() == memory_kind::dma_heap);
    CHECK(report.failed.empty());
}

TEST_CASE("descriptors that end half-way through an allocation are not lost") {
    for (const memory_kind kind : {memory_kind::dma_heap, memory_kind::udmabuf}) {
        CAPTURE(to_string(kind));
        fixture f;
        const std::size_t before = open_descriptors();
        for (rlim_t left = 0; left < 4; ++left) { // device, memfd, dma-buf
            const unique_fd next{::dup(STDIN_FILENO)};
            const limit few{RLIMIT_NOFILE, static_cast<rlim_t>(next.get()) + 1 + left};
            const buffer b = f.media.allocate(size, "memory", {.from = kind}, f.ec);
            CHECK((b || f.ec == std::errc::too_many_files_open));
            if (b) { CHECK(try_lock(write(b))); }
        }
        CHECK_FALSE(f.ec); // with four it works
        CHECK(open_descriptors() == before);
    }
}

TEST_CASE("an import needs no further descriptor") {
    for (const support::exporter& e : support::exporters()) {
        CAPTURE(e.name);
        fixture f;
        unique_fd made = e.make(size);
        buffer b;
        {
            const no_descriptors none;
            b = f.media.import(std::move(made), "memory", f.ec);
            REQUIRE_FALSE(f.ec);
            CHECK(try_lock(write(b)));
        }
        CHECK(b.memory() >= memory_kind::udmabuf); // which driver's it is has not been found out
    }
}

TEST_CASE("without descriptors no fence is exported, and none is lost") {
    fixture f;
    const busy_buffer busy{f};
    const std::size_t before = open_descriptors();
    {
        const no_descriptors none;
        CHECK_FALSE(dma_buf::export_fence(busy.b.fd(), access_mode::read, f.ec));
        CHECK(f.ec == std::errc::too_many_files_open);
    }
    CHECK(open_descriptors() == before);
    CHECK(dma_buf::export_fence(busy.b.fd(), access_mode::read, f.ec).state() == fence_state::pending);
}

TEST_CASE("without descriptors a lock that has to wait for a device says so, and later ones work") {
    fixture f;
    const busy_buffer busy{f};
    const std::size_t before = open_descriptors();
    guard held;
    {
        const no_descriptors none;
        std::error_code ec;
        const probe reader = keep(held, busy.b, ec);
        f.loop.run_ready();
        CHECK(reader.done());
        CHECK(ec == std::errc::too_many_files_open);
        CHECK_FALSE(held);
    }
    CHECK(open_descriptors() == before);
    std::error_code ec;
    const probe reader = keep(held, busy.b, ec);
    f.loop.run_ready();
    CHECK_FALSE(reader.done());
    busy.device.advance();
    f.loop.run_ready();
    CHECK(held);
    held.unlock();
    CHECK(open_descriptors() == before);
}

TEST_CASE("without descriptors a thread that has to wait for a device is told so, and later ones work") {
    fixture f;
    const busy_buffer busy{f};
    const std::size_t before = open_descriptors();
    {
        const no_descriptors none;
        CHECK_FALSE(blocking_lock(read(busy.b), f.ec));
        CHECK(f.ec == std::errc::too_many_files_open);
    }
    CHECK(open_descriptors() == before);
    const std::jthread end{[&busy] {
        std::this_thread::sleep_for(50ms);
        busy.device.advance();
    }};
    CHECK(blocking_lock(read(busy.b), f.ec));
    CHECK_FALSE(f.ec);
}

TEST_CASE("without descriptors what no device is at work on is locked, lent and released") {
    fixture f;
    const busy_buffer busy{f};
    const fence work = busy.device.create(2);
    std::error_code ec;
    const buffer b = f.media.allocate(size);
    unique_fd done = fence{work.duplicate(ec)}.release();
    const no_descriptors none;
    guard held = try_lock(write(b));
    REQUIRE(held);
    held.release_on(fence::adopt(std::move(done)), ec);
    CHECK_FALSE(ec);
    f.loop.run_ready();
    CHECK(try_lock(read(b)).error() == errc::would_block);
    busy.device.advance(2);
    f.loop.run_ready();
    CHECK(try_lock(read(b)));
}

TEST_CASE("without descriptors no loop is made, and says why") {
    const std::size_t before = open_descriptors();
    std::error_code uring;
    std::error_code epoll;
    {
        const no_descriptors none;
        CHECK(uring_loop::create(uring) == nullptr);
        CHECK(epoll_loop::create(epoll) == nullptr);
    }
    CHECK(uring == std::errc::too_many_files_open);
    CHECK(epoll == std::errc::too_many_files_open);
    CHECK(open_descriptors() == before);
}

TEST_CASE("a hundred buffers come and go without a descriptor or a dma-buf left") {
    fixture f;
    const std::size_t before = open_descriptors();
    for (int i = 0; i < 100; ++i) {
        const buffer b = f.media.allocate(size, "comes and goes");
        static_cast<void>(f.media.import(unique_fd{::dup(b.fd())}));
        CHECK(try_lock(write(b)));
    }
    CHECK(open_descriptors() == before);
    CHECK(goes_away("comes and goes"));
}

// ---- descriptors that others close ------------------------------------------------------------------------------------

TEST_CASE("the caller's own descriptors can be closed, and their numbers used again") {
    fixture f;
    unique_fd made = support::allocate_from_heap("system", size);
    const buffer b = f.media.import(duplicate(made));
    const int number = made.get();
    made.reset();
    const support::pipe other;
    CHECK((other.read_end.get() == number || other.write_end.get() == number));
    CHECK(try_lock(write(b)));
    CHECK(b == f.media.import(unique_fd{::dup(b.fd())}));
    CHECK(b != f.media.import(support::allocate_from_heap("system", size)));
}

TEST_CASE(
    "a descriptor that a stray close took from the library is an error of the lock, not a use of something else") {
    fixture f;
    const buffer b = f.media.allocate(size);
    const unique_fd saved{::dup(b.fd())};
    REQUIRE(::close(b.fd()) == 0);
    CHECK_FALSE(try_lock(read(b), f.ec));
    CHECK(f.ec == std::errc::bad_file_descriptor);
    REQUIRE(::dup2(saved.get(), b.fd()) == b.fd());
    CHECK(try_lock(read(b)));
}

TEST_CASE("a descriptor that has become something else's is an error of the lock") {
    fixture f;
    const buffer b = f.media.allocate(size);
    const unique_fd saved{::dup(b.fd())};
    const support::pipe stray;
    stray.put();
    REQUIRE(::dup2(stray.read_end.get(), b.fd()) == b.fd());
    CHECK_FALSE(try_lock(read(b), f.ec));
    CHECK(f.ec == errc::not_a_dma_buf);
    stray.take(); // now it looks as if a device were at work
    CHECK_FALSE(blocking_lock(read(b), f.ec));
    CHECK(f.ec == errc::not_a_dma_buf);
    REQUIRE(::dup2(saved.get(), b.fd()) == b.fd());
    CHECK(try_lock(read(b)));
}

// ---- sizes ------------------------------------------------------------------------------------------------------------

TEST_CASE("udmabuf's limit of a size is known by its file, and raising it helps") {
    fixture f;
    allocation_report report;
    const module_parameter little{size_limit, "1"};
    CHECK(!f.media.allocate(2 * megabyte, "large", {.from = memory_kind::udmabuf, .report = &report}, f.ec));
    CHECK(f.ec == std::errc::invalid_argument);
    REQUIRE(report.failed.size() == 1);
    CHECK(report.failed[0].remedy == "raise " + std::string{size_limit} + ", or ask for less");
    CHECK(f.media.allocate(megabyte, "large", {.from = memory_kind::udmabuf}));
    const module_parameter more{size_limit, "2"};
    CHECK(f.media.allocate(2 * megabyte, "large", {.from = memory_kind::udmabuf}));
}

TEST_CASE("what is too large for udmabuf comes from a memfd where there is no heap") {
    fixture f;
    allocation_report report;
    const module_parameter little{size_limit, "1"};
    const buffer b = f.media.allocate(2 * megabyte, "large", {.heap = "none", .report = &report});
    CHECK(b.memory() == memory_kind::memfd);
    CHECK(to_text(report).starts_with("dma_heap: No such file or directory: see /dev/dma_heap"));
    CHECK(to_text(report).ends_with("or ask for less\nfrom memfd\n"));
}

TEST_CASE("a udmabuf of pieces of several memfds is one buffer, and their number has a limit of the kernel's") {
    fixture f;
    const unique_fd one = support::make_memfd(2 * size);
    const unique_fd two = support::make_memfd(2 * size);
    const auto make = [&](std::uint32_t pieces) {
        std::vector<std::byte> room(sizeof(udmabuf_create_list) + pieces * sizeof(udmabuf_create_item));
        auto* list =
            reinterpret_cast<udmabuf_create_list*>(room.data()); // ends with an array of no size: cannot be made
        list->flags = UDMABUF_FLAGS_CLOEXEC;
        list->count = pieces;
        for (std::uint32_t i = 0; i < pieces; ++i) {
            const auto memfd = static_cast<std::uint32_t>((i % 2 == 0 ? one : two).get());
            list->list[i] = {memfd, 0, size, size}; // the second page of each
        }
        return unique_fd{::ioctl(support::open_device("/dev/udmabuf").get(), UDMABUF_CREATE_LIST, list)};
    };
    const buffer b = f.media.import(make(2));
    CHECK(b.size() == 2 * size);
    const auto held = try_lock(write(b));
    held.bytes<0>()[size] = std::byte{9};
    CHECK(mapping::map(two.get(), 2 * size, f.ec).bytes()[size] == std::byte{9});
    CHECK(make(1024));
    CHECK_FALSE(make(1025));
    CHECK(errno == EINVAL);
}

TEST_CASE("memory that comes again is zeroed") {
    std::vector<std::string> heaps = support::heaps();
    heaps.emplace_back("none"); // udmabuf
    for (const std::string& heap : heaps) {
        CAPTURE(heap);
        fixture f;
        for (int round = 0; round < 2; ++round) {
            std::vector<buffer> buffers;
            for (int i = 0; i < 16; ++i) {
                buffers.push_back(f.media.allocate(64 * 1024, "used", {.heap = heap}));
                const auto held = try_lock(write(buffers.back()));
                const auto bytes = held.bytes<0>();
                CHECK(std::all_of(bytes.begin(), bytes.end(), [](std::byte v) { return v == std::byte{0}; }));
                std::fill(bytes.begin(), bytes.end(), std::byte{0xff});
            }
        }
    }
}

TEST_CASE("more than a heap has is refused, and what to do is said; the next allocation works") {
    if (!support::has_contiguous_heap()) { return; }
    fixture f;
    allocation_report report;
    CHECK(!f.media.allocate(1024 * megabyte, "all",
                            {.from = memory_kind::dma_heap, .heap = support::contiguous_heap, .report = &report},
                            f.ec));
    CHECK(f.ec == std::errc::not_enough_memory);
    CHECK(report.failed.at(0).remedy == "free memory, or ask for less");
    CHECK(f.media.allocate(size, "some", {.from = memory_kind::dma_heap, .heap = support::contiguous_heap}));
}

TEST_CASE("a program that locks all its memory is told when a buffer is beyond its limit") {
    constexpr int no_effect = 77;
    const auto child = support::in_child([]() noexcept {
        fixture f;
        const unique_fd made = support::allocate_from_heap("system", megabyte);
        const rlimit little{65536, 65536};
        if (::setrlimit(RLIMIT_MEMLOCK, &little) != 0 || !become_nobody() || ::mlockall(MCL_FUTURE) != 0) { return 1; }
        if (mapping::map(made.get(), megabyte, f.ec).writable()) { return no_effect; }
        static_cast<void>(f.media.import(duplicate(made), "large", f.ec));
        write_text(f.ec.message());
        return ::munlockall() == 0 && f.media.import(duplicate(made)) ? 0 : 2;
    });
    if (child.exit_code == no_effect) {
        return support::report_skip("sanitizers keep a program from locking its memory");
    }
    CHECK(child.exit_code == 0);
    CHECK(child.messages == "Resource temporarily unavailable"); // EAGAIN of mmap(2)
}

// ---- rights -----------------------------------------------------------------------------------------------------------

TEST_CASE("a user without rights gets a memfd, and is told which group or rule would help") {
    const auto child = support::in_child([]() noexcept {
        if (!become_nobody()) { return 1; }
        fixture f;
        allocation_report report;
        const buffer b = f.media.allocate(size, "poor", {.report = &report});
        write_text(to_text(report));
        return try_lock(write(b)) ? 0 : 2;
    });
    CHECK(child.exit_code == 0);
    CHECK(child.messages ==
          "dma_heap: Permission denied: let the user open /dev/dma_heap/*: group video, or a udev rule\n"
          "udmabuf: Permission denied: let the user open /dev/udmabuf: group kvm, or a udev rule\n"
          "from memfd\n");
}

TEST_CASE("a user without rights who wants a dma-buf and nothing else gets the reason") {
    const auto child = support::in_child([]() noexcept {
        if (!become_nobody()) { return 1; }
        fixture f;
        const buffer b = f.media.allocate(size, "poor", {.from = memory_kind::udmabuf}, f.ec);
        return !b && f.ec == std::errc::permission_denied ? 0 : 2;
    });
    CHECK(child.exit_code == 0);
}

TEST_CASE("a user in the group of the devices needs no other right") {
    constexpr gid_t group = 44;
    const std::array<const char*, 2> devices{"/dev/udmabuf", "/dev/dma_heap/system"};
    for (const char* path : devices) { REQUIRE((::chown(path, 0, group) == 0 && ::chmod(path, 0660) == 0)); }
    const auto child = support::in_child([]() noexcept {
        if (!become_nobody({group})) { return 1; }
        fixture f;
        const buffer heap = f.media.allocate(size, "allowed", {.from = memory_kind::dma_heap});
        const buffer udmabuf = f.media.allocate(size, "allowed", {.from = memory_kind::udmabuf});
        return try_lock(write(heap), write(udmabuf)) ? 0 : 2;
    });
    for (const char* path : devices) { REQUIRE((::chown(path, 0, 0) == 0 && ::chmod(path, 0600) == 0)); }
    CHECK(child.exit_code == 0);
}

TEST_CASE("what a user without rights was given is theirs to lock, fences and brackets included") {
    for (const support::exporter& e : support::exporters()) {
        CAPTURE(e.name);
        unique_fd made = e.make(size);
        const support::sw_timeline device;
        const fence work = device.create(1);
        const auto child = support::in_child([&]() noexcept {
            if (!become_nobody()) { return 1; }
            fixture f;
            const buffer b = f.media.import(std::move(made));
            {
                guard held = try_lock(write(b), lock_options{.cpu_access = cpu_access::always});
                held.publish(b, work);
            }
            if (try_lock(read(b))) { return 2; } // the device is at work
            device.advance();
            return try_lock(read(b)) ? 0 : 3;
        });
        CHECK(child.exit_code == 0);
    }
}

// ---- death ------------------------------------------------------------------------------------------------------------

TEST_CASE("a process that is killed while a camera writes into its buffers leaves the camera and no buffers") {
    victim process{[](auto ready) {
        const support::camera_queue camera{V4L2_MEMORY_DMABUF, 3};
        const std::size_t picture = camera->picture_size();
        uring_loop loop;
        domain media{loop};
        std::vector<buffer> buffers;
        std::vector<guard> lent;
        for (std::uint32_t i = 0; i < 3; ++i) {
            buffers.push_back(media.allocate(picture, "of the killed", {.from = memory_kind::dma_heap}));
            lent.push_back(try_lock(dma_write(buffers[i])));
            lent[i].hand_to_device();
            camera->enqueue(i, buffers[i].fd());
        }
        camera->start();
        for (int picture_number = 0;; ++picture_number) {
            const std::uint32_t i = camera->dequeue();
            lent[i].unlock();
            static_cast<void>(try_lock(read(buffers[i])));
            lent[i] = try_lock(dma_write(buffers[i]));
            lent[i].hand_to_device();
            camera->enqueue(i, buffers[i].fd());
            if (picture_number == 3) { ready(); }
        }
    }};
    process.wait_until_ready();
    CHECK(is_listed("of the killed"));
    CHECK(process.kill() == SIGKILL);
    CHECK(goes_away("of the killed"));
    check_camera();
}

TEST_CASE("a process that is killed while it has a camera's own buffers leaves the camera and no buffers") {
    victim process{[](auto ready) {
        const support::camera_queue camera{V4L2_MEMORY_MMAP, 2};
        epoll_loop loop;
        domain media{loop};
        const buffer first = media.import(camera.share(0));
        const buffer second = media.import(camera.share(1));
        static_cast<void>(dma_buf::set_name(first.fd(), "a camera's"));
        camera->enqueue(0);
        camera->enqueue(1);
        camera->start();
        REQUIRE(camera->dequeue() == 0);
        const auto held = try_lock(read(first), dma_write(second));
        ready();
        std::this_thread::sleep_for(1h);
    }};
    process.wait_until_ready();
    CHECK(is_listed("a camera's"));
    CHECK(process.kill() == SIGKILL);
    CHECK(goes_away("a camera's"));
    check_camera();
}

TEST_CASE("a process that is killed while it waits for a device leaves nothing once the device has finished") {
    const support::sw_timeline device;
    victim process{[&device](auto ready) {
        uring_loop loop;
        domain media{loop};
        const buffer b = media.allocate(size, "waited for", {.from = memory_kind::udmabuf});
        std::error_code ec;
        dma_buf::import_fence(b.fd(), device.create(1), access_mode::dma_write, ec);
        guard held;
        const probe reader = keep(held, b, ec);
        for (int i = 0; i < 10; ++i) { loop.poll(); }
        ready();
        loop.run();
    }};
    process.wait_until_ready();
    CHECK(is_listed("waited for"));
    CHECK(process.kill() == SIGKILL);
    device.advance();
    CHECK(goes_away("waited for"));
}

TEST_CASE("a buffer that was asked whether it is idle is kept by the kernel until the device has finished") {
    fixture f;
    const support::sw_timeline device;
    const auto make = [&](const char* name) {
        unique_fd made = support::allocate_from_heap("system", size);
        static_cast<void>(dma_buf::set_name(made.get(), name));
        dma_buf::import_fence(made.get(), device.create(1), access_mode::dma_write, f.ec);
        return made;
    };
    make("not asked").reset();
    CHECK(goes_away("not asked"));
    unique_fd asked = make("asked");
    CHECK_FALSE(dma_buf::is_idle(asked.get(), access_mode::read)); // poll(2) leaves a callback there, which keeps it
    asked.reset();
    CHECK(is_listed("asked"));
    device.advance();
    CHECK(goes_away("asked"));
}

TEST_CASE("what a killed process shared with others is theirs, and not locked") {
    fixture f;
    const buffer b = f.media.allocate(size, "shared", {.from = memory_kind::dma_heap});
    victim process{[&b](auto ready) {
        epoll_loop loop;
        domain media{loop};
        const buffer inherited = media.import(unique_fd{::dup(b.fd())});
        const auto held = try_lock(write(inherited), lock_options{.cpu_access = cpu_access::always});
        held.template bytes<0>()[0] = std::byte{6};
        ready();
        std::this_thread::sleep_for(1h);
    }};
    process.wait_until_ready();
    CHECK(process.kill() == SIGKILL);
    CHECK(try_lock(read(b)).bytes<0>()[0] == std::byte{6});
    CHECK(try_lock(write(b)));
}
