// SPDX-License-Identifier: MIT
/// What a loop does that the kernel does not let wait any longer: because of a sandbox that came later, or of a descriptor
/// that something else has closed.
#include <dmasync/event_loop.hpp>

#include <dmasync/manual_loop.hpp>
#include <dmasync/task.hpp>
#include <dmasync/wait.hpp>

#include <doctest/doctest.h>
#include <support/callback.hpp>
#include <support/child.hpp>
#include <support/every_loop.hpp>
#include <support/pipe.hpp>
#include <support/probe.hpp>
#include <support/refuse_call.hpp>
#include <support/skip.hpp>

#include <cerrno>
#include <chrono>
#include <memory>
#include <optional>
#include <stop_token>
#include <system_error>
#include <thread>

#include <poll.h>
#include <sys/syscall.h>
#include <unistd.h>

using namespace dmasync;
using namespace std::chrono_literals;
using support::is_readable;
using support::make;
using support::posted;
using support::timed;
using support::watch;

namespace {

constexpr unsigned lost = 30; // seconds: then something waits for ever, and the alarm ends the child

const std::error_code refused{EPERM, std::system_category()};
const std::error_code closed{EBADF, std::system_category()};

/// Expects 0 of `body`, in a child whose main thread may be refused the system call by which a loop waits.
template <class Body>
void check_in_child(Body body) {
    const support::child_outcome result = support::in_child([&] {
        ::alarm(lost);
        return body();
    });
    if (result.exit_code == support::cannot_filter) {
        support::report_skip("this kernel refuses the system call filter");
        return;
    }
    CHECK(result.exit_code == 0);
    CHECK(result.signal == 0);
    CHECK(result.messages.empty());
}

template <class Kind>
bool refuse_waiting() {
    return support::refuse_call(Kind::waits_by, EPERM);
}

probe sleep_long(event_loop& loop, std::error_code& ec) { co_await sleep_for(loop, 1h, ec); }
probe await_readable(event_loop& loop, int fd, std::error_code& ec) { co_await readable(loop, fd, ec); }
probe change_to(event_loop& loop, std::error_code& ec) { co_await resume_on(loop, ec); }

} // namespace

TEST_CASE_TEMPLATE("a loop that works has no error, and none comes of a run that is stopped", Kind, EVERY_LOOP) {
    const auto loop = make<Kind>();
    if (!loop) { return; }
    loop->stop();
    CHECK_FALSE(loop->run());
    CHECK_FALSE(loop->error());
}

TEST_CASE_TEMPLATE("a sandbox that refuses to wait ends the run with its answer, and so does all that waits", Kind,
                   EVERY_LOOP) {
    if (!make<Kind>()) { return; }
    check_in_child([] {
        const auto loop = make<Kind>();
        const support::pipe p;
        std::error_code sleep_error;
        std::error_code read_error;
        const probe sleeper = sleep_long(*loop, sleep_error);
        const probe reader = await_readable(*loop, p.read_end.get(), read_error);
        posted ready;
        loop->post(ready);
        if (!refuse_waiting<Kind>()) { return support::cannot_filter; }
        if (loop->run() != refused || loop->error() != refused) { return 1; }
        if (!sleeper.done() || sleep_error != refused) { return 2; }
        if (!reader.done() || read_error != refused) { return 3; }
        return ready.runs == 1 ? 0 : 4;
    });
}

TEST_CASE_TEMPLATE("a descriptor that something else has closed ends the run, and so does all that waits", Kind,
                   EVERY_LOOP) {
    if (!make<Kind>()) { return; }
    check_in_child([] {
        const auto loop = make<Kind>();
        std::error_code ec;
        const probe sleeper = sleep_long(*loop, ec);
        ::close(loop->fd());
        if (loop->run() != closed || loop->error() != closed) { return 1; }
        return sleeper.done() && ec == closed ? 0 : 2;
    });
}

TEST_CASE_TEMPLATE("what waits on a loop that fails is told once, by the loop's thread", Kind, EVERY_LOOP) {
    if (!make<Kind>()) { return; }
    check_in_child([] {
        struct note : timer {
            explicit note(event_loop& l) noexcept : timer{told}, loop{l} {}
            static void told(work& w, disposition d) noexcept {
                auto& self = static_cast<note&>(w);
                self.right += d == disposition::fail && self.loop.in_this_thread() && !self.armed() ? 1 : 100;
            }
            event_loop& loop;
            int right = 0;
        };
        const auto loop = make<Kind>();
        note late{*loop};
        note never{*loop};
        loop->arm(late, loop->now() + 1h);
        loop->arm(never, event_loop::time_point::max());
        if (!refuse_waiting<Kind>()) { return support::cannot_filter; }
        loop->run();
        loop->run();
        loop->poll();
        return late.right == 1 && never.right == 1 ? 0 : 1;
    });
}

TEST_CASE_TEMPLATE("on a loop that has failed nothing waits: posts run, all else ends at once", Kind, EVERY_LOOP) {
    if (!make<Kind>()) { return; }
    check_in_child([] {
        const auto loop = make<Kind>();
        const support::pipe p;
        if (!refuse_waiting<Kind>()) { return support::cannot_filter; }
        loop->run();
        std::error_code sleep_error;
        std::error_code change_error;
        if (!sleep_long(*loop, sleep_error).done() || sleep_error != refused) { return 1; }
        if (!change_to(*loop, change_error).done() || change_error != refused) { return 2; }
        watch w{p.read_end.get(), POLLIN};
        if (loop->watch(w) != refused || w.active) { return 3; }
        timed t;
        loop->arm(t, loop->now());
        posted own;
        posted foreign;
        loop->post(own);
        std::thread{[&] { loop->post(foreign); }}.join();
        if (loop->run() != refused) { return 4; }
        if (own.runs + foreign.runs != 2) { return 5; }
        return t.armed() || t.runs != 0 ? 6 : 0;
    });
}

