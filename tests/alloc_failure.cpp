// SPDX-License-Identifier: MIT
/// What happens when there is no memory: everything fails with an error and leaves things as they were. Each test is
/// repeated with the first allocation failing, the second, and so on, until nothing fails any more.
#include <dmasync/domain.hpp>
#include <dmasync/epoll_loop.hpp>
#include <dmasync/lock.hpp>
#include <dmasync/lock_set.hpp>
#include <dmasync/manual_loop.hpp>
#include <dmasync/task.hpp>
#include <dmasync/uring_loop.hpp>
#include <dmasync/wait.hpp>
#include <dmasync/when_all.hpp>

#include <doctest/doctest.h>
#include <support/callback.hpp>
#include <support/pipe.hpp>
#include <support/replaced_new.hpp>

#include <array>
#include <chrono>
#include <cstddef>
#include <memory>
#include <system_error>
#include <utility>
#include <vector>

#include <fcntl.h>
#include <poll.h>

namespace {

thread_local long until_failure = -1; // allocations that still succeed; negative: all

} // namespace

[[gnu::noinline]] void* support::allocate(std::size_t size, std::size_t alignment) noexcept {
    if (until_failure == 0) { return nullptr; }
    if (until_failure > 0) { --until_failure; }
    return allocate_from_heap(size, alignment);
}

using namespace dmasync;

namespace {

/// Calls `attempt(ec)` with fewer and fewer allocations failing, until one succeeds; `check_failed()` after each failure.
/// Returns: how often it failed.
template <class Attempt, class CheckFailed>
int fail_each_allocation(Attempt attempt, CheckFailed check_failed) {
    for (int failures = 0;; ++failures) {
        std::error_code ec;
        until_failure = failures;
        attempt(ec);
        until_failure = -1;
        if (!ec) { return failures; }
        CHECK(ec == errc::out_of_memory);
        check_failed();
    }
}

} // namespace

TEST_CASE("a lock for which there is no memory says so, and another one finds the buffers free") {
    manual_loop loop;
    domain media{loop, {.reserve = 1}};
    std::array<std::byte, 2> memory{};
    const buffer a = media.adopt(std::span{memory}.first(1));
    const buffer b = media.adopt(std::span{memory}.last(1));
    const guard reserved = try_lock(write(b)); // from here on each lock needs memory
    guard held;
    const int failures = fail_each_allocation([&](std::error_code& ec) { held = try_lock(write(a), ec); },
                                              [&] { CHECK(held.error() == errc::out_of_memory); });
    CHECK(failures == 1);
    CHECK(held);
}

#if defined(__cpp_exceptions)

TEST_CASE("a set that finds no memory for one more buffer is as it was, and locks what it had") {
    manual_loop loop;
    domain media{loop};
    std::array<std::byte, 2> memory{};
    const buffer a = media.adopt(std::span{memory}.first(1));
    const buffer b = media.adopt(std::span{memory}.last(1));
    lock_set set{media};
    set.add(a, access_mode::write);
    const int failures = fail_each_allocation([&](std::error_code& ec) { set.add(b, access_mode::write, ec); },
                                              [&] {
                                                  CHECK(set.size() == 1);
                                                  CHECK(set.try_lock());
                                                  CHECK(try_lock(write(b)));
                                              });
    CHECK(failures > 0);
    CHECK(set.size() == 2);
}

TEST_CASE("a buffer for which there is no memory is empty, and says so") {
    manual_loop loop;
    domain media{loop};
    std::array<std::byte, 2> memory{};
    buffer b;
    const auto is_empty = [&] { CHECK(!b); };
    CHECK(fail_each_allocation(
              [&](std::error_code& ec) { b = media.allocate(64, "a name that is too long for a small string", ec); },
              is_empty) > 1);
    const buffer allocated = b;
    b = {};
    CHECK(fail_each_allocation([&](std::error_code& ec) { b = media.adopt(memory, {}, ec); }, is_empty) > 0);
    b = {};
    domain other{loop};
    CHECK(fail_each_allocation(
              [&](std::error_code& ec) {
                  b = other.import(unique_fd{::fcntl(allocated.fd(), F_DUPFD_CLOEXEC, 0)}, {}, ec);
              },
              is_empty) > 0);
}

TEST_CASE("tasks that cannot be run beside each other for want of memory do not begin") {
    manual_loop loop;
    int begun = 0;
    bool thrown = false;
    const auto begin = [](manual_loop& l, int& n) -> task<> {
        ++n;
        co_await sleep_for(l, std::chrono::milliseconds{1});
    };
    const auto run = [](task<> all, bool& failed) -> task<> {
        until_failure = 1; // the second of the coroutines that wait for the tasks
        try {
            co_await std::move(all);
        } catch (const std::bad_alloc&) { failed = true; }
        until_failure = -1;
    };
    loop.run(run(when_all(begin(loop, begun), begin(loop, begun)), thrown));
    CHECK(thrown);
    CHECK(begun == 0);
}

TEST_CASE("a watch for which there is no memory is not started, and can be started later") {
    std::error_code refused;
    std::vector<std::unique_ptr<event_loop>> loops;
    loops.push_back(std::make_unique<epoll_loop>());
    loops.push_back(std::make_unique<manual_loop>());
    if (auto uring = uring_loop::create(refused)) { loops.push_back(std::move(uring)); }
    for (const auto& loop : loops) {
        const support::pipe p;
        p.put();
        support::watch w{p.read_end.get(), POLLIN, [&] { loop->stop(); }};
        CHECK(fail_each_allocation([&](std::error_code& ec) { ec = loop->watch(w); }, [&] { CHECK(!w.active); }) > 0);
        loop->run();
        CHECK(w.runs == 1);
    }
}

TEST_CASE("a regular file that cannot be watched for want of memory can be later") {
    epoll_loop loop;
    const unique_fd file{::open("/proc/self/exe", O_RDONLY | O_CLOEXEC)};
    const support::pipe p;
    support::watch first{p.read_end.get(), POLLIN}; // what other watches need is there then
    REQUIRE_FALSE(loop.watch(first));
    loop.unwatch(first);
    support::watch w{file.get(), POLLIN, [&] { loop.stop(); }};
    CHECK(fail_each_allocation([&](std::error_code& ec) { ec = loop.watch(w); }, [&] { CHECK(!w.active); }) == 1);
    loop.run();
    CHECK(w.runs == 1);
}

#endif
