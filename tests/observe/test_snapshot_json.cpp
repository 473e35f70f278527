// SPDX-License-Identifier: MIT
#include <dmasync/observe/snapshot_json.hpp>

#include <doctest/doctest.h>

#include <chrono>
#include <cstddef>
#include <cstdio>
#include <string>
#include <string_view>

using namespace dmasync;
using namespace std::chrono_literals;

namespace {

/// What stands for a name in JSON.
std::string as_json(std::string_view name) {
    detail::json_writer j;
    j.string(name);
    return j.take();
}

} // namespace

TEST_CASE("an empty domain is an object with empty arrays") {
    const std::string json = to_json({});
    CHECK(
        json ==
        R"({"domain":"","counters":{"locks":0,"granted_at_once":0,"granted_after_wait":0,"contended":0,"stuck":0,"timed_out":0,)"
        R"("cancelled":0,"leases_expired":0,"wounds":0,"deaths":0,"retries":0,"fences_waited":0,"devices_overdue":0,)"
        R"("devices_failed":0,"brackets_told":0,"brackets_saved":0},"buffers":[],"acquisitions":[]})");
}

TEST_CASE("buffers and acquisitions refer to each other by number") {
    domain_snapshot s;
    s.domain = "media";
    s.counters.granted_at_once = 3;
    s.acquisitions = {
        {.set = "compose",
         .state = acquisition_state::held,
         .age = 12ms,
         .lease = no_lease,
         .parts = {{0, access_mode::read}}},
        {.set = "encode",
         .state = acquisition_state::waiting,
         .age = 5ms,
         .lease = 1s,
         .ticket = 7,
         .transaction = 2,
         .blocks_thread = true,
         .parts = {{0, access_mode::write}},
         .waits_for = {0}},
    };
    s.buffers = {{.name = "camera",
                  .size = 4096,
                  .memory = memory_kind::memfd,
                  .device = 1,
                  .inode = 77,
                  .token = 12,
                  .last_access = access_mode::write,
                  .holders = {{0, access_mode::read}},
                  .waiters = {{1, access_mode::write}}}};
    const std::string json = to_json(s);
    CHECK(
        json.substr(json.find("\"buffers\"")) ==
        R"("buffers":[{"name":"camera","size":4096,"memory":"memfd","device":1,"inode":77,"token":12,)"
        R"("last_access":"write","closed":false,"fences_before_read":0,"fences_before_write":0,)"
        R"("holders":[{"acquisition":0,"access":"read"}],"waiters":[{"acquisition":1,"access":"write"}],"losers":[]}],)"
        R"("acquisitions":[{"set":"compose","state":"held","age_ns":12000000,"lease_ns":null,"lease_left_ns":null,)"
        R"("ticket":null,"transaction":null,"wounded":false,"stuck":false,"blocks_thread":false,"file":"","line":0,"function":"",)"
        R"("user":0,"parts":[{"buffer":0,"access":"read"}],"waits_for":[]},)"
        R"({"set":"encode","state":"waiting","age_ns":5000000,"lease_ns":1000000000,"lease_left_ns":null,"ticket":7,)"
        R"("transaction":2,"wounded":false,"stuck":false,"blocks_thread":true,"file":"","line":0,"function":"","user":0,)"
        R"("parts":[{"buffer":0,"access":"write"}],"waits_for":[0]}]})");
}

TEST_CASE("quotes, backslashes and control characters in names are escaped") {
    CHECK(as_json("a\"b\\c") == R"("a\"b\\c")");
    CHECK(as_json("tab\tline\nbell\x07") == R"("tab\u0009line\u000abell\u0007")");
    CHECK(as_json(std::string_view{"\0", 1}) == R"("\u0000")");
    CHECK(as_json("\x7f/") == "\"\x7f/\"");
}

TEST_CASE("UTF-8 in names stays as it is") {
    for (const std::string_view good : {"é", "€", "𝄞", "\U0010ffff", "\ud7ff", "\ue000"}) {
        CHECK(as_json(good) == '"' + std::string{good} + '"');
    }
}

TEST_CASE("bytes in names that are no UTF-8 are replaced, and those around them are not") {
    const std::string mark = "\xef\xbf\xbd";
    CHECK(as_json("a\xff"
                  "b") == "\"a" + mark + "b\"");
    CHECK(as_json("cut \xe2\x82") == "\"cut " + mark + mark + '"');              // in the middle of a character
    CHECK(as_json("\xc0\x80") == '"' + mark + mark + '"');                       // longer than need be
    CHECK(as_json("\xed\xa0\x80") == '"' + mark + mark + mark + '"');            // a surrogate
    CHECK(as_json("\xf4\x90\x80\x80") == '"' + mark + mark + mark + mark + '"'); // beyond the last one
    CHECK(as_json("\xe2\x82\"") == '"' + mark + mark + "\\\"\"");                // a quote is never a part of it
}

TEST_CASE("what can be parsed is what every parser agrees on") {
    domain_snapshot s;
    for (int c = 1; c < 256; ++c) {
        const char text[] = {'x', static_cast<char>(c), 'y', 0}; // NOLINT(modernize-avoid-c-arrays)
        s.buffers.push_back({.name = text, .size = static_cast<std::size_t>(c)});
    }
    std::FILE* const python =
        ::popen("python3 -c 'import json,sys; d=json.load(sys.stdin); "
                "sys.exit(0 if [b[\"size\"] for b in d[\"buffers\"]] == list(range(1, 256)) else 1)'",
                "w");
    REQUIRE(python != nullptr);
    const std::string json = to_json(s);
    CHECK(std::fwrite(json.data(), 1, json.size(), python) == json.size());
    CHECK(::pclose(python) == 0);
}
