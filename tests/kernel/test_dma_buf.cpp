// SPDX-License-Identifier: MIT
#include <dmasync/dma_buf.hpp>

#include <doctest/doctest.h>
#include <support/fake_dma_buf.hpp>
#include <support/pipe.hpp>

#include <array>
#include <cerrno>
#include <cstddef>
#include <string>
#include <system_error>
#include <thread>
#include <vector>

#include <fcntl.h>
#include <sys/mman.h>

using namespace dmasync;
using support::fake_dma_buf;
using support::fake_fence;

namespace {

constexpr std::array every_access{access_mode::read,     access_mode::write,     access_mode::read_write,
                                  access_mode::dma_read, access_mode::dma_write, access_mode::dma_read_write};

std::error_code system_error(int error) { return {error, std::system_category()}; }

} // namespace

TEST_CASE("a dma-buf is told from everything else") {
    const fake_dma_buf b;
    const support::pipe p;
    const unique_fd memory{::memfd_create("memory", MFD_CLOEXEC)};
    CHECK(dma_buf::is_dma_buf(b.fd()));
    CHECK(dma_buf::is_dma_buf(b.duplicate().get()));
    CHECK_FALSE(dma_buf::is_dma_buf(memory.get()));
    CHECK_FALSE(dma_buf::is_dma_buf(p.read_end.get()));
    CHECK_FALSE(dma_buf::is_dma_buf(-1));
}

// ---- CPU access ------------------------------------------------------------------------------------------------------

TEST_CASE("readers begin and end reading, all others reading and writing") {
    for (const auto a : every_access) {
        const fake_dma_buf b;
        CHECK_FALSE(dma_buf::start_cpu_access(b.fd(), a));
        CHECK_FALSE(dma_buf::end_cpu_access(b.fd(), a));
        CHECK(b.log() == (is_write(a) ? "START(RW) END(RW)" : "START(R) END(R)"));
    }
}

TEST_CASE("signals and a driver that is short of something are outlasted") {
    const fake_dma_buf b;
    b.inject(DMA_BUF_IOCTL_SYNC, EINTR, 1000);
    b.inject(DMA_BUF_IOCTL_SYNC, EAGAIN, 3);
    CHECK_FALSE(dma_buf::start_cpu_access(b.fd(), access_mode::read));
    CHECK(b.log() == "START(R)");
    CHECK(support::injections_left(b.fd()) == 0);
}

TEST_CASE("a driver that is short of something for ever is given up on") {
    const fake_dma_buf b;
    b.inject(DMA_BUF_IOCTL_SYNC, EAGAIN, 1000);
    CHECK(dma_buf::start_cpu_access(b.fd(), access_mode::read) == system_error(EAGAIN));
    CHECK(b.log().empty());
    CHECK(support::injections_left(b.fd()) > 900); // it was not asked in a hot loop
}

TEST_CASE("what the kernel answers is passed on, by every request") {
    const fake_dma_buf b;
    std::error_code ec;
    for (const int error : {EBADF, EINVAL, EIO, ENOMEM, ENOTTY}) {
        b.inject(DMA_BUF_IOCTL_SYNC, error, 2);
        CHECK(dma_buf::start_cpu_access(b.fd(), access_mode::write) == system_error(error));
        CHECK(dma_buf::end_cpu_access(b.fd(), access_mode::write) == system_error(error));
        b.inject(DMA_BUF_IOCTL_EXPORT_SYNC_FILE, error);
        CHECK(!dma_buf::export_fence(b.fd(), access_mode::read, ec));
        CHECK(ec == system_error(error));
        b.inject(DMA_BUF_IOCTL_IMPORT_SYNC_FILE, error);
        dma_buf::import_fence(b.fd(), fake_fence{}.file(), access_mode::write, ec);
        CHECK(ec == system_error(error));
        b.inject(DMA_BUF_SET_NAME_B, error);
        CHECK(dma_buf::set_name(b.fd(), "name") == system_error(error));
    }
    CHECK(b.pending(access_mode::write) == 0);
}

