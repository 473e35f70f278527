// SPDX-License-Identifier: MIT
#include "channel.hpp"

#include "support.hpp"

#include <dmasync/epoll_loop.hpp>
#include <dmasync/manual_loop.hpp>
#include <dmasync/wait.hpp>
#include <dmasync/when_all.hpp>

#include <doctest/doctest.h>

#include <chrono>
#include <memory>
#include <numeric>
#include <stop_token>
#include <system_error>
#include <thread>
#include <vector>

using namespace pipeline;
using namespace dmasync;
using namespace std::chrono_literals;

namespace {

task<> send_numbers(channel<int>& to, int count) {
    for (int i = 0; i < count; ++i) { co_await to.send(i); }
    to.close();
}

task<> receive_all(channel<int>& from, std::vector<int>& into) {
    for (;;) {
        auto value = co_await from.receive();
        if (!value) { break; }
        into.push_back(*value);
    }
}

task<> on(event_loop& there, task<> what, event_loop& home) {
    co_await resume_on(there);
    co_await what;
    co_await resume_on(home);
}

std::vector<int> numbers(int count) {
    std::vector<int> all(static_cast<std::size_t>(count));
    std::iota(all.begin(), all.end(), 0);
    return all;
}

} // namespace

TEST_CASE("values arrive in the order in which they were sent, and then the end") {
    manual_loop loop;
    channel<int> c{3, loop, loop, {}};
    std::vector<int> received;
    loop.run(when_all(send_numbers(c, 100), receive_all(c, received)));
    CHECK(received == numbers(100));
}

TEST_CASE("a sender into a full channel waits for room") {
    manual_loop loop;
    channel<int> c{2, loop, loop, {}};
    const auto send = [](manual_loop& l, channel<int>& to, std::vector<event_loop::time_point>& sent) -> task<> {
        for (int i = 0; i < 3; ++i) {
            co_await to.send(i);
            sent.push_back(l.now());
        }
    };
    const auto receive_late = [](manual_loop& l, channel<int>& from) -> task<> {
        co_await sleep_for(l, 10ms);
        co_await from.receive();
    };
    const auto start = loop.now();
    std::vector<event_loop::time_point> sent;
    loop.run(when_all(send(loop, c, sent), receive_late(loop, c)));
    CHECK(sent == std::vector{start, start, start + 10ms});
}

TEST_CASE("a stop wakes a waiter at either end") {
    manual_loop loop;
    std::stop_source stop;
    channel<int> full{1, loop, loop, stop.get_token()};
    channel<int> empty{1, loop, loop, stop.get_token()};
    const auto stop_later = [](manual_loop& l, std::stop_source& s) -> task<> {
        co_await sleep_for(l, 10ms);
        s.request_stop();
    };
    std::vector<int> received;
    SUBCASE("the sender") {
        CHECK(test::error_of([&] { loop.run(when_all(send_numbers(full, 2), stop_later(loop, stop))); }) ==
              std::errc::operation_canceled);
    }
    SUBCASE("the receiver") {
        CHECK(test::error_of([&] { loop.run(when_all(receive_all(empty, received), stop_later(loop, stop))); }) ==
              std::errc::operation_canceled);
    }
}

TEST_CASE("nothing goes through a channel that was stopped before") {
    manual_loop loop;
    std::stop_source stop;
    stop.request_stop();
    channel<int> c{1, loop, loop, stop.get_token()};
    CHECK(test::error_of([&] { loop.run(c.send(1)); }) == std::errc::operation_canceled);
}

TEST_CASE("values that were not received are destroyed with the channel") {
    const auto value = std::make_shared<int>(1);
    {
        manual_loop loop;
        channel<std::shared_ptr<int>> c{1, loop, loop, {}};
        loop.run(c.send(value));
        CHECK(value.use_count() == 2);
    }
    CHECK(value.use_count() == 1);
}

TEST_CASE("a channel joins two threads") {
    epoll_loop here;
    epoll_loop there;
    channel<int> c{2, there, here, {}};
    std::vector<int> received;
    std::thread other{[&] { there.run(); }};
    here.run(when_all(on(there, send_numbers(c, 5000), here), receive_all(c, received)));
    there.stop();
    other.join();
    CHECK(received == numbers(5000));
}

TEST_CASE("a stop from a third thread ends both ends, whatever they are doing") {
    for (int round = 0; round < 100; ++round) {
        epoll_loop here;
        epoll_loop there;
        std::stop_source stop;
        channel<int> c{1, there, here, stop.get_token()};
        std::vector<int> received;
        std::thread other{[&] { there.run(); }};
        std::thread stopper{[&] {
            std::this_thread::sleep_for(std::chrono::microseconds{10 * round});
            stop.request_stop();
        }};
        const auto end_quietly = [](task<> what, event_loop& where, event_loop& home) -> task<> {
            co_await resume_on(where);
            try {
                co_await what;
            } catch (const std::system_error&) {}
            co_await resume_on(home);
        };
        here.run(when_all(end_quietly(send_numbers(c, 1'000'000'000), there, here),
                          end_quietly(receive_all(c, received), here, here)));
        stopper.join();
        there.stop();
        other.join();
        CHECK(received == numbers(static_cast<int>(received.size())));
    }
}
