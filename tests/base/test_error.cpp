// SPDX-License-Identifier: MIT
#include <dmasync/error.hpp>

#include <doctest/doctest.h>

#include <ostream>
#include <set>
#include <string>
#include <system_error>

using namespace dmasync;

namespace {
constexpr int last = static_cast<int>(errc::forked);
} // namespace

TEST_CASE("every error has a text of its own") {
    std::set<std::string> texts;
    for (int value = 1; value <= last; ++value) {
        const std::error_code ec = static_cast<errc>(value);
        CHECK(ec.category().name() == std::string{"dmasync"});
        CHECK(ec.message() != "unknown error");
        texts.insert(ec.message());
    }
    CHECK(texts.size() == last);
    CHECK(error_category().message(last + 1) == "unknown error");
}

TEST_CASE("an error compares equal to the standard condition that means the same") {
    CHECK(make_error_code(errc::empty_set) == std::errc::invalid_argument);
    CHECK(make_error_code(errc::duplicate_buffer) == std::errc::invalid_argument);
    CHECK(make_error_code(errc::wrong_domain) == std::errc::invalid_argument);
    CHECK(make_error_code(errc::invalid_access) == std::errc::invalid_argument);
    CHECK(make_error_code(errc::invalid_lease) == std::errc::invalid_argument);
    CHECK(make_error_code(errc::not_in_set) == std::errc::invalid_argument);
    CHECK(make_error_code(errc::would_block) == std::errc::resource_unavailable_try_again);
    CHECK(make_error_code(errc::timed_out) == std::errc::timed_out);
    CHECK(make_error_code(errc::cancelled) == std::errc::operation_canceled);
    CHECK(make_error_code(errc::wounded) == std::errc::resource_deadlock_would_occur);
    CHECK(make_error_code(errc::would_deadlock) == std::errc::resource_deadlock_would_occur);
    CHECK(make_error_code(errc::not_locked) == std::errc::operation_not_permitted);
    CHECK(make_error_code(errc::forked) == std::errc::operation_not_permitted);
    CHECK(make_error_code(errc::already_locked) == std::errc::device_or_resource_busy);
    CHECK(make_error_code(errc::closed) == std::errc::bad_file_descriptor);
    CHECK(make_error_code(errc::not_a_buffer) == std::errc::not_supported);
    CHECK(make_error_code(errc::not_sealed) == std::errc::operation_not_permitted);
    CHECK(make_error_code(errc::overlaps_buffer) == std::errc::invalid_argument);
    CHECK(make_error_code(errc::no_cpu_access) == std::errc::not_supported);
    CHECK(make_error_code(errc::not_a_fence) == std::errc::invalid_argument);
    CHECK(make_error_code(errc::not_a_dma_buf) == std::errc::invalid_argument);
    CHECK(make_error_code(errc::fence_failed) == std::errc::io_error);
    CHECK(make_error_code(errc::fence_timed_out) == std::errc::timed_out);
    CHECK(make_error_code(errc::out_of_memory) == std::errc::not_enough_memory);
}

TEST_CASE("an expired lease and a resized file are like no standard condition") {
    for (const std::error_code ec : {errc::lease_expired, errc::size_changed}) {
        CHECK(ec.default_error_condition().category() == error_category());
        CHECK(ec != std::errc::timed_out);
    }
}

TEST_CASE("no error is no error") { CHECK_FALSE(detail::code_of(errc{})); }