TEST_CASE("what is no dma-buf is told so, by every request") {
    const unique_fd memory{::memfd_create("memory", MFD_CLOEXEC)};
    std::error_code ec;
    CHECK(dma_buf::start_cpu_access(memory.get(), access_mode::read) == errc::not_a_dma_buf);
    CHECK(dma_buf::end_cpu_access(memory.get(), access_mode::read) == errc::not_a_dma_buf);
    CHECK(dma_buf::set_name(memory.get(), "name") == errc::not_a_dma_buf);
    CHECK(!dma_buf::export_fence(memory.get(), access_mode::read, ec));
    CHECK(ec == errc::not_a_dma_buf);
    dma_buf::import_fence(memory.get(), fake_fence{}.file(), access_mode::read, ec);
    CHECK(ec == errc::not_a_dma_buf);
    CHECK(dma_buf::start_cpu_access(-1, access_mode::read) == std::errc::bad_file_descriptor);
}

// ---- fences ----------------------------------------------------------------------------------------------------------

TEST_CASE("a reader waits for writers, a writer for all") {
    const fake_dma_buf b;
    CHECK(dma_buf::is_idle(b.fd(), access_mode::read));
    CHECK(dma_buf::is_idle(b.fd(), access_mode::write));
    const fake_fence reading = b.add_fence(access_mode::dma_read);
    CHECK(dma_buf::is_idle(b.fd(), access_mode::read));
    CHECK_FALSE(dma_buf::is_idle(b.fd(), access_mode::dma_write));
    const fake_fence writing = b.add_fence(access_mode::dma_write);
    CHECK_FALSE(dma_buf::is_idle(b.fd(), access_mode::read));
    writing.signal();
    CHECK(dma_buf::is_idle(b.fd(), access_mode::read));
    reading.fail(EIO);
    CHECK(dma_buf::is_idle(b.fd(), access_mode::write));
}

TEST_CASE("what cannot be asked is not idle") { CHECK_FALSE(dma_buf::is_idle(-1, access_mode::read)); }

TEST_CASE("an exported fence ends when what it stood for has, whatever comes later") {
    const fake_dma_buf b;
    const fake_fence reading = b.add_fence(access_mode::dma_read);
    const fake_fence writing = b.add_fence(access_mode::dma_write);
    std::error_code ec;
    const fence for_reader = dma_buf::export_fence(b.fd(), access_mode::read, ec);
    const fence for_writer = dma_buf::export_fence(b.fd(), access_mode::read_write, ec);
    CHECK_FALSE(ec);
    const fake_fence later = b.add_fence(access_mode::dma_write);
    writing.fail(EIO);
    CHECK(for_reader.error() == system_error(EIO));
    CHECK(for_writer.state() == fence_state::pending);
    reading.signal();
    CHECK(for_writer.state() == fence_state::failed);
}

TEST_CASE("an idle buffer exports a fence that has ended") {
    const fake_dma_buf b;
    std::error_code ec;
    CHECK(dma_buf::export_fence(b.fd(), access_mode::write, ec).state() == fence_state::signalled);
    CHECK_FALSE(ec);
}

TEST_CASE("an imported fence keeps others waiting: of a writer all, of a reader writers") {
    const fake_dma_buf b;
    const fake_fence work;
    const fence f = work.file();
    std::error_code ec;
    dma_buf::import_fence(b.fd(), f, access_mode::dma_read, ec);
    CHECK_FALSE(ec);
    CHECK(dma_buf::is_idle(b.fd(), access_mode::read));
    CHECK_FALSE(dma_buf::is_idle(b.fd(), access_mode::write));
    dma_buf::import_fence(b.fd(), f, access_mode::dma_write, ec);
    CHECK_FALSE(dma_buf::is_idle(b.fd(), access_mode::read));
    work.signal();
    CHECK(dma_buf::is_idle(b.fd(), access_mode::write));
}

