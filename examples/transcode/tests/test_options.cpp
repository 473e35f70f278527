// SPDX-License-Identifier: MIT
#include "options.hpp"

#include <doctest/doctest.h>

#include <array>
#include <stdexcept>

using namespace transcode;

namespace {

template <class... Words>
options parse(Words... words) {
    const std::array<const char*, sizeof...(Words)> all{words...};
    return parse_options(all);
}

} // namespace

TEST_CASE("options are taken as they are given, or have a default") {
    CHECK(parse_options({}).converter == "vim2m");
    const options chosen = parse("--frames", "7", "--converter", "vicodec", "--heap", "reserved", "--epoll");
    CHECK(chosen.frames == 7);
    CHECK(chosen.converter == "vicodec");
    CHECK(chosen.heap == "reserved");
    CHECK(chosen.epoll);
    CHECK(parse("--help").help);
}

TEST_CASE("a command line that makes no sense is refused") {
    CHECK_THROWS_AS(parse("--frames", "4294967296"), std::invalid_argument);
    CHECK_THROWS_AS(parse("--frames", "-1"), std::invalid_argument);
    CHECK_THROWS_AS(parse("--epoll=yes"), std::invalid_argument);
    CHECK_THROWS_AS(parse("film.mp4"), std::invalid_argument);
}
