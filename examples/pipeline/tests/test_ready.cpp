// SPDX-License-Identifier: MIT
#include "ready.hpp"

#include "support.hpp"

#include <dmasync/epoll_loop.hpp>
#include <dmasync/task.hpp>
#include <dmasync/uring_loop.hpp>
#include <dmasync/wait.hpp>
#include <dmasync/when_all.hpp>
#include <support/skip.hpp>

#include <doctest/doctest.h>

#include <fcntl.h>
#include <poll.h>
#include <unistd.h>

#include <array>
#include <chrono>
#include <memory>
#include <span>
#include <stop_token>
#include <string>
#include <string_view>
#include <system_error>
#include <thread>
#include <utility>
#include <vector>

using namespace pipeline;
using namespace dmasync;
using namespace std::chrono_literals;

namespace {

struct a_pipe {
    unique_fd read_end;
    unique_fd write_end;
    a_pipe() {
        std::array<int, 2> ends{};
        if (::pipe2(ends.data(), O_CLOEXEC) != 0) { fail_errno("pipe2"); }
        read_end.reset(ends[0]);
        write_end.reset(ends[1]);
    }
    void put(std::string_view text) const { write_all(write_end.get(), std::as_bytes(std::span{text}), "pipe"); }
};

std::vector<std::unique_ptr<event_loop>> all_loops() {
    std::vector<std::unique_ptr<event_loop>> loops;
    loops.push_back(std::make_unique<epoll_loop>());
    std::error_code refused;
    if (auto uring = uring_loop::create(refused)) {
        loops.push_back(std::move(uring));
    } else {
        support::report_skip("descriptors on io_uring: " + refused.message());
    }
    return loops;
}

task<> wait_for_input(event_loop& loop, int fd, std::string& log, std::stop_token stop = {}) {
    const std::string name = "pipe";
    co_await ready(loop, fd, POLLIN, name, stop);
    log += "input ";
}

task<> put_later(event_loop& loop, const a_pipe& pipe, std::string& log) {
    co_await sleep_for(loop, 5ms);
    log += "others ";
    pipe.put("x");
}

task<> stop_later(event_loop& loop, std::stop_source& stop) {
    co_await sleep_for(loop, 5ms);
    stop.request_stop();
}

} // namespace

TEST_CASE("others use the loop while a descriptor is waited for") {
    for (const auto& loop : all_loops()) {
        const a_pipe pipe;
        std::string log;
        loop->run(when_all(wait_for_input(*loop, pipe.read_end.get(), log), put_later(*loop, pipe, log)));
        CHECK(log == "others input ");
    }
}

TEST_CASE("a stop request ends the wait for a descriptor") {
    for (const auto& loop : all_loops()) {
        const a_pipe pipe;
        std::string log;
        std::stop_source stop;
        CHECK(test::error_of([&] {
                  loop->run(when_all(wait_for_input(*loop, pipe.read_end.get(), log, stop.get_token()),
                                     stop_later(*loop, stop)));
              }) == std::errc::operation_canceled);
        CHECK(log.empty());
    }
}

TEST_CASE("a stop request from another thread and the descriptor do not both resume the waiter") {
    for (const auto& loop : all_loops()) {
        for (int round = 0; round < 300; ++round) {
            const a_pipe pipe;
            std::string log;
            std::stop_source stop;
            std::jthread stopper{[&] { stop.request_stop(); }};
            std::jthread writer{[&] { pipe.put("x"); }};
            const std::error_code ec =
                test::error_of([&] { loop->run(wait_for_input(*loop, pipe.read_end.get(), log, stop.get_token())); });
            CHECK_UNARY(ec ? ec == std::errc::operation_canceled && log.empty() : log == "input ");
        }
    }
}

TEST_CASE("a descriptor that cannot be waited for is reported") {
    for (const auto& loop : all_loops()) {
        std::string log;
        CHECK(test::message_of([&] { loop->run(wait_for_input(*loop, -1, log)); }).starts_with("cannot wait for pipe"));
    }
}
