// SPDX-License-Identifier: MIT
/// Very many waiters, on a stack that holds hardly any of them.
#include <dmasync/domain.hpp>
#include <dmasync/lock.hpp>
#include <dmasync/manual_loop.hpp>

#include <doctest/doctest.h>
#include <support/probe.hpp>

#include <cstddef>
#include <vector>

#include <pthread.h>

using namespace dmasync;

namespace {

#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
constexpr std::size_t waiters = 100'000;
#elif defined(__has_feature)
#if __has_feature(address_sanitizer) || __has_feature(thread_sanitizer)
constexpr std::size_t waiters = 100'000;
#else
constexpr std::size_t waiters = 1'000'000;
#endif
#else
constexpr std::size_t waiters = 1'000'000;
#endif

struct outcome {
    std::size_t granted = 0;
    std::size_t out_of_order = 0;
    int depth = 0;
    int deepest = 0;
};

probe take_turn(const buffer& b, std::size_t me, outcome& o, bool shared) {
    guard mine;
    if (shared) {
        mine = co_await lock(read(b));
    } else {
        mine = co_await lock(write(b));
    }
    o.deepest = std::max(o.deepest, ++o.depth);
    o.out_of_order += o.granted++ == me ? 0U : 1U;
    mine.unlock();
    --o.depth;
}

outcome drain(bool shared) {
    manual_loop loop;
    domain media{loop};
    const buffer b = media.allocate(64);
    outcome o;
    guard held = try_lock(write(b));
    std::vector<probe> all;
    all.reserve(waiters);
    for (std::size_t i = 0; i < waiters; ++i) { all.push_back(take_turn(b, i, o, shared)); }
    held.unlock();
    while (o.granted < waiters) { loop.run_ready(); }
    return o;
}

struct job {
    bool shared;
    outcome result;
};

/// Runs `drain` on a thread with as small a stack as the task is to show.
outcome drain_on_small_stack(bool shared) {
    job j{shared, {}};
    pthread_attr_t attributes;
    pthread_attr_init(&attributes);
    REQUIRE(pthread_attr_setstacksize(&attributes, std::size_t{64} * 1024) == 0);
    pthread_t thread{};
    const auto body = [](void* p) -> void* {
        auto& mine = *static_cast<job*>(p);
        mine.result = drain(mine.shared);
        return nullptr;
    };
    REQUIRE(pthread_create(&thread, &attributes, body, &j) == 0);
    pthread_join(thread, nullptr);
    pthread_attr_destroy(&attributes);
    return j.result;
}

} // namespace

TEST_CASE("a million waiters on one buffer are granted in order of age, on a stack of 64 KiB") {
    const outcome o = drain_on_small_stack(false);
    CHECK(o.granted == waiters);
    CHECK(o.out_of_order == 0);
    CHECK(o.deepest == 1);
}

TEST_CASE("a million readers that one unlock lets go are resumed in order of age, on a stack of 64 KiB") {
    const outcome o = drain_on_small_stack(true);
    CHECK(o.granted == waiters);
    CHECK(o.out_of_order == 0);
    CHECK(o.deepest == 1);
}
