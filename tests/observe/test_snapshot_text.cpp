// SPDX-License-Identifier: MIT
#include <dmasync/observe/snapshot_text.hpp>

#include <doctest/doctest.h>

#include <chrono>
#include <string>
#include <string_view>

#include <sys/sysmacros.h>

using namespace dmasync;
using namespace std::chrono_literals;

namespace {

/// A place of this file, which the text shows with its line.
std::string shown(const call_site& place) { return "test_snapshot_text.cpp:" + std::to_string(place.line()); }

} // namespace

TEST_CASE("a domain without buffers is its name and its counters") {
    domain_snapshot s;
    s.domain = "media";
    s.counters = {
        .granted_at_once = 900, .granted_after_wait = 99, .timed_out = 1, .fences_waited = 2, .contended = 101};
    CHECK(to_text(s) == "domain 'media': 0 buffers, 0 B; 0 held, 0 waited for\n"
                        "locks 999: 900 at once, 99 after a wait; contended 101, timed out 1, cancelled 0\n"
                        "leases expired 0; transactions: wounds 0, deaths 0, retries 0\n"
                        "devices: fences waited for 2, overdue 0, failed 0; CPU brackets told 0, saved 0\n");
}

TEST_CASE("buffers stand in a table, with their users below each, and everything in columns") {
    const call_site here = call_site::current();
    domain_snapshot s;
    s.domain = "media";
    s.acquisitions = {
        {.set = "compose",
         .state = acquisition_state::held,
         .age = 12'340us,
         .lease = 200ms,
         .lease_left = 187'660us,
         .place = here,
         .parts = {{0, access_mode::read}, {1, access_mode::write}}},
        {.set = {},
         .state = acquisition_state::lent,
         .age = 3s,
         .lease = no_lease,
         .parts = {{0, access_mode::dma_read}}},
        {.set = "encode",
         .state = acquisition_state::waiting,
         .age = 65s,
         .lease = 200ms,
         .ticket = 41,
         .transaction = 0,
         .wounded = true,
         .parts = {{0, access_mode::write}},
         .waits_for = {0, 1}},
        {.set = "show",
         .state = acquisition_state::waiting,
         .age = 840ns,
         .lease = 200ms,
         .ticket = 42,
         .blocks_thread = true,
         .parts = {{0, access_mode::read}},
         .waits_for = {2}},
        {.set = "late",
         .state = acquisition_state::expired,
         .age = 2h,
         .lease = 5s,
         .parts = {{2, access_mode::write}}},
    };
    s.buffers = {
        {.name = "camera",
         .size = 4096,
         .memory = memory_kind::dma_heap,
         .device = makedev(0, 11),
         .inode = 77,
         .token = 12,
         .last_access = access_mode::dma_write,
         .holders = {{0, access_mode::read}, {1, access_mode::dma_read}},
         .waiters = {{2, access_mode::write}, {3, access_mode::read}},
         .fences_before_read = 1,
         .fences_before_write = 2},
        {.name = "größe",
         .size = 8'294'400,
         .memory = memory_kind::memfd,
         .device = makedev(0, 1),
         .inode = 1234,
         .holders = {{0, access_mode::write}}},
        {.name = {},
         .size = 100,
         .memory = memory_kind::plain,
         .device = ~0ULL,
         .inode = 0xabc0,
         .closed = true,
         .losers = {{4, access_mode::write}}},
    };
    const std::string text = to_text(s);
    const std::string table = text.substr(text.find("\n\n") + 2);
    CHECK(text.substr(0, text.find('\n')) == "domain 'media': 3 buffers, 7.9 MiB; 2 held, 1 waited for");
    const std::string place = shown(here);
    const std::string blank(place.size(), ' ');
    CHECK(
        table ==
        "buffer     size     memory    identity   last access  token  fences\n"
        "camera     4.0 KiB  dma_heap  0:11/77    dma_write    12     1 before reading, 2 before writing\n"
        "  held by    'compose'  read      for 12.3 ms       188 ms left  " +
            place +
            "\n"
            "  held by    (no name)  dma_read  for 3.00 s        no lease     " +
            blank +
            "  with a device\n"
            "  wanted by  'encode'   write     for 1 min 05 s    ticket 41    " +
            blank +
            "  behind 'compose' and 1 other, transaction 0, wounded\n"
            "  wanted by  'show'     read      for 840 ns        ticket 42    " +
            blank +
            "  behind 'encode', blocks a thread\n"
            "größe      7.9 MiB  memfd     0:1/1234   -            0      -\n"
            "  held by    'compose'  write     for 12.3 ms       188 ms left  " +
            place +
            "\n"
            "(no name)  100 B    plain     at 0xabc0  -            0      -                                   closed\n"
            "  lost by    'late'     write     after 2 h 00 min\n");
}

TEST_CASE("names cannot move the cursor or end a line") {
    domain_snapshot s;
    s.domain = "a\nb";
    s.buffers = {{.name = "\x1b[2J", .memory = memory_kind::memfd}};
    const std::string text = to_text(s);
    CHECK(text.find("domain 'a\\x0ab'") == 0);
    CHECK(text.find("\n\\x1b[2J  ") != std::string::npos);
    CHECK(text.find('\x1b') == std::string::npos);
}

TEST_CASE("durations have three digits and a unit") {
    const auto text = [](std::chrono::nanoseconds d) { return detail::duration_text(d); };
    CHECK(text(0ns) == "0 ns");
    CHECK(text(999ns) == "999 ns");
    CHECK(text(1us) == "1.00 us");
    CHECK(text(9'999ns) == "10.0 us");
    CHECK(text(12'340us) == "12.3 ms");
    CHECK(text(999'600us) == "1.00 s");
    CHECK(text(59'940ms) == "59.9 s");
    CHECK(text(60s) == "1 min 00 s");
    CHECK(text(3599s) == "59 min 59 s");
    CHECK(text(26h + 5min) == "26 h 05 min");
    CHECK(text(-1500ms) == "-1.50 s");
}

TEST_CASE("sizes have the unit that suits them") {
    CHECK(detail::size_text(0) == "0 B");
    CHECK(detail::size_text(1023) == "1023 B");
    CHECK(detail::size_text(1024) == "1.0 KiB");
    CHECK(detail::size_text((1U << 20U) - 1) == "1.0 MiB");
    CHECK(detail::size_text(std::size_t{3} << 30U) == "3.0 GiB");
}
