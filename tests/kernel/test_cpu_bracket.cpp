// SPDX-License-Identifier: MIT
#include <dmasync/detail/kernel/cpu_bracket.hpp>

#include <dmasync/domain.hpp>
#include <dmasync/lock.hpp>
#include <dmasync/lock_set.hpp>
#include <dmasync/manual_loop.hpp>

#include <doctest/doctest.h>
#include <support/fake_dma_buf.hpp>

#include <array>
#include <cerrno>
#include <chrono>
#include <string>
#include <system_error>
#include <thread>
#include <vector>

using namespace dmasync;
using namespace std::chrono_literals;

namespace {

/// What the kernel was told of a buffer since the last call.
std::string take_log(const support::fake_dma_buf& of) {
    std::string log = of.log();
    of.clear_log();
    return log;
}

struct fixture {
    manual_loop loop;
    domain media{loop, {.report = {}}};
    support::fake_dma_buf memory;
    buffer b = media.import(memory.duplicate());

    /// Locks and unlocks once.
    void use(access_mode mode, cpu_access how = cpu_access::tracked) {
        lock_set set{media, "use", {.cpu_access = how}};
        set.add(b, mode);
        CHECK(set.try_lock());
    }
    /// What the kernel was told since the last call.
    std::string told() { return take_log(memory); }
};

} // namespace

TEST_CASE("the first use by the CPU opens a bracket, and further ones of its kind need none") {
    fixture f;
    f.use(access_mode::read);
    CHECK(f.told() == "START(R)");
    f.use(access_mode::read);
    CHECK(f.told().empty());
}

TEST_CASE("the first use by a device needs no bracket") {
    fixture f;
    f.use(access_mode::dma_write);
    f.use(access_mode::dma_read);
    CHECK(f.told().empty());
}

TEST_CASE("the kernel is told when the use changes between CPU and devices, and only then") {
    struct step {
        access_mode use;
        const char* told;
    };
    const std::vector<std::vector<step>> stories{
        {{access_mode::dma_write, ""},
         {access_mode::read, "START(R)"},
         {access_mode::read, ""},
         {access_mode::dma_write, "END(R)"}},
        {{access_mode::dma_write, ""}, {access_mode::write, "START(RW)"}, {access_mode::dma_read, "END(RW)"}},
        {{access_mode::dma_write, ""},
         {access_mode::read_write, "START(RW)"},
         {access_mode::read, ""},
         {access_mode::dma_read, "END(RW)"}},
        {{access_mode::write, "START(RW)"},
         {access_mode::write, ""},
         {access_mode::dma_read_write, "END(RW)"},
         {access_mode::read, "START(R)"}},
        {{access_mode::read, "START(R)"}, {access_mode::write, "END(R) START(RW)"}, {access_mode::dma_read, "END(RW)"}},
        {{access_mode::write, "START(RW)"},
         {access_mode::dma_read, "END(RW)"},
         {access_mode::read, ""},
         {access_mode::dma_read, ""}},
        {{access_mode::write, "START(RW)"},
         {access_mode::dma_read, "END(RW)"},
         {access_mode::write, "START(RW)"},
         {access_mode::dma_read, "END(RW)"}},
        {{access_mode::read, "START(R)"},
         {access_mode::dma_read, "END(R)"},
         {access_mode::dma_write, ""},
         {access_mode::read, "START(R)"}},
    };
    for (const std::vector<step>& story : stories) {
        fixture f;
        for (const step& s : story) {
            f.use(s.use);
            CHECK(f.told() == s.told);
        }
    }
}

TEST_CASE("a lock that asks for tracked access keeps the bracket open, though its set always ends it") {
    fixture f;
    lock_set set{f.media, "use", {.cpu_access = cpu_access::always}};
    set.add(f.b, access_mode::read);
    CHECK(set.try_lock({.cpu_access = cpu_access::tracked}));
    CHECK(f.told() == "START(R)");
}

TEST_CASE("readers that share a buffer share its bracket") {
    fixture f;
    const guard one = try_lock(read(f.b));
    const guard two = try_lock(read(f.b));
    const guard device = try_lock(dma_read(f.b));
    CHECK(one);
    CHECK(two);
    CHECK(device);
    CHECK(f.told() == "START(R) END(R)");
}

TEST_CASE("nothing is read before the bracket is open, be it that another one is opening it") {
    fixture f;
    f.use(access_mode::dma_write);
    for (int round = 0; round < 20; ++round) {
        std::array<std::thread, 2> readers;
        for (std::thread& t : readers) {
            t = std::thread{[&f] {
                const guard held = blocking_lock(read(f.b));
                CHECK(f.memory.log() == "START(R)");
            }};
        }
        for (std::thread& t : readers) { t.join(); }
        CHECK(f.told() == "START(R)");
        f.use(access_mode::dma_write);
        CHECK(f.told() == "END(R)");
    }
}

TEST_CASE("what the kernel says at the begin of a bracket is what the lock says, and holds nothing") {
    for (const int error : {EBADF, EINVAL, EIO, ENOMEM}) {
        fixture f;
        f.memory.inject(DMA_BUF_IOCTL_SYNC, error, 1);
        std::error_code ec;
        static_cast<void>(try_lock(read(f.b), ec));
        CHECK(ec == std::error_code{error, std::system_category()});
        CHECK(f.media.counters().granted_at_once == 0);
        f.use(access_mode::write); // free, and the bracket still to be opened
        CHECK(f.told().ends_with("START(RW)"));
    }
}

