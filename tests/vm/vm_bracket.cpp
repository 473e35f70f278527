// SPDX-License-Identifier: MIT
// The kernel is told of the CPU's use of a dma-buf, as detail/kernel/cpu_bracket.hpp has it in its table, and says yes, with every
// driver in the test machine. DMA_BUF_IOCTL_SYNC is looked at on its way to the kernel.
#include <dmasync/detail/kernel/cpu_bracket.hpp>

#include <dmasync/dma_buf.hpp>
#include <dmasync/domain.hpp>
#include <dmasync/lock.hpp>
#include <dmasync/lock_set.hpp>
#include <dmasync/manual_loop.hpp>

#include <doctest/doctest.h>
#include <support/exporters.hpp>
#include <support/sw_sync.hpp>
#include <support/video_queue.hpp>

#include <algorithm>
#include <array>
#include <atomic>
#include <cerrno>
#include <chrono>
#include <csignal>
#include <cstdarg>
#include <cstddef>
#include <cstdint>
#include <mutex>
#include <string>
#include <system_error>
#include <thread>
#include <utility>
#include <vector>

#include <fcntl.h>
#include <linux/dma-buf.h>
#include <pthread.h>
#include <sys/syscall.h>
#include <unistd.h>

using namespace dmasync;
using namespace std::chrono_literals;

namespace {

constexpr std::size_t size = 4096;

/// What the kernel was told, and said when it was an error: "START(RW) END(R)=22".
class ioctl_log {
public:
    void add(std::uint64_t flags, int error) {
        const std::lock_guard guard{lock_};
        if (error == EINTR) {
            ++interrupted_;
            return;
        }
        text_ += text_.empty() ? "" : " ";
        text_ += (flags & DMA_BUF_SYNC_END) != 0 ? "END(" : "START(";
        text_ += (flags & DMA_BUF_SYNC_READ) != 0 ? "R" : "";
        text_ += (flags & DMA_BUF_SYNC_WRITE) != 0 ? "W)" : ")";
        if (error != 0) { text_ += "=" + std::to_string(error); }
    }

    std::string take() {
        const std::lock_guard guard{lock_};
        interrupted_ = 0;
        return std::exchange(text_, {});
    }

    int interrupted() {
        const std::lock_guard guard{lock_};
        return interrupted_;
    }

private:
    std::mutex lock_;
    std::string text_;
    int interrupted_ = 0; // how often by a signal; not in the text
};

ioctl_log told; // NOLINT(cppcoreguidelines-avoid-non-const-global-variables): of the function below

} // namespace

/// In place of the C library's.
extern "C" int ioctl(int fd, unsigned long request, ...) noexcept { // NOLINT(cert-dcl50-cpp)
    va_list list;
    va_start(list, request);
    void* argument = va_arg(list, void*);
    va_end(list);
    const auto result = static_cast<int>(::syscall(SYS_ioctl, fd, request, argument));
    if (request == DMA_BUF_IOCTL_SYNC) {
        const int error = result < 0 ? errno : 0;
        told.add(static_cast<const dma_buf_sync*>(argument)->flags, error);
        errno = error;
    }
    return result;
}

namespace {

unique_fd duplicate(const unique_fd& fd) { return unique_fd{::fcntl(fd.get(), F_DUPFD_CLOEXEC, 0)}; }

struct fixture {
    explicit fixture(unique_fd fd) : made{std::move(fd)} { static_cast<void>(told.take()); }

    /// Locks and unlocks once.
    void use(access_mode mode, cpu_access how = cpu_access::tracked) {
        lock_set set{media, "use", {.cpu_access = how}};
        set.add(b, mode);
        CHECK(set.try_lock());
    }

