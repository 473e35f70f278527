// SPDX-License-Identifier: MIT
#include <dmasync/make_event_loop.hpp>

#include <doctest/doctest.h>
#include <support/callback.hpp>
#include <support/child.hpp>
#include <support/skip.hpp>

#include <array>
#include <cerrno>
#include <cstddef>
#include <system_error>

#include <linux/filter.h>
#include <linux/seccomp.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/syscall.h>

using namespace dmasync;

namespace {

constexpr int cannot_filter = 77;

/// From here on io_uring_setup answers `error`, as the system call filter of a container would have it.
bool refuse_uring(unsigned error) {
    std::array<sock_filter, 4> program{{
        BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(seccomp_data, nr)),
        BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_io_uring_setup, 0, 1),
        BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ERRNO | error),
        BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
    }};
    const sock_fprog filter{program.size(), program.data()};
    return ::prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) == 0 && ::prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &filter) == 0;
}

/// Returns: 0 when the loop runs what is posted to it.
int try_out(event_loop& loop) {
    support::posted work{[&] { loop.stop(); }};
    loop.post(work);
    loop.run();
    return work.runs == 1 ? 0 : 1;
}

} // namespace

TEST_CASE("where io_uring is allowed, it is what one gets") {
    std::error_code ec;
    if (!uring_loop::create(ec)) {
        support::report_skip("this kernel refuses io_uring: " + ec.message());
        return;
    }
    const made_event_loop made = make_event_loop();
    CHECK(made.kind == "io_uring");
    CHECK_FALSE(made.uring_refused);
    CHECK(try_out(*made.loop) == 0);
}

TEST_CASE("where io_uring is refused, one gets epoll, and is told why") {
    for (const int error : {EPERM, ENOSYS}) {
        const support::child_outcome result = support::in_child([error] {
            if (!refuse_uring(static_cast<unsigned>(error))) { return cannot_filter; }
            const made_event_loop made = make_event_loop();
            if (made.kind != "epoll") { return 2; }
            if (made.uring_refused != std::error_code{error, std::system_category()}) { return 3; }
            return try_out(*made.loop);
        });
        if (result.exit_code == cannot_filter) {
            support::report_skip("this kernel refuses the system call filter");
            return;
        }
        CHECK(result.exit_code == 0);
    }
}

TEST_CASE("a loop that is refused leaves an error instead") {
    for (const bool with_uring : {true, false}) {
        const support::child_outcome result = support::in_child([with_uring] {
            const rlimit no_more{0, 0};
            if (::setrlimit(RLIMIT_NOFILE, &no_more) != 0) { return cannot_filter; }
            std::error_code ec;
            const bool made = with_uring ? uring_loop::create(ec) != nullptr : epoll_loop::create(ec) != nullptr;
            if (made) { return 2; }
            return ec == std::errc::too_many_files_open ? 0 : 3;
        });
        CHECK(result.exit_code == 0);
    }
}

TEST_CASE("where no loop can be had, the error is that of epoll") {
    const support::child_outcome result = support::in_child([] {
        const rlimit no_more{0, 0};
        if (::setrlimit(RLIMIT_NOFILE, &no_more) != 0) { return cannot_filter; }
        std::error_code ec;
        const made_event_loop made = make_event_loop(ec);
        return made.loop == nullptr && ec == std::errc::too_many_files_open ? 0 : 2;
    });
    CHECK(result.exit_code == 0);
}

#if defined(__cpp_exceptions)
TEST_CASE("a constructor throws what the kernel says") {
    const support::child_outcome result = support::in_child([] {
        const rlimit no_more{0, 0};
        ::setrlimit(RLIMIT_NOFILE, &no_more);
        int thrown = 0;
        try {
            const uring_loop loop;
        } catch (const std::system_error& e) { thrown += e.code() == std::errc::too_many_files_open ? 1 : 0; }
        try {
            const epoll_loop loop;
        } catch (const std::system_error& e) { thrown += e.code() == std::errc::too_many_files_open ? 1 : 0; }
        return thrown == 2 ? 0 : 1;
    });
    CHECK(result.exit_code == 0);
}
#endif
