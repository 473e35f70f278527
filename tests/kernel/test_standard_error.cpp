// SPDX-License-Identifier: MIT
#include <dmasync/detail/kernel/standard_error.hpp>

#include <dmasync/domain.hpp>
#include <dmasync/epoll_loop.hpp>
#include <dmasync/fence.hpp>
#include <dmasync/lease.hpp>
#include <dmasync/make_event_loop.hpp>
#include <dmasync/manual_loop.hpp>

#include <doctest/doctest.h>
#include <support/callback.hpp>
#include <support/child.hpp>
#include <support/pipe.hpp>

#include <array>
#include <cerrno>
#include <climits>
#include <csignal>
#include <cstddef>
#include <memory>
#include <string>
#include <string_view>
#include <system_error>

#include <fcntl.h>
#include <poll.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <unistd.h>

using namespace dmasync;

namespace {

constexpr unsigned lost = 20; // seconds: then a write blocks, and the alarm ends the child

const std::string long_text(100'000, 'x');

/// What a child ends with that prints a line, with `fd` as its standard error output; 0 when nothing has come to harm.
int print_to(int fd, std::string_view text = "text") {
    ::alarm(lost);
    ::dup2(fd, STDERR_FILENO);
    std::signal(SIGPIPE, SIG_DFL);
    errno = 0;
    detail::print_line(text);
    if (errno != 0) { return 1; }
    sigset_t pending{};
    ::sigpending(&pending);
    return ::sigismember(&pending, SIGPIPE);
}

std::string contents(int fd) {
    std::array<char, 8192> text{};
    const ssize_t size = ::pread(fd, text.data(), text.size(), 0);
    return {text.data(), static_cast<std::size_t>(size < 0 ? 0 : size)};
}

bool standard_streams_are_closed() {
    for (const int fd : {STDIN_FILENO, STDOUT_FILENO, STDERR_FILENO}) {
        if (::fcntl(fd, F_GETFD) >= 0) { return false; }
    }
    return true;
}

/// Returns: 0 when what `make` gives is by no number of a standard stream, though those are free.
template <class Make>
int made_without_streams(Make make) {
    return support::in_child([&] {
               ::close(STDIN_FILENO);
               ::close(STDOUT_FILENO);
               ::close(STDERR_FILENO);
               const auto made = make();
               return standard_streams_are_closed() ? 0 : 1;
           })
        .exit_code;
}

} // namespace

TEST_CASE("a line is written whole, and longer ones are cut") {
    CHECK(support::in_child([] {
              detail::print_line("misuse: ", "why");
              return 0;
          }).messages == "dmasync: misuse: why\n");
    const std::string cut = support::in_child([] {
                                detail::print_line(long_text);
                                return 0;
                            }).messages;
    CHECK(cut.size() == PIPE_BUF);
    CHECK(cut.ends_with("xx\n"));
}

TEST_CASE("a pipe that is full and not read does not stop what prints") {
    const support::pipe p;
    const auto result = support::in_child([&] {
        const std::array<char, 4096> filling{};
        while (::write(p.write_end.get(), filling.data(), filling.size()) > 0) {}
        ::fcntl(p.write_end.get(), F_SETFL, 0); // blocks from here on
        return print_to(p.write_end.get());
    });
    CHECK(result.exit_code == 0);
}

TEST_CASE("a pipe or socket that has lost its reader does not end what prints") {
    support::pipe p;
    p.read_end.reset();
    CHECK(support::in_child([&] { return print_to(p.write_end.get()); }).exit_code == 0);
    std::array<int, 2> ends{};
    REQUIRE(::socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends.data()) == 0);
    const unique_fd mine{ends[0]};
    ::close(ends[1]);
    CHECK(support::in_child([&] { return print_to(mine.get()); }).exit_code == 0);
}

TEST_CASE("a signal that was pending before a line is printed still is after it") {
    support::pipe p;
    p.read_end.reset();
    const auto result = support::in_child([&] {
        sigset_t set{};
        ::sigaddset(&set, SIGPIPE);
        ::sigprocmask(SIG_BLOCK, &set, nullptr);
        ::raise(SIGPIPE);
        return print_to(p.write_end.get());
    });
    CHECK(result.exit_code == 1); // SIGPIPE is pending
}

TEST_CASE("a file gets the line, memory does not") {
    const unique_fd file{::open("/tmp", O_TMPFILE | O_RDWR | O_CLOEXEC, 0600)};
    if (file) {
        CHECK(support::in_child([&] { return print_to(file.get()); }).exit_code == 0);
        CHECK(contents(file.get()) == "dmasync: text\n");
    }
    const unique_fd memory{::memfd_create("frame", MFD_CLOEXEC)};
    CHECK(support::in_child([&] { return print_to(memory.get()); }).exit_code == 0);
    CHECK(contents(memory.get()).empty());
}

TEST_CASE("the report of a lease is a line of the standard error output") {
    const auto result = support::in_child([] {
        print_lease_report({});
        return 0;
    });
    CHECK(result.messages == "dmasync: " + to_string(lease_report{}) + "\n");
}

TEST_CASE("no object of the library has the number of a standard stream, though those are free") {
    CHECK(made_without_streams([] { return std::make_unique<epoll_loop>(); }) == 0);
    CHECK(made_without_streams([] { return std::make_unique<manual_loop>(); }) == 0);
#if !defined(DMASYNC_WITHOUT_URING)
    CHECK(made_without_streams([] {
              std::error_code refused;
              return uring_loop::create(refused);
          }) == 0);
#endif
    CHECK(made_without_streams([] {
              std::error_code ec;
              return detail::allocate_memory(4096, "frame", {.from = memory_kind::memfd}, ec);
          }) == 0);
    CHECK(made_without_streams([] {
              std::error_code ec;
              return detail::open_memory(unique_fd{::memfd_create("imported", MFD_CLOEXEC)}, {}, ec);
          }) == 0);
}

TEST_CASE("a loop watches a file twice without the number of a standard stream") {
    const support::pipe p;
    const auto result = support::in_child([&] {
        epoll_loop loop;
        ::close(STDIN_FILENO);
        ::close(STDOUT_FILENO);
        ::close(STDERR_FILENO);
        support::watch first{p.read_end.get(), POLLIN};
        support::watch second{p.read_end.get(), POLLIN};
        if (loop.watch(first) || loop.watch(second)) { return 2; }
        const bool closed = standard_streams_are_closed();
        loop.unwatch(first);
        loop.unwatch(second);
        return closed ? 0 : 1;
    });
    CHECK(result.exit_code == 0);
}
