// SPDX-License-Identifier: MIT
/// What ends with a loop that is closed: everything that waits on it.
#include <dmasync/event_loop.hpp>

#include <dmasync/domain.hpp>
#include <dmasync/lock.hpp>
#include <dmasync/manual_loop.hpp>
#include <dmasync/task.hpp>
#include <dmasync/wait.hpp>

#include <doctest/doctest.h>
#include <support/callback.hpp>
#include <support/child.hpp>
#include <support/every_loop.hpp>
#include <support/pipe.hpp>
#include <support/probe.hpp>
#include <support/waiter.hpp>

#include <array>
#include <chrono>
#include <csignal>
#include <cstddef>
#include <memory>
#include <optional>
#include <string>
#include <system_error>

#include <poll.h>

using namespace dmasync;
using namespace std::chrono_literals;
using support::make;
using support::posted;
using support::waiter;
using support::watch;

namespace {

/// A loop whose time is moved by hand, as one of the kinds.
struct manual {
    static std::unique_ptr<event_loop> create(std::error_code&) { return std::make_unique<manual_loop>(); }
};

#define EVERY_LOOP_AND_MANUAL EVERY_LOOP, manual

probe sleep_long(event_loop& loop, std::error_code& ec) { co_await sleep_for(loop, 1h, ec); }
probe await_readable(event_loop& loop, int fd, std::error_code& ec) { co_await readable(loop, fd, ec); }
probe change_to(event_loop& loop, std::error_code& ec) { co_await resume_on(loop, ec); }
task<> becomes_readable(event_loop& loop, int fd) { co_await readable(loop, fd); }

struct two_loops {
    manual_loop loop; // the domain's
    manual_loop other{loop.time_source()};
    std::array<std::byte, 64> memory{};
    std::optional<domain> media{std::in_place, loop, domain_options{.report = {}}};
    buffer screen = media->adopt(memory, "screen");
    guard held = try_lock(write(screen), lock_options{.lease = no_lease});
};

} // namespace

TEST_CASE_TEMPLATE("what waits for a time or a descriptor ends with the loop that is closed", Kind,
                   EVERY_LOOP_AND_MANUAL) {
    const auto loop = make<Kind>();
    if (!loop) { return; }
    const support::pipe p;
    std::error_code slept;
    std::error_code waited;
    const probe sleeper = sleep_long(*loop, slept);
    const probe reader = await_readable(*loop, p.read_end.get(), waited);
    loop->poll();
    loop->close();
    CHECK(sleeper.done());
    CHECK(slept == errc::closed);
    CHECK(reader.done());
    CHECK(waited == errc::closed);
}

TEST_CASE_TEMPLATE("what is posted to a loop runs before it is closed, and what that posts", Kind,
                   EVERY_LOOP_AND_MANUAL) {
    const auto loop = make<Kind>();
    if (!loop) { return; }
    struct chain : work {
        explicit chain(event_loop& l) noexcept : work{next_one}, loop{l} {}
        static void next_one(work& w, disposition d) noexcept {
            auto& self = static_cast<chain&>(w);
            if (d == disposition::run && --self.left != 0) { self.loop.post(self); }
        }
        event_loop& loop;
        int left = 100;
    };
    chain c{*loop};
    std::error_code ec = errc::closed;
    loop->post(c);
    const probe changing = change_to(*loop, ec);
    loop->close();
    CHECK(c.left == 0);
    CHECK(changing.done());
    CHECK_FALSE(ec);
}

TEST_CASE_TEMPLATE("on a loop that is closed nothing waits: it fails at once", Kind, EVERY_LOOP_AND_MANUAL) {
    const auto loop = make<Kind>();
    if (!loop) { return; }
    const support::pipe p;
    loop->close();
    CHECK(loop->error() == errc::closed);
    CHECK(loop->run() == errc::closed);
    std::error_code slept;
    CHECK(sleep_long(*loop, slept).done());
    CHECK(slept == errc::closed);
    std::error_code changed;
    CHECK(change_to(*loop, changed).done());
    CHECK(changed == errc::closed);
    watch w{p.read_end.get(), POLLIN};
    CHECK(loop->watch(w) == errc::closed);
}

