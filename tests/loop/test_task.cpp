// SPDX-License-Identifier: MIT
#include <dmasync/task.hpp>

#include <dmasync/domain.hpp>
#include <dmasync/lock.hpp>
#include <dmasync/manual_loop.hpp>
#include <dmasync/wait.hpp>
#include <dmasync/when_all.hpp>

#include <doctest/doctest.h>
#include <support/child.hpp>

#include <atomic>
#include <chrono>
#include <coroutine>
#include <memory>
#include <semaphore>
#include <stdexcept>
#include <system_error>
#include <thread>
#include <utility>
#include <vector>

#include <time.h>

using namespace dmasync;
using namespace std::chrono_literals;

namespace {

/// A loop whose waker is slow to get out of it again.
class slow_to_wake final : public event_loop {
public:
    [[nodiscard]] int fd() const noexcept override { return -1; }

    std::atomic<bool> waking{false};

private:
    void wake() noexcept override {
        waking = true;
        signal_.release();
        std::this_thread::sleep_for(20ms);
        waking = false;
    }
    void wait(bool may_block) noexcept override {
        if (may_block) { signal_.acquire(); }
    }
    void flush() noexcept override {}
    void set_kernel_timer(time_point) noexcept override {}
    std::error_code start_watch(fd_watch&) noexcept override { return errc::not_a_buffer; }
    void stop_watch(fd_watch&) noexcept override {}

    std::counting_semaphore<> signal_{0};
};

task<int> give(int value) { co_return value; }

task<int> add(int a, int b) {
    const int x = co_await give(a);
    const int y = co_await give(b);
    co_return x + y;
}

} // namespace

TEST_CASE("a loop runs a task and returns its result") {
    manual_loop loop;
    CHECK(loop.run(add(2, 3)) == 5);
}

TEST_CASE("a task does not start before it is awaited") {
    manual_loop loop;
    bool started = false;
    const auto body = [](bool& s) -> task<> {
        s = true;
        co_return;
    };
    {
        [[maybe_unused]] const task<> never = body(started);
        loop.run_ready();
    }
    CHECK(!started);
    loop.run(body(started));
    CHECK(started);
}

TEST_CASE("a task gives a result that can only be moved") {
    manual_loop loop;
    const auto body = [](int v) -> task<std::unique_ptr<int>> { co_return std::make_unique<int>(v); };
    CHECK(*loop.run(body(7)) == 7);
}

TEST_CASE("a task that waits goes on when what it waits for has come") {
    manual_loop loop;
    domain media{loop};
    const buffer a = media.allocate(64);
    guard held = try_lock(write(a));
    const auto body = [](buffer b) -> task<bool> {
        const auto mine = co_await lock(write(b));
        co_return static_cast<bool>(mine);
    };
    const auto unlock_later = [](manual_loop& l, guard& g) -> task<> {
        co_await sleep_for(l, 10ms);
        g.unlock();
    };
    const auto both = [&](task<bool> waiter, task<> unlocker) -> task<bool> {
        co_await std::move(unlocker);
        co_return co_await std::move(waiter);
    };
    CHECK(loop.run(both(body(a), unlock_later(loop, held))));
}

#if defined(__cpp_exceptions)
TEST_CASE("an exception that leaves a task is thrown where it is awaited") {
    manual_loop loop;
    const auto fail = []() -> task<> {
        throw std::runtime_error{"no"};
        co_return;
    };
    const auto caught = [](task<> t) -> task<bool> {
        try {
            co_await std::move(t);
        } catch (const std::runtime_error&) { co_return true; }
        co_return false;
    };
    CHECK(loop.run(caught(fail())));
    CHECK_THROWS_AS(loop.run(fail()), std::runtime_error);
}
#endif

TEST_CASE("a million tasks that never suspend, one after the other, need no stack") {
    manual_loop loop;
    const auto body = []() -> task<int> {
        int sum = 0;
        for (int i = 0; i < 1'000'000; ++i) { sum += co_await give(1); }
        co_return sum;
    };
    CHECK(loop.run(body()) == 1'000'000);
}

TEST_CASE("a task that ends on another thread goes on there") {
    manual_loop here;
    manual_loop there;
    std::thread other{[&] { there.run(); }};
    const auto hop = [](event_loop& to) -> task<std::thread::id> {
        co_await resume_on(to);
        co_return std::this_thread::get_id();
    };
    const auto outer = [](task<std::thread::id> inner, event_loop& back) -> task<bool> {
        const std::thread::id inside = co_await std::move(inner);
        const bool same = inside == std::this_thread::get_id();
        co_await resume_on(back);
        co_return same;
    };
    for (int i = 0; i < 200; ++i) { CHECK(here.run(outer(hop(there), here))); }
    there.stop();
    other.join();
}

TEST_CASE("a run ends when the thread on which its task ended has left the loop, not before") {
    manual_loop there;
    std::thread other{[&] { there.run(); }};
    slow_to_wake here;
    here.run([](event_loop& to) -> task<> { co_await resume_on(to); }(there));
    CHECK(!here.waking);
    there.stop();
    other.join();
}

TEST_CASE("what has to wait for a starter that was interrupted sleeps") {
    constexpr auto interruption = 100ms;
    manual_loop there;
    std::chrono::nanoseconds busy{};
    std::thread other{[&] {
        there.run();
        timespec used{};
        ::clock_gettime(CLOCK_THREAD_CPUTIME_ID, &used);
        busy = std::chrono::seconds{used.tv_sec} + std::chrono::nanoseconds{used.tv_nsec};
    }};
    const task<> hop = [](event_loop& to) -> task<> { co_await resume_on(to); }(there);
    const auto awaiter = hop.operator co_await(); // by hand, so that there is time between its two steps
    CHECK_FALSE(awaiter.await_ready());
    std::this_thread::sleep_for(interruption);
    awaiter.await_suspend(std::noop_coroutine());
    there.stop();
    other.join();
    CHECK(busy < interruption / 2);
}

TEST_CASE("a task that is run twice is misuse, and found") {
    support::check_misuse("a task is run or awaited twice", [] {
        manual_loop loop;
        task<> once = []() -> task<> { co_return; }();
        loop.run(std::move(once));
        loop.run(std::move(once)); // NOLINT(bugprone-use-after-move)
    });
}

TEST_CASE("a task that is awaited again while it waits is misuse, and found") {
    support::check_misuse("a task is run or awaited twice", [] {
        manual_loop loop;
        const task<> sleeps = [](event_loop& l) -> task<> { co_await sleep_for(l, 1h); }(loop);
        const auto use = [](const task<>& t) -> task<> { co_await t; };
        loop.run(when_all(use(sleeps), use(sleeps)));
    });
}

TEST_CASE("a task that is awaited after it was moved from is misuse, and found") {
    support::check_misuse("a task is run or awaited that has been moved from", [] {
        manual_loop loop;
        task<> first = []() -> task<> { co_return; }();
        static_cast<void>(task<>{std::move(first)});
        loop.run(std::move(first)); // NOLINT(bugprone-use-after-move)
    });
}
