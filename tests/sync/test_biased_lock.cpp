// SPDX-License-Identifier: MIT
#include <dmasync/detail/sync/biased_lock.hpp>
#include <dmasync/dmasync.hpp>

#include <doctest/doctest.h>
#include <support/child.hpp>
#include <support/refuse_call.hpp>
#include <support/skip.hpp>

#include <array>
#include <atomic>
#include <cerrno>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <mutex>
#include <span>
#include <system_error>
#include <thread>
#include <utility>

#include <sys/syscall.h>

using namespace dmasync;
using namespace std::chrono_literals;
using dmasync::detail::biased_lock;

namespace {

constexpr std::uint32_t few_uses = 2;

void use(biased_lock& lock, unsigned times, unsigned& count) {
    for (unsigned i = 0; i < times; ++i) {
        const std::lock_guard guard{lock};
        ++count;
    }
}

struct place {
    std::array<std::byte, 2> memory{};
    manual_loop loop;
    domain media{loop, {.single_threaded = true}};
    buffer first = media.adopt(std::span{memory}.first<1>(), "first");
    buffer second = media.adopt(std::span{memory}.last<1>(), "second");
};

constexpr const char* foreign = "a single-threaded domain is used by another thread";

template <class Body>
void on_another_thread(Body body) {
    std::thread{std::move(body)}.join();
}

} // namespace

TEST_CASE("a lock that one thread has had to itself is free to another one all the same") {
    biased_lock lock{false, few_uses};
    unsigned count = 0;
    use(lock, 1000, count);
    on_another_thread([&] { use(lock, 10, count); });
    use(lock, 10, count);
    CHECK(count == 1020);
}

TEST_CASE("what comes while the owner is inside waits until it is out") {
    biased_lock lock{false, few_uses};
    unsigned count = 0;
    use(lock, 10, count);
    std::atomic<bool> came{false};
    bool owner_was_out = false;
    lock.lock();
    bool out = false;
    std::thread other{[&] {
        came = true;
        const std::lock_guard guard{lock};
        owner_was_out = out;
    }};
    while (!came) { std::this_thread::yield(); }
    std::this_thread::sleep_for(1ms); // so that it is likely to be waiting; right in any case
    out = true;
    lock.unlock();
    other.join();
    CHECK(owner_was_out);
}

TEST_CASE("threads that take the bias from each other lose nothing") {
    biased_lock lock{false, few_uses};
    unsigned count = 0;
    std::thread other{[&] { use(lock, 20'000, count); }};
    use(lock, 20'000, count);
    other.join();
    use(lock, 20'000, count); // alone again
    CHECK(count == 60'000);
}

TEST_CASE("where the kernel has no process fence, a lock does without the bias") {
    const int result = support::in_child([] {
                           if (!support::refuse_call(SYS_membarrier, ENOSYS)) { return support::cannot_filter; }
                           biased_lock lock{false, few_uses};
                           unsigned count = 0;
                           use(lock, 1000, count);
                           on_another_thread([&] { use(lock, 10, count); });
                           return count == 1010 ? 0 : 1;
                       }).exit_code;
    if (result == support::cannot_filter) {
        support::report_skip("no seccomp filters");
        return;
    }
    CHECK(result == 0);
}

TEST_CASE("a sandbox that takes the process fence from a lock in use is told, rather than two threads let in") {
    support::check_misuse("a sandbox has taken membarrier(2) from a process that uses it", [] {
        biased_lock lock{false, few_uses};
        unsigned count = 0;
        use(lock, 1000, count);
        if (!support::refuse_call(SYS_membarrier, EPERM)) { std::abort(); }
        on_another_thread([&] { use(lock, 1, count); });
    });
}

TEST_CASE("a single-threaded domain grants, queues and times out as others do") {
    place p;
    const auto body = [](place& here) -> task<> {
        auto held = co_await lock(write(here.first), read(here.second));
        CHECK(held);
        CHECK(try_lock(read(here.first)).error() == errc::would_block);
        std::error_code ec;
        auto refused = co_await lock(write(here.first), lock_options{.deadline = here.loop.now() + 10ms}, ec);
        CHECK(ec == errc::timed_out);
        here.loop.set(here.loop.now() + default_lease + 1s);
        auto next = co_await lock(write(here.first));
        CHECK(next);
        CHECK(held.expired());
    };
    p.loop.run(body(p));
    CHECK(p.media.counters().leases_expired == 1);
}

TEST_CASE("a lock of a single-threaded domain on another thread is misuse, and found") {
    support::check_misuse(foreign, [] {
        place p;
        on_another_thread([&] { static_cast<void>(try_lock(read(p.first))); });
    });
}

TEST_CASE("so is an unlock") {
    support::check_misuse(foreign, [] {
        place p;
        auto held = try_lock(read(p.first));
        on_another_thread([&] { held.unlock(); });
    });
}

TEST_CASE("so is the end of its last handle of a buffer") {
    support::check_misuse(foreign, [] {
        place p;
        on_another_thread([last = std::exchange(p.first, buffer{})]() mutable { last = buffer{}; });
    });
}
