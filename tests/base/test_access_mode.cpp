// SPDX-License-Identifier: MIT
#include <dmasync/access_mode.hpp>

#include <doctest/doctest.h>

#include <array>
#include <ostream>
#include <system_error>

using namespace dmasync;

namespace {

constexpr std::array all{access_mode::read,     access_mode::write,     access_mode::read_write,
                         access_mode::dma_read, access_mode::dma_write, access_mode::dma_read_write};

constexpr bool reads_only(access_mode a) { return a == access_mode::read || a == access_mode::dma_read; }

} // namespace

TEST_CASE("readers share, by CPU and by DMA alike; everything else conflicts") {
    for (const access_mode a : all) {
        for (const access_mode b : all) {
            CAPTURE(to_string(a));
            CAPTURE(to_string(b));
            CHECK(conflict(a, b) == !(reads_only(a) && reads_only(b)));
        }
    }
}

TEST_CASE("what writes, and what a device touches, is known of each access") {
    for (const access_mode a : all) {
        CAPTURE(to_string(a));
        CHECK(is_write(a) == !reads_only(a));
        CHECK(is_dma(a) == (to_string(a).substr(0, 3) == "dma"));
    }
}

TEST_CASE("a writer that becomes a reader stays with the CPU, or with the device") {
    for (const access_mode a : all) { CHECK(as_reader(a) == (is_dma(a) ? access_mode::dma_read : access_mode::read)); }
}

TEST_CASE("six flag words are an access; every other is refused") {
    for (unsigned flags = 0; flags < 1024; ++flags) {
        std::error_code ec;
        const access_mode a = access_from_flags(flags, ec);
        const bool known = flags < 8 && (flags & 3U) != 0;
        CHECK(ec == (known ? std::error_code{} : make_error_code(errc::invalid_access)));
        if (known) { CHECK(static_cast<unsigned>(a) == flags); }
    }
    std::error_code ec;
    static_cast<void>(access_from_flags(~0U, ec));
    CHECK(ec == errc::invalid_access);
    static_cast<void>(access_from_flags(0x101, ec)); // `read`, were it cut to eight bits
    CHECK(ec == errc::invalid_access);
}

TEST_CASE("a cast that makes no access is told from one that does") {
    for (const access_mode a : all) { CHECK(is_valid(a)); }
    for (const unsigned bits : {0U, 4U, 8U, 9U, 255U}) { CHECK_FALSE(is_valid(static_cast<access_mode>(bits))); }
    CHECK(to_string(static_cast<access_mode>(4)) == "invalid");
}