TEST_CASE("what the kernel says at the end of a bracket is what the device's lock says") {
    fixture f;
    f.use(access_mode::write);
    f.memory.inject(DMA_BUF_IOCTL_SYNC, EIO, 1);
    std::error_code ec;
    static_cast<void>(try_lock(dma_read(f.b), ec));
    CHECK(ec == std::errc::io_error);
    static_cast<void>(f.told());
    f.use(access_mode::dma_read);
    CHECK(f.told() == "END(RW)");
}

TEST_CASE("signals and short shortages do not keep the kernel from being told") {
    for (const int error : {EINTR, EAGAIN}) {
        fixture f;
        f.memory.inject(DMA_BUF_IOCTL_SYNC, error, 3);
        const guard held = try_lock(read(f.b));
        CHECK(held);
        CHECK(f.memory.log() == "START(R)");
    }
}

TEST_CASE("a bracket that is open when the buffer goes is closed") {
    fixture f;
    f.use(access_mode::write);
    f.b = {};
    CHECK(f.told() == "START(RW) END(RW)");
}

TEST_CASE("always: every hold by the CPU has a bracket of its own") {
    fixture f;
    f.use(access_mode::read, cpu_access::always);
    f.use(access_mode::write, cpu_access::always);
    CHECK(f.told() == "START(R) END(R) START(RW) END(RW)");
    f.use(access_mode::dma_read, cpu_access::always);
    CHECK(f.told().empty());
}

TEST_CASE("always: what the kernel says at the end is what unlock says; the buffer is free all the same") {
    fixture f;
    guard held = try_lock(write(f.b), lock_options{.cpu_access = cpu_access::always});
    f.memory.inject(DMA_BUF_IOCTL_SYNC, EIO, 1);
    CHECK(held.unlock() == std::errc::io_error);
    CHECK(try_lock(write(f.b)));
}

TEST_CASE("always: a buffer that is released early has its bracket closed, and the lease of the others goes on") {
    fixture f;
    support::fake_dma_buf other;
    const buffer c = f.media.import(other.duplicate());
    guard held = try_lock(write(f.b), read(c), lock_options{.cpu_access = cpu_access::always});
    const auto end = held.expires_at();
    f.loop.advance(1s);
    held.release(f.b);
    CHECK(f.told() == "START(RW) END(RW)");
    CHECK(take_log(other) == "START(R)");
    CHECK(held.expires_at() == end);
    f.loop.advance(4s);
    CHECK(held.expired());
}

TEST_CASE("always: a writer that goes on as a reader gets the bracket of a reader") {
    fixture f;
    guard held = try_lock(write(f.b), lock_options{.cpu_access = cpu_access::always});
    held.downgrade(f.b);
    held.unlock();
    CHECK(f.told() == "START(RW) END(RW) START(R) END(R)");
}

TEST_CASE("always: a hold that lost its buffer leaves its bracket to the next device") {
    fixture f;
    guard held = try_lock(write(f.b), lock_options{.cpu_access = cpu_access::always});
    f.loop.advance(5s);
    CHECK(held.unlock() == errc::lease_expired);
    CHECK(f.told() == "START(RW)");
    f.use(access_mode::dma_read);
    CHECK(f.told() == "END(RW)");
}

TEST_CASE("always: what the kernel refuses to end is left to the next device, of that buffer only") {
    fixture f;
    const support::fake_dma_buf other;
    const buffer c = f.media.import(other.duplicate());
    guard held = try_lock(read(f.b), read(c), lock_options{.cpu_access = cpu_access::always});
    other.inject(DMA_BUF_IOCTL_SYNC, ENOTTY);
    SUBCASE("unlock") { CHECK(held.unlock() == std::errc::inappropriate_io_control_operation); }
    SUBCASE("release_on") { held.release_on(fence{}); }
    CHECK(try_lock(dma_read(f.b), dma_read(c)));
    CHECK(f.told() == "START(R) END(R)");
    CHECK(other.log() == "START(R) END(R)");
}

TEST_CASE("always: a bracket that could not be opened anew is not ended") {
    fixture f;
    guard held = try_lock(write(f.b), lock_options{.cpu_access = cpu_access::always});
    f.memory.inject(DMA_BUF_IOCTL_SYNC, ENOTTY, 1, 1);
    std::error_code ec;
    SUBCASE("downgrade") {
        held.downgrade(f.b, ec);
        CHECK(ec == std::errc::inappropriate_io_control_operation);
        held.unlock();
        CHECK(f.told() == "START(RW) END(RW)");
    }
    SUBCASE("upgrade") {
        held.downgrade(f.b, ec); // ends, and does not begin again
        CHECK_FALSE(ec == std::error_code{});
        CHECK(held.try_upgrade(f.b)); // by the shared bracket then
        held.unlock();
        CHECK(f.told() == "START(RW) END(RW) START(RW)");
    }
}

TEST_CASE("always: a set whose second bracket fails closes the first") {
    fixture f;
    support::fake_dma_buf other;
    const buffer c = f.media.import(other.duplicate());
    other.inject(DMA_BUF_IOCTL_SYNC, EIO, 1);
    std::error_code ec;
    static_cast<void>(try_lock(write(f.b), read(c), lock_options{.cpu_access = cpu_access::always}, ec));
    CHECK(ec == std::errc::io_error);
    CHECK(f.told() == "START(RW) END(RW)");
}

TEST_CASE("memory that no device reaches is no matter for the kernel") {
    fixture f;
    const buffer plain = f.media.allocate(64, "plain", {.from = memory_kind::memfd});
    CHECK(try_lock(write(plain), dma_read(f.b)));
    CHECK(f.told().empty());
}
