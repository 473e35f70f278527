// SPDX-License-Identifier: MIT
/// What a loop does in a forked child, and beside one that shares its memory.
#include <dmasync/detail/kernel/fork_mark.hpp>

#include <dmasync/event_loop.hpp>
#include <dmasync/wait.hpp>

#include <doctest/doctest.h>
#include <support/callback.hpp>
#include <support/child.hpp>
#include <support/every_loop.hpp>
#include <support/pipe.hpp>
#include <support/probe.hpp>
#include <support/skip.hpp>

#include <atomic>
#include <chrono>
#include <memory>
#include <optional>
#include <system_error>
#include <thread>

#include <poll.h>
#include <sys/wait.h>
#include <unistd.h>

using namespace dmasync;
using namespace std::chrono_literals;
using support::host_until;
using support::is_readable;
using support::make;
using support::posted;
using support::timed;
using support::watch;

namespace {

constexpr int not_noticed = 77; // forks are not, here: before Linux 4.14, or where madvise(2) is an emulator's

bool forks_are_noticed() {
    const detail::fork_mark mark = detail::fork_mark::of_this_process();
    const bool noticed = support::in_child([&] { return mark.is_in_child() ? 0 : not_noticed; }).exit_code == 0;
    if (!noticed) { support::report_skip("this kernel has no MADV_WIPEONFORK"); }
    return noticed;
}

probe sleep_long(event_loop& loop, std::error_code& ec) { co_await sleep_for(loop, 1h, ec); }

} // namespace

TEST_CASE("a mark tells a child from its parent, and from a thread") {
    if (!forks_are_noticed()) { return; }
    const detail::fork_mark mark = detail::fork_mark::of_this_process();
    CHECK_FALSE(mark.is_in_child());
    std::thread{[&] { CHECK_FALSE(mark.is_in_child()); }}.join();
    CHECK(support::in_child([&] { return mark.is_in_child() ? 0 : 1; }).exit_code == 0);
    CHECK_FALSE(mark.is_in_child());
    CHECK(support::in_child([] { return detail::fork_mark{}.is_in_child() ? 1 : 0; }).exit_code == 0);
}

TEST_CASE_TEMPLATE("a child that uses the loop is told, wherever it waits on it", Kind, EVERY_LOOP) {
    const auto loop = make<Kind>();
    if (!loop || !forks_are_noticed()) { return; }
    std::error_code before;
    const probe sleeper = sleep_long(*loop, before);
    const auto child = support::in_child([&] {
        ::alarm(30);
        std::error_code ec;
        if (loop->error() != errc::forked) { return 1; }
        if (loop->run() != errc::forked || !sleeper.done() || before != errc::forked) { return 2; }
        return sleep_long(*loop, ec).done() && ec == errc::forked ? 0 : 3;
    });
    CHECK(child.exit_code == 0);
    CHECK_FALSE(loop->error());
    CHECK_FALSE(sleeper.done());
}

TEST_CASE_TEMPLATE("nothing that a child does with the loop disturbs its parent", Kind, EVERY_LOOP) {
    auto loop = make<Kind>();
    if (!loop || !forks_are_noticed()) { return; }
    const support::pipe p;
    watch w{p.read_end.get(), POLLIN};
    timed t;
    REQUIRE_FALSE(loop->watch(w));
    loop->arm(t, loop->now() + 1h);
    posted work;
    while (is_readable(loop->fd())) { loop->poll(); }
    const auto child = support::in_child([&] {
        ::alarm(30);
        loop->unwatch(w);
        loop->arm(t, loop->now());
        loop->post(work);
        loop->stop();
        std::this_thread::sleep_for(5ms); // what had reached the kernel would show by now
        loop->poll();
        loop->run();
        loop.reset();
        return work.runs == 1 ? 0 : 1;
    });
    CHECK(child.exit_code == 0);
    CHECK_FALSE(is_readable(loop->fd()));
    p.put();
    loop->arm(t, loop->now());
    host_until(*loop, [&] { return w.runs == 1 && t.runs == 1; });
    CHECK(work.runs == 0);
    CHECK_FALSE(loop->error());
}