TEST_CASE("importing an empty fence adds nothing") {
    const fake_dma_buf b;
    std::error_code ec = errc::closed;
    dma_buf::import_fence(b.fd(), fence{}, access_mode::dma_write, ec);
    CHECK_FALSE(ec);
    CHECK(b.pending(access_mode::write) == 0);
}

TEST_CASE("fences leave no descriptor behind") {
    const fake_dma_buf b;
    const fake_fence work = b.add_fence(access_mode::dma_write);
    const std::size_t before = support::open_descriptors();
    std::error_code ec;
    {
        const fence f = dma_buf::export_fence(b.fd(), access_mode::read, ec);
        const fence g = fence::merge(f, f, "merged", ec);
        dma_buf::import_fence(b.fd(), g, access_mode::dma_read, ec);
    }
    CHECK_FALSE(ec);
    CHECK(support::open_descriptors() == before);
}

// ---- size, names, mapping --------------------------------------------------------------------------------------------

TEST_CASE("a dma-buf tells its size, a pipe does not") {
    const fake_dma_buf b{12'288};
    const support::pipe p;
    std::error_code ec;
    CHECK(dma_buf::size(b.fd(), ec) == 12'288);
    CHECK_FALSE(ec);
    CHECK(dma_buf::size(p.read_end.get(), ec) == 0);
    CHECK(ec == std::errc::invalid_seek);
}

TEST_CASE("a dma-buf is named, and tells its name and its exporter") {
    const fake_dma_buf b{4096, "vgem"};
    CHECK(dma_buf::name(b.fd()).empty());
    CHECK_FALSE(dma_buf::set_name(b.fd(), "camera"));
    CHECK(dma_buf::name(b.fd()) == "camera");
    CHECK(dma_buf::exporter(b.fd()) == "vgem");
    CHECK_FALSE(dma_buf::set_name(b.fd(), std::string(40, 'n')));
    CHECK(b.name() == std::string(31, 'n'));
    CHECK(dma_buf::exporter(-1).empty());
}

TEST_CASE("a dma-buf is mapped as its descriptor allows") {
    const fake_dma_buf b;
    std::error_code ec;
    const mapping writable = dma_buf::map(b.fd(), 4096, ec);
    REQUIRE_FALSE(ec);
    CHECK(writable.writable());
    writable.bytes()[7] = std::byte{7};
    const mapping readable = dma_buf::map(b.read_only().get(), 4096, ec);
    REQUIRE_FALSE(ec);
    CHECK_FALSE(readable.writable());
    CHECK(readable.bytes()[7] == std::byte{7});
    CHECK(dma_buf::map(b.unmappable().get(), 4096, ec).bytes().empty());
    CHECK(ec == errc::no_cpu_access);
    CHECK(dma_buf::map(-1, 4096, ec).bytes().empty());
    CHECK(ec == std::errc::bad_file_descriptor);
}

TEST_CASE("however an exporter says that it has no mapping, it is understood; shortages are something else") {
    const auto said = [](int error) { return detail::says_no_mapping({error, std::system_category()}); };
    for (const int error : {EACCES, EINVAL, ENODEV, ENOSYS, ENOTTY, ENXIO, EOPNOTSUPP, EPERM}) { CHECK(said(error)); }
    for (const int error : {0, EAGAIN, EBADF, EMFILE, ENOMEM}) { CHECK_FALSE(said(error)); }
}

TEST_CASE("threads may use one dma-buf at once") {
    const fake_dma_buf b;
    std::vector<std::thread> threads;
    for (int t = 0; t < 4; ++t) {
        threads.emplace_back([&b] {
            for (int i = 0; i < 50; ++i) {
                std::error_code ec;
                const fake_fence work = b.add_fence(access_mode::dma_write);
                const fence f = dma_buf::export_fence(b.fd(), access_mode::read, ec);
                work.signal();
                static_cast<void>(dma_buf::is_idle(b.fd(), access_mode::read));
                CHECK(!ec);
            }
        });
    }
    for (std::thread& t : threads) { t.join(); }
    CHECK(b.pending(access_mode::write) == 0);
}
