// SPDX-License-Identifier: MIT
#include <dmasync/call_site.hpp>
#include <dmasync/lock.hpp>

#include <doctest/doctest.h>

#include <cstdint>
#include <string_view>

using namespace dmasync;

namespace {

std::uint_least32_t line_of_caller(call_site::address where = call_site::here()) { return call_site{where}.line(); }
std::uint_least32_t line_of_caller_by_value(call_site where = call_site::current()) { return where.line(); }

/// A function of a user, which hands on where it was called.
std::uint_least32_t line_by_way_of_a_lock(const buffer& b, call_site where = call_site::current()) {
    return read(b, where).place.line();
}

} // namespace

TEST_CASE("a default place is nowhere") {
    const call_site nowhere;
    CHECK(nowhere.line() == 0);
    CHECK(nowhere.column() == 0);
    CHECK(std::string_view{nowhere.file_name()}.empty());
    CHECK(std::string_view{nowhere.function_name()}.empty());
}

#if defined(__cpp_lib_source_location)
TEST_CASE("a place is where the function was called that takes it by default") {
    CHECK(line_of_caller() == __LINE__);
    CHECK(line_of_caller_by_value() == __LINE__);
    const call_site here = call_site::current();
    CHECK(here.line() == __LINE__ - 1);
    CHECK(std::string_view{here.file_name()}.ends_with("test_call_site.cpp"));
    CHECK_FALSE(std::string_view{here.function_name()}.empty());
    CHECK(here.column() > 0);
}

TEST_CASE("a request has the place of its call, or the one it is given") {
    const buffer b;
    CHECK(read(b).place.line() == __LINE__);
    CHECK(write(b).place.line() == __LINE__);
    CHECK(read_write(b).place.line() == __LINE__);
    CHECK(dma_read(b).place.line() == __LINE__);
    CHECK(dma_write(b).place.line() == __LINE__);
    CHECK(dma_read_write(b).place.line() == __LINE__);
    CHECK(line_by_way_of_a_lock(b) == __LINE__);
}
#endif
