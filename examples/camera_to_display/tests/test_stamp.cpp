// SPDX-License-Identifier: MIT
#include "stamp.hpp"

#include "test_picture.hpp"

#include <doctest/doctest.h>

#include <cstddef>
#include <cstdint>

using namespace camera_to_display;

namespace {

bool is_whole(const test::picture& p) {
    const auto found = read_stamp(p.look());
    return found && checksum_of(p.look(), found->number) == found->checksum;
}

test::picture stamped(std::uint32_t number) {
    test::picture p;
    draw_stamp(p.view(), number);
    return p;
}

} // namespace

TEST_CASE("a stamp is read as it was drawn") {
    for (const std::uint32_t number : {0U, 1U, 0x8000'0001U, 0xffff'ffffU}) {
        const test::picture p = stamped(number);
        const auto found = read_stamp(p.look());
        REQUIRE(found);
        CHECK(found->number == number);
        CHECK(found->checksum == checksum_of(p.look(), number));
    }
}

TEST_CASE("a picture without a stamp has none") {
    test::picture p;
    CHECK_FALSE(read_stamp(p.look()));
    p.pixels.assign(p.pixels.size(), white);
    CHECK_FALSE(read_stamp(p.look()));
    p.pixels.assign(p.pixels.size(), black);
    CHECK_FALSE(read_stamp(p.look()));
}

TEST_CASE("a picture that is too small for a stamp has none") {
    const test::picture p = stamped(1);
    auto view = p.look();
    view.width = stamp_width - 1;
    CHECK_FALSE(read_stamp(view));
    view = p.look();
    view.height = stamp_height - 1;
    CHECK_FALSE(read_stamp(view));
}

TEST_CASE("a picture that is changed below its stamp, in a single bit, is no longer whole") {
    test::picture p = stamped(7);
    REQUIRE(is_whole(p));
    for (const std::size_t y : {stamp_height, test::picture::height - 1}) {
        for (const std::size_t x : {std::size_t{0}, test::picture::width - 1}) {
            p.view().line(y)[x] ^= 1U;
            CHECK_FALSE(is_whole(p));
            p.view().line(y)[x] ^= 1U;
        }
    }
    CHECK(is_whole(p));
}

TEST_CASE("half a picture of one frame and half of another are not whole") {
    test::picture p = stamped(1);
    for (std::uint32_t& pixel : p.view().line(test::picture::height - 1)) { pixel += 0x10; }
    CHECK_FALSE(is_whole(p));
    draw_stamp(p.view(), 2); // of the other frame: whole again
    CHECK(is_whole(p));
}

TEST_CASE("what is not seen does not count: the fourth byte of a pixel, and memory beyond the end of a line") {
    test::picture p = stamped(3);
    p.view().line(stamp_height)[5] ^= 0xff00'0000U;
    p.pixels[stamp_height * test::picture::stride + test::picture::width] ^= 0xffU;
    CHECK(is_whole(p));
}

TEST_CASE("a stamp stays in the picture") {
    const test::picture before;
    const test::picture after = stamped(4);
    for (std::size_t y = 0; y < test::picture::height; ++y) {
        for (std::size_t x = 0; x < test::picture::stride; ++x) {
            const bool inside = y < stamp_height && x < test::picture::width;
            const std::size_t i = y * test::picture::stride + x;
            if (!inside) { CHECK(after.pixels[i] == before.pixels[i]); }
        }
    }
}