TEST_CASE_TEMPLATE("closing again runs what was posted since", Kind, EVERY_LOOP_AND_MANUAL) {
    const auto loop = make<Kind>();
    if (!loop) { return; }
    loop->close();
    posted late;
    loop->post(late);
    loop->close();
    CHECK(late.runs == 1);
    CHECK(loop->error() == errc::closed);
}

TEST_CASE_TEMPLATE("a loop that is closed lets go of the files that it watches", Kind, EVERY_LOOP_AND_MANUAL) {
    const auto loop = make<Kind>();
    if (!loop) { return; }
    support::pipe p;
    std::error_code ec;
    const probe reader = await_readable(*loop, p.read_end.get(), ec);
    loop->poll();
    loop->close();
    p.read_end.reset();
    pollfd writer{p.write_end.get(), POLLOUT, 0};
    REQUIRE(::poll(&writer, 1, 20'000) == 1);
    CHECK((writer.revents & POLLERR) != 0); // nothing has the other side open
}

TEST_CASE("a loop that closes itself is misuse") {
    const support::child_outcome result = support::in_child([] {
        struct closing : work {
            explicit closing(event_loop& l) noexcept : work{go}, loop{l} {}
            static void go(work& w, disposition) noexcept { static_cast<closing&>(w).loop.close(); }
            event_loop& loop;
        };
        manual_loop loop;
        closing c{loop};
        loop.post(c);
        loop.poll();
        return 0;
    });
    CHECK(result.signal == SIGABRT);
    CHECK(result.messages.find("run from inside itself") != std::string::npos);
}

TEST_CASE("a lock that is queued ends with the domain's loop that is closed") {
    two_loops f;
    waiter w;
    w.start({}, write(f.screen));
    f.loop.close();
    CHECK(w.done());
    CHECK(w.ec == errc::closed);
}

TEST_CASE("a lock that is queued on a loop that is closed ends, and nothing else of its domain does") {
    two_loops f;
    waiter there;
    waiter here;
    there.start({.on = &f.other}, write(f.screen));
    here.start({}, write(f.screen));
    f.other.close();
    CHECK(there.done());
    CHECK(there.ec == errc::closed);
    CHECK_FALSE(here.done());
    f.held.unlock();
    f.loop.run_ready();
    CHECK(here.done());
    CHECK_FALSE(here.ec);
}

TEST_CASE("a lock that would have to wait on a loop that is closed fails at once, one that need not does not") {
    two_loops f;
    f.loop.close();
    f.other.close();
    waiter here;
    waiter there;
    here.start({}, write(f.screen));
    there.start({.on = &f.other}, write(f.screen));
    CHECK(here.done());
    CHECK(here.ec == errc::closed);
    CHECK(there.done());
    CHECK(there.ec == errc::closed);
    f.held.unlock();
    CHECK(try_lock(write(f.screen)));
}

TEST_CASE("a loan whose end is waited for on a loop that is closed ends with it") {
    two_loops f;
    const support::pipe p;
    f.held.release_on(becomes_readable(f.loop, p.read_end.get()));
    f.loop.run_ready();
    CHECK_FALSE(try_lock(write(f.screen)));
    f.loop.close();
    CHECK(try_lock(write(f.screen)));
}

TEST_CASE("what waited in a domain that is gone is told by the loop that is closed") {
    two_loops f;
    waiter here;
    waiter there;
    here.start({}, write(f.screen));
    there.start({.on = &f.other}, write(f.screen));
    f.media.reset();
    f.loop.close();
    f.other.close();
    CHECK(here.done());
    CHECK(here.ec == errc::closed);
    CHECK(there.done());
    CHECK(there.ec == errc::closed);
}

TEST_CASE("after a loop is closed its domain and its guards are destroyed in any order") {
    auto loop = std::make_unique<manual_loop>();
    std::array<std::byte, 64> memory{};
    std::optional<domain> media{std::in_place, *loop};
    buffer screen = media->adopt(memory, "screen");
    guard held = try_lock(write(screen));
    waiter w;
    w.start({}, write(screen));
    loop->close();
    REQUIRE(w.done());
    media.reset();
    loop.reset();
    held.unlock();
    CHECK_FALSE(held);
}