TEST_CASE_TEMPLATE("a timer that is armed again whenever its loop says that it has failed does not keep the run", Kind,
                   EVERY_LOOP) {
    if (!make<Kind>()) { return; }
    check_in_child([] {
        struct stubborn : timer {
            explicit stubborn(event_loop& l) noexcept : timer{again}, loop{l} {}
            static void again(work& w, disposition d) noexcept {
                auto& self = static_cast<stubborn&>(w);
                if (d == disposition::fail) { self.loop.arm(self, event_loop::time_point{}); }
            }
            event_loop& loop;
        };
        const auto loop = make<Kind>();
        stubborn t{*loop};
        loop->arm(t, loop->now() + 1h);
        if (!refuse_waiting<Kind>()) { return support::cannot_filter; }
        loop->run();
        loop->poll();
        const bool ends = loop->run() == refused;
        loop->disarm(t);
        return ends ? 0 : 1;
    });
}

TEST_CASE_TEMPLATE("a host learns of the failure by a poll", Kind, EVERY_LOOP) {
    if (!make<Kind>()) { return; }
    check_in_child([] {
        const auto loop = make<Kind>();
        std::error_code ec;
        while (loop->poll()) {}
        if (!refuse_waiting<Kind>()) { return support::cannot_filter; }
        const probe sleeper = sleep_long(*loop, ec);
        std::thread{[&] { loop->stop(); }}.join(); // something that shows
        for (int polls = 0; polls < 3 && is_readable(loop->fd()); ++polls) { loop->poll(); }
        return loop->error() == refused && sleeper.done() && ec == refused ? 0 : 1;
    });
}

TEST_CASE_TEMPLATE("a poll finds out that the descriptor has been closed, though there is nothing to do", Kind,
                   EVERY_LOOP) {
    if (!make<Kind>()) { return; }
    check_in_child([] {
        const auto loop = make<Kind>();
        while (loop->poll()) {}
        ::close(loop->fd());
        loop->poll();
        return loop->error() == closed ? 0 : 1;
    });
}

TEST_CASE_TEMPLATE("a task whose loop fails is told where it waits, and has its result all the same", Kind,
                   EVERY_LOOP) {
    if (!make<Kind>()) { return; }
    check_in_child([] {
        const auto loop = make<Kind>();
        if (!refuse_waiting<Kind>()) { return support::cannot_filter; }
        const auto waits = [](event_loop& l) -> task<int> {
            std::error_code ec;
            co_await sleep_for(l, 1h, ec);
            co_return ec == refused ? 0 : 1;
        };
        return loop->run(waits(*loop));
    });
}

TEST_CASE_TEMPLATE("a task that is on another loop when its own fails is waited for", Kind, EVERY_LOOP) {
    if (!make<Kind>()) { return; }
    check_in_child([] {
        const auto home = make<Kind>();
        const auto there = make<Kind>(); // its thread is there before the sandbox, and not in it
        std::thread other{[&] { there->run(); }};
        if (!refuse_waiting<Kind>()) {
            there->stop();
            other.join();
            return support::cannot_filter;
        }
        const auto journey = [](event_loop& from, event_loop& to) -> task<int> {
            co_await resume_on(to);
            while (!from.error()) { co_await sleep_for(to, 1ms); }
            co_await sleep_for(to, 20ms); // by now the run has nothing to do
            std::error_code ec;
            co_await resume_on(from, ec);
            co_return ec == refused&& to.in_this_thread() ? 0 : 1;
        };
        const int result = home->run(journey(*home, *there));
        there->stop();
        other.join();
        return result;
    });
}

#if !defined(DMASYNC_WITHOUT_URING)
TEST_CASE("a loop that may be made but not waited on is not made") {
    check_in_child([] {
        if (!refuse_waiting<support::uring>() || !refuse_waiting<support::epoll>()) { return support::cannot_filter; }
        std::error_code uring;
        std::error_code epoll;
        if (support::uring::create(uring) || support::epoll::create(epoll)) { return 1; }
        return uring && epoll == refused ? 0 : 2; // io_uring may have been refused before
    });
}
#endif

TEST_CASE("a virtual loop that may not wait ends as well") {
    check_in_child([] {
        manual_loop loop;
        const support::pipe p;
        std::error_code ec;
        const probe reader = await_readable(loop, p.read_end.get(), ec);
#if defined(SYS_poll)
        if (!support::refuse_call(SYS_poll, EPERM)) { return support::cannot_filter; }
#endif
        if (!support::refuse_call(SYS_ppoll, EPERM)) { return support::cannot_filter; } // poll(3) may be made of it
        return loop.run() == refused && reader.done() && ec == refused ? 0 : 1;
    });
}

TEST_CASE("what waits on a loop that is destroyed is not resumed, and a later stop request finds nothing") {
    std::stop_source source;
    const std::stop_token token = source.get_token();
    probe sleeper;
    std::error_code ec;
    {
        manual_loop loop;
        sleeper = [](event_loop& l, const std::stop_token& stop, std::error_code& out) -> probe {
            co_await sleep_for(l, 1h, wait_options{.stop = stop}, out);
        }(loop, token, ec);
    }
    source.request_stop();
    CHECK_FALSE(sleeper.done());
}
