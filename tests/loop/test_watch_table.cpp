// SPDX-License-Identifier: MIT
#include <dmasync/detail/loop/watch_table.hpp>

#include <doctest/doctest.h>
#include <support/callback.hpp>

#include <cstddef>
#include <cstdint>
#include <deque>
#include <set>

using dmasync::detail::watch_table;
using support::watch;

TEST_CASE("a watch is found by its key while it is there") {
    watch_table table;
    watch w{0, 0};
    REQUIRE(table.add(w));
    const std::uint64_t key = table.key(w);
    CHECK(table.find(key) == &w);
    CHECK(table.any() == &w);
    table.remove(w);
    CHECK(table.find(key) == nullptr);
    CHECK(table.any() == nullptr);
}

TEST_CASE("the key of a watch that is gone does not find the one that took its place") {
    watch_table table;
    watch w{0, 0};
    watch other{0, 0};
    REQUIRE(table.add(w));
    const std::uint64_t old = table.key(w);
    table.remove(w);
    REQUIRE(table.add(other));
    const std::uint64_t fresh = table.key(other);
    CHECK(other.slot == w.slot);
    CHECK(fresh != old);
    CHECK(table.find(old) == nullptr);
    CHECK(table.find(fresh) == &other);
}

TEST_CASE("a watch that is renamed is found by its new key only") {
    watch_table table;
    watch w{0, 0};
    REQUIRE(table.add(w));
    const std::uint64_t old = table.key(w);
    table.rename(w);
    CHECK(table.find(old) == nullptr);
    CHECK(table.find(table.key(w)) == &w);
    CHECK(table.any() == &w);
}

TEST_CASE("keys differ, and stay below the limit") {
    watch_table table;
    std::deque<watch> watches;
    std::set<std::uint64_t> keys;
    for (int i = 0; i < 1000; ++i) {
        watch& w = watches.emplace_back(0, 0);
        REQUIRE(table.add(w));
        keys.insert(table.key(w));
    }
    CHECK(keys.size() == 1000);
    CHECK(*keys.rbegin() < watch_table::key_limit);
    std::size_t visited = 0;
    table.for_each([&](const dmasync::fd_watch&) { ++visited; });
    CHECK(visited == 1000);
}

TEST_CASE("what never was a key finds nothing") {
    const watch_table table;
    CHECK(table.find(0) == nullptr);
    CHECK(table.find(watch_table::key_limit) == nullptr);
}
