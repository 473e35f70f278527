// SPDX-License-Identifier: MIT
#include <dmasync/when_all.hpp>

#include <dmasync/manual_loop.hpp>
#include <dmasync/task.hpp>
#include <dmasync/wait.hpp>

#include <doctest/doctest.h>
#include <support/probe.hpp>

#include <chrono>
#include <optional>
#include <stdexcept>
#include <string>
#include <thread>
#include <vector>

using namespace dmasync;
using namespace std::chrono_literals;

namespace {

task<> note_after(manual_loop& loop, std::chrono::milliseconds delay, std::string& notes, char note) {
    co_await sleep_for(loop, delay);
    notes += note;
}

task<> note_now(std::string& notes, char note) {
    notes += note;
    co_return;
}

} // namespace

TEST_CASE("tasks that wait do so at the same time") {
    manual_loop loop;
    std::string notes;
    const auto start = loop.now();
    loop.run(when_all(note_after(loop, 30ms, notes, 'c'), note_after(loop, 10ms, notes, 'a'),
                      note_after(loop, 20ms, notes, 'b')));
    CHECK(notes == "abc");
    CHECK(loop.now() - start == 30ms);
}

TEST_CASE("tasks start in the order in which they are given") {
    manual_loop loop;
    std::string notes;
    loop.run(when_all(note_now(notes, 'a'), note_now(notes, 'b'), note_now(notes, 'c')));
    CHECK(notes == "abc");
}

TEST_CASE("tasks that never wait, again and again, need no stack") {
    manual_loop loop;
    std::string notes;
    const auto body = [](std::string& n) -> task<> {
        for (int i = 0; i < 1'000'000; ++i) { co_await when_all(note_now(n, 'a'), note_now(n, 'b')); }
    };
    loop.run(body(notes));
    CHECK(notes.size() == 2'000'000);
}

TEST_CASE("tasks that never were awaited are destroyed without having run") {
    std::string notes;
    { [[maybe_unused]] const task<> never = when_all(note_now(notes, 'a'), note_now(notes, 'b')); }
    CHECK(notes.empty());
}

TEST_CASE("when it is destroyed while it waits, so are the tasks that have not ended") {
    manual_loop loop;
    std::string notes;
    struct last_words {
        ~last_words() { notes += note; }
        std::string& notes;
        char note;
    };
    const auto wait = [](manual_loop& l, std::chrono::milliseconds delay, std::string& n, char note) -> task<> {
        const last_words words{n, note};
        co_await sleep_for(l, delay);
    };
    {
        std::optional<task<>> all{when_all(wait(loop, 10ms, notes, 'a'), wait(loop, 30ms, notes, 'b'))};
        const auto run = [](const task<>& t) -> probe { co_await t; };
        const probe running = run(*all);
        loop.advance(20ms);
        CHECK(notes == "a");
        all.reset();
        CHECK(notes == "ab");
    }
    loop.advance(20ms); // a leak is for the sanitizer to find
    CHECK(notes == "ab");
}

TEST_CASE("tasks may end on different threads") {
    manual_loop here;
    manual_loop there;
    std::thread other{[&] { there.run(); }};
    const auto hop = [](event_loop& to, int& count) -> task<> {
        co_await resume_on(to);
        ++count;
    };
    const auto both = [&hop](event_loop& a, event_loop& b) -> task<int> {
        int on_a = 0;
        int on_b = 0;
        co_await when_all(hop(a, on_a), hop(b, on_b));
        co_await resume_on(a);
        co_return on_a + on_b;
    };
    for (int i = 0; i < 200; ++i) { CHECK(here.run(both(here, there)) == 2); }
    there.stop();
    other.join();
}

#if defined(__cpp_exceptions)
TEST_CASE("the others are waited for when one throws, and the first in order is reported") {
    manual_loop loop;
    std::string notes;
    const auto fail_after = [](manual_loop& l, std::chrono::milliseconds delay, const char* what) -> task<> {
        co_await sleep_for(l, delay);
        throw std::runtime_error{what};
    };
    CHECK_THROWS_WITH(loop.run(when_all(fail_after(loop, 20ms, "first in order"), note_after(loop, 30ms, notes, 'x'),
                                        fail_after(loop, 10ms, "first in time"))),
                      "first in order");
    CHECK(notes == "x");
}
#endif