TEST_CASE_TEMPLATE(
    "a child that is made in a turn of the loop, and goes on with it, does not disturb its parent either", Kind,
    EVERY_LOOP) {
    const auto loop = make<Kind>();
    if (!loop || !forks_are_noticed()) { return; }
    const support::pipe a;
    const support::pipe b;
    const support::pipe go_on;
    const pid_t parent = ::getpid();
    pid_t child = 0;
    int status = 0;
    watch first{a.read_end.get(), POLLIN, [&] {
                    child = ::fork();
                    if (child != 0) { return; }
                    pollfd entry{go_on.read_end.get(), POLLIN, 0};
                    ::poll(&entry, 1, -1); // then the second is watched again, in the parent
                }};
    std::optional<watch> second;
    second.emplace(b.read_end.get(), static_cast<short>(POLLIN), [&] {
        if (::getpid() != parent) { return; }
        b.take();
        if (second->runs == 1) { CHECK_FALSE(loop->watch(*second)); }
        loop->stop();
    });
    REQUIRE_FALSE(loop->watch(first));
    REQUIRE_FALSE(loop->watch(*second));
    a.put();
    b.put();
    const std::error_code ec = loop->run();
    if (::getpid() != parent) { ::_exit(ec == errc::forked ? 0 : 1); }
    CHECK_FALSE(ec);
    loop->poll(); // now the kernel has it all
    go_on.put();
    REQUIRE(::waitpid(child, &status, 0) == child);
    CHECK(WIFEXITED(status));
    CHECK(WEXITSTATUS(status) == 0);
    b.put();
    host_until(*loop, [&] { return second->runs == 2; });
}

TEST_CASE_TEMPLATE("a child makes loops of its own", Kind, EVERY_LOOP) {
    const auto loop = make<Kind>();
    if (!loop) { return; }
    const auto child = support::in_child([] {
        ::alarm(30);
        const auto own = make<Kind>();
        timed t{[&] { own->stop(); }};
        own->arm(t, own->now() + 1ms);
        return !own->run() && t.runs == 1 ? 0 : 1;
    });
    CHECK(child.exit_code == 0);
}

TEST_CASE_TEMPLATE("a thread that has made a loop, and set what it waits for, may be held up in the kernel", Kind,
                   EVERY_LOOP) {
    const auto loop = make<Kind>();
    if (!loop) { return; }
    const support::pipe begun;
    const support::pipe done;
    const support::pipe p;
    std::atomic<int> missing{3};
    const auto came = [&] {
        if (--missing == 0) { done.put(); }
    };
    posted post{came};
    timed t{came};
    watch w{p.read_end.get(), POLLIN, came};
    loop->arm(t, loop->now() + 50ms); // while its maker waits for its child
    REQUIRE_FALSE(loop->watch(w));
    std::thread poster{[&] {
        pollfd entry{begun.read_end.get(), POLLIN, 0};
        ::poll(&entry, 1, -1); // now the maker of the loop waits for its child
        loop->post(post);
        p.put();
    }};
    std::thread runner{[&] { loop->run(); }};
    int status = 0;
    const pid_t child = ::vfork();
    if (child == 0) {
        pollfd entry{done.read_end.get(), POLLIN, 0};
        if (::write(begun.write_end.get(), "x", 1) != 1) { ::_exit(2); }
        ::_exit(::poll(&entry, 1, 20'000) == 1 ? 0 : 1); // 20 s: lost, not late
    }
    REQUIRE(::waitpid(child, &status, 0) == child);
    poster.join();
    loop->stop();
    runner.join();
    CHECK(WEXITSTATUS(status) == 0);
    CHECK(missing == 0);
}