    manual_loop loop;
    domain media{loop, {.report = {}}};
    unique_fd made;
    buffer b = media.import(duplicate(made));
    std::error_code ec;
};

struct step {
    access_mode use;
    std::string told;
};

/// Locks with the accesses of a story, and compares what the kernel was told.
void tell(const std::vector<step>& story) {
    for (const support::exporter& e : support::exporters()) {
        CAPTURE(e.name);
        fixture f{e.make(size)};
        for (const step& s : story) {
            f.use(s.use);
            CHECK(told.take() == s.told);
        }
    }
}

void nothing(int) {}

/// Interrupts the thread that made it, again and again: a system call that sleeps ends with EINTR.
class signal_storm {
public:
    signal_storm() {
        struct sigaction action {};
        action.sa_handler = nothing;
        ::sigaction(SIGUSR1, &action, nullptr);
        storm_ = std::jthread{[target = ::pthread_self()](const std::stop_token& stop) {
            while (!stop.stop_requested()) {
                ::pthread_kill(target, SIGUSR1);
                std::this_thread::sleep_for(1ms);
            }
        }};
    }

private:
    std::jthread storm_;
};

/// Ends the work of a device once START has been interrupted a few times.
std::jthread end_after_interruptions(const support::sw_timeline& device) {
    return std::jthread{[&device] {
        for (int i = 0; i < 10'000 && told.interrupted() < 5; ++i) { std::this_thread::sleep_for(1ms); }
        device.advance();
    }};
}

} // namespace

// ---- the table --------------------------------------------------------------------------------------------------------

TEST_CASE("a reader of the CPU opens a bracket once") {
    tell({{access_mode::read, "START(R)"}, {access_mode::read, ""}});
}

TEST_CASE("a writer of the CPU opens a bracket once") {
    tell({{access_mode::write, "START(RW)"}, {access_mode::write, ""}});
}

TEST_CASE("devices alone need no bracket") {
    tell({{access_mode::dma_write, ""}, {access_mode::dma_read, ""}, {access_mode::dma_read_write, ""}});
}

TEST_CASE("what a device wrote is announced to the CPU, as often as it writes") {
    tell({{access_mode::dma_write, ""},
          {access_mode::read, "START(R)"},
          {access_mode::dma_write, "END(R)"},
          {access_mode::read, "START(R)"},
          {access_mode::dma_read_write, "END(R)"},
          {access_mode::write, "START(RW)"}});
}

TEST_CASE("what the CPU wrote is announced to a device, as often as it writes") {
    tell({{access_mode::write, "START(RW)"},
          {access_mode::dma_read, "END(RW)"},
          {access_mode::dma_read, ""},
          {access_mode::write, "START(RW)"},
          {access_mode::dma_read, "END(RW)"}});
}

TEST_CASE("what a device only read is still fresh for a reader") {
    tell({{access_mode::write, "START(RW)"},
          {access_mode::dma_read, "END(RW)"},
          {access_mode::read, ""},
          {access_mode::dma_read, ""}});
}

TEST_CASE("a bracket for reading is closed before one for writing is opened") {
    tell({{access_mode::read, "START(R)"},
          {access_mode::write, "END(R) START(RW)"},
          {access_mode::dma_read, "END(RW)"}});
}

TEST_CASE("a reader after a writer shares its bracket") {
    tell({{access_mode::read_write, "START(RW)"}, {access_mode::read, ""}, {access_mode::dma_write, "END(RW)"}});
}

TEST_CASE("a pipeline of camera, filter and display tells the kernel twice a picture") {
    std::vector<step> story;
    for (int picture = 0; picture < 5; ++picture) {
        story.insert(
            story.end(),
            {{access_mode::dma_write, ""}, {access_mode::read_write, "START(RW)"}, {access_mode::dma_read, "END(RW)"}});
    }
    tell(story);
}

TEST_CASE("always: every hold by the CPU has a bracket of its own") {
    for (const support::exporter& e : support::exporters()) {
        CAPTURE(e.name);
        fixture f{e.make(size)};
        f.use(access_mode::read, cpu_access::always);
        f.use(access_mode::read, cpu_access::always);
        CHECK(told.take() == "START(R) END(R) START(R) END(R)");
        f.use(access_mode::write, cpu_access::always);
        f.use(access_mode::read_write, cpu_access::always);
        CHECK(told.take() == "START(RW) END(RW) START(RW) END(RW)");
        f.use(access_mode::dma_read, cpu_access::always);
        f.use(access_mode::dma_write, cpu_access::always);
        CHECK(told.take().empty());
    }
}

TEST_CASE("tracked and always brackets of one buffer go together") {
    for (const support::exporter& e : support::exporters()) {
        CAPTURE(e.name);
        fixture f{e.make(size)};
        f.use(access_mode::write);
        f.use(access_mode::read, cpu_access::always); // inside of the bracket that is open
        CHECK(told.take() == "START(RW) START(R) END(R)");
        f.use(access_mode::dma_read);
        CHECK(told.take() == "END(RW)");
    }
}

TEST_CASE("a hold that lost its buffer leaves its bracket to the next device") {
    for (const support::exporter& e : support::exporters()) {
        CAPTURE(e.name);
        fixture f{e.make(size)};
        guard held = try_lock(write(f.b), lock_options{.cpu_access = cpu_access::always});
        f.loop.advance(5s);
        CHECK(held.unlock() == errc::lease_expired);
        CHECK(told.take() == "START(RW)");
        f.use(access_mode::dma_read);
        CHECK(told.take() == "END(RW)");
    }
}

TEST_CASE("a buffer that goes while its bracket is open has it closed") {
    for (const support::exporter& e : support::exporters()) {
        CAPTURE(e.name);
        fixture f{e.make(size)};
        f.use(access_mode::write);
        f.b = {};
        CHECK(told.take() == "START(RW) END(RW)");
    }
}

TEST_CASE("an end without a start is an error of the exporter that has to know") {
    for (const support::exporter& e : support::exporters()) {
        CAPTURE(e.name);
        const unique_fd fresh = e.make(size);
        const std::error_code ec = dma_buf::end_cpu_access(fresh.get(), access_mode::read);
        CHECK((ec == std::errc::invalid_argument) == (e.name == "udmabuf"));
        CHECK(told.take() == (e.name == "udmabuf" ? "END(R)=22" : "END(R)"));
    }
}

TEST_CASE("what is imported and goes again, unused or used by a device, tells the kernel nothing") {
    for (const support::exporter& e : support::exporters()) {
        CAPTURE(e.name);
        fixture f{e.make(size)};
        f.b = {};
        f.b = f.media.import(duplicate(f.made));
        f.use(access_mode::dma_write);
        f.b = {};
        CHECK(told.take().empty());
    }
}

// ---- threads and signals ----------------------------------------------------------------------------------------------

TEST_CASE("readers of two threads share one bracket") {
    for (const support::exporter& e : support::exporters()) {
        CAPTURE(e.name);
        fixture f{e.make(size)};
        for (int round = 0; round < 5; ++round) {
            f.use(access_mode::dma_write);
            static_cast<void>(told.take());
            std::array<std::thread, 2> readers;
            for (std::thread& t : readers) {
                t = std::thread{[&f] { static_cast<void>(blocking_lock(read(f.b)).bytes<0>()[0]); }};
            }
            for (std::thread& t : readers) { t.join(); }
            CHECK(told.take() == "START(R)");
        }
    }
}

TEST_CASE("a start that signals interrupt is begun anew until the device has finished") {
    for (const support::exporter& e : support::exporters()) {
        CAPTURE(e.name);
        fixture f{e.make(size)};
        const support::sw_timeline device;
        dma_buf::import_fence(f.made.get(), device.create(1), access_mode::dma_write, f.ec);
        REQUIRE_FALSE(f.ec);
        const signal_storm storm;
        const std::jthread end = end_after_interruptions(device);
        // without waiting for fences the lock goes into the kernel, which waits there
        CHECK(try_lock(read(f.b), lock_options{.fences = fences::ignore}, f.ec));
        CHECK_FALSE(f.ec);
        CHECK(told.interrupted() >= 5);
        CHECK(told.take() == "START(R)");
    }
}

TEST_CASE("a thread that waits for a fence under a storm of signals is not interrupted in the kernel") {
    fixture f{support::allocate_from_heap("system", size)};
    const support::sw_timeline device;
    dma_buf::import_fence(f.made.get(), device.create(1), access_mode::dma_write, f.ec);
    const signal_storm storm;
    std::jthread end{[&device] {
        std::this_thread::sleep_for(100ms);
        device.advance();
    }};
    CHECK(blocking_lock(read(f.b), f.ec));
    CHECK_FALSE(f.ec);
    CHECK(told.take() == "START(R)");
}

// ---- bytes ------------------------------------------------------------------------------------------------------------

TEST_CASE("what the CPU wrote is seen through a second mapping of the same buffer") {
    for (const support::exporter& e : support::exporters()) {
        CAPTURE(e.name);
        fixture f{e.make(size)};
        const mapping second = dma_buf::map(duplicate(f.made).get(), f.b.size(), f.ec);
        REQUIRE_FALSE(f.ec);
        try_lock(write(f.b)).bytes<0>().back() = std::byte{55};
        f.use(access_mode::dma_read);
        CHECK(second.bytes().back() == std::byte{55});
    }
}

TEST_CASE("what the CPU wrote into a udmabuf is in its memfd, and the other way round") {
    const unique_fd memory = support::make_memfd(size);
    fixture f{support::make_udmabuf(memory, size)};
    const mapping file = mapping::map(memory.get(), size, f.ec);
    file.bytes()[1] = std::byte{1};
    const auto held = try_lock(write(f.b));
    CHECK(held.bytes<0>()[1] == std::byte{1});
    held.bytes<0>()[2] = std::byte{2};
    CHECK(file.bytes()[2] == std::byte{2});
}

TEST_CASE("what the CPU wrote into a card's buffer is seen through the card") {
    for (const char* driver : {"vgem", "virtio_gpu"}) {
        CAPTURE(driver);
        const support::dumb_buffer dumb{driver, size};
        fixture f{dumb.share()};
        try_lock(write(f.b)).bytes<0>()[3] = std::byte{33};
        CHECK(dumb.map().bytes()[3] == std::byte{33});
    }
}

TEST_CASE("what a camera wrote into a buffer is read by the CPU") {
    for (const support::exporter& e : support::exporters()) {
        if (!e.can_be_lent_to_video() || e.name == "vivid") { continue; } // vivid's would be its own
        CAPTURE(e.name);
        const support::camera_queue camera{V4L2_MEMORY_DMABUF, 2};
        const std::size_t picture = (camera->picture_size() + 4095) / 4096 * 4096;
        fixture f{e.make(picture)};
        {
            const guard lent = try_lock(dma_write(f.b));
            camera->enqueue(0, f.b.fd());
            camera->enqueue(1, support::allocate_from_heap("system", picture).get());
            camera->start();
            REQUIRE(camera->dequeue() == 0);
        }
        const auto held = try_lock(read(f.b));
        const auto bytes = held.bytes<0>();
        CHECK(std::any_of(bytes.begin(), bytes.end(), [](std::byte v) { return v != std::byte{0}; }));
        CHECK(told.take() == "START(R)");
    }
}

TEST_CASE("what the CPU wrote goes through a converter, and what that wrote is read by the CPU") {
    constexpr std::uint32_t side = 32;
    constexpr std::size_t picture = std::size_t{side} * side * 3;
    for (const support::exporter& e : support::exporters()) {
        if (!e.can_be_lent_to_video() || e.name == "vivid") { continue; } // vivid's have another size
        CAPTURE(e.name);
        fixture source{e.make(size)};
        fixture target{e.make(size)};
        const unique_fd converter = support::open_video("vim2m", V4L2_CAP_VIDEO_M2M);
        const support::video_queue in{converter.get(), V4L2_BUF_TYPE_VIDEO_OUTPUT, V4L2_MEMORY_DMABUF};
        const support::video_queue out{converter.get(), V4L2_BUF_TYPE_VIDEO_CAPTURE, V4L2_MEMORY_DMABUF};
        for (const support::video_queue* queue : {&in, &out}) {
            queue->set_format(side, side, V4L2_PIX_FMT_RGB24);
            REQUIRE(queue->make_buffers(1) >= 1);
        }
        {
            const auto held = try_lock(write(source.b));
            for (std::size_t i = 0; i < picture; ++i) { held.bytes<0>()[i] = static_cast<std::byte>(i * 7); }
        }
        {
            const guard reads = try_lock(dma_read(source.b));
            const guard writes = try_lock(dma_write(target.b));
            in.enqueue(0, source.b.fd(), picture);
            out.enqueue(0, target.b.fd());
            in.start();
            out.start();
            REQUIRE(out.dequeue() == 0);
        }
        const auto held = try_lock(read(target.b));
        bool equal = true;
        for (std::size_t i = 0; i < picture; ++i) {
            equal = equal && held.bytes<0>()[i] == static_cast<std::byte>(i * 7);
        }
        CHECK(equal);
        CHECK(told.take() == "START(RW) END(RW) START(R)");
    }
}
