// SPDX-License-Identifier: MIT
#include <dmasync/detail/sync/threading.hpp>

#include <doctest/doctest.h>

#include <chrono>
#include <cstdint>
#include <limits>
#include <thread>

using namespace dmasync;
using namespace std::chrono_literals;

TEST_CASE("a sleep on a word that does not change lasts as long as its limit") {
    const detail::futex_word word{0};
    for (const auto limit : {1ms, 30ms, 1100ms}) {
        const auto start = std::chrono::steady_clock::now();
        detail::futex_wait(word, 0, limit);
        CHECK(std::chrono::steady_clock::now() - start >= limit);
    }
}

TEST_CASE("a sleep on a word that has changed is none") {
    const detail::futex_word word{1};
    detail::futex_wait(word, 0, std::chrono::nanoseconds::max());
    CHECK(word.load() == 1);
}

TEST_CASE("a limit is what the kernel reads: whole seconds, the rest, and never less than nothing") {
    CHECK(detail::futex_limit(2'500ms).tv_sec == 2);
    CHECK(detail::futex_limit(2'500ms).tv_nsec == 500'000'000);
    CHECK(detail::futex_limit(-1ns).tv_sec == 0);
    CHECK(detail::futex_limit(-1ns).tv_nsec == 0);
    CHECK(detail::futex_limit(std::chrono::nanoseconds::max()).tv_sec >= std::numeric_limits<std::int32_t>::max());
}

TEST_CASE("a sleeper is woken, though its limit is far away") {
    detail::futex_word word{0};
    std::thread waker{[&] {
        word.store(1);
        detail::futex_wake(word);
    }};
    while (word.load() == 0) { detail::futex_wait(word, 0, std::chrono::nanoseconds::max()); }
    waker.join();
    CHECK(word.load() == 1);
}
