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
#include <sys/syscall.h>

using namespace dmasync;

namespace {

constexpr int cannot_filter = 77;

/// From here on a system call answers `error`, as the filter of a container would have it.
bool refuse(unsigned call, unsigned error) {
    std::array<sock_filter, 4> program{{
        BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(seccomp_data, nr)),
        BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, call, 0, 1),
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
            if (!refuse(SYS_io_uring_setup, static_cast<unsigned>(error))) { return cannot_filter; }
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

TEST_CASE("a loop that gets no descriptor leaves an error instead") {
    const support::child_outcome result = support::in_child([] {
        if (!refuse(SYS_eventfd2, EMFILE)) { return cannot_filter; }
        std::error_code uring;
        std::error_code epoll;
        if (uring_loop::create(uring) || epoll_loop::create(epoll)) { return 2; }
        if (uring != std::errc::too_many_files_open || epoll != std::errc::too_many_files_open) { return 3; }
        const made_event_loop made = make_event_loop(epoll);
        return made.loop == nullptr && epoll == std::errc::too_many_files_open ? 0 : 4;
    });
    if (result.exit_code == cannot_filter) {
        support::report_skip("this kernel refuses the system call filter");
        return;
    }
    CHECK(result.exit_code == 0);
}

#if defined(__cpp_exceptions)
TEST_CASE("a constructor throws what the kernel says") {
    const support::child_outcome result = support::in_child([] {
        if (!refuse(SYS_eventfd2, EMFILE)) { return cannot_filter; }
        int thrown = 0;
        try {
            const uring_loop loop;
        } catch (const std::system_error& e) { thrown += e.code() == std::errc::too_many_files_open ? 1 : 0; }
        try {
            const epoll_loop loop;
        } catch (const std::system_error& e) { thrown += e.code() == std::errc::too_many_files_open ? 1 : 0; }
        return thrown == 2 ? 0 : 1;
    });
    if (result.exit_code == cannot_filter) {
        support::report_skip("this kernel refuses the system call filter");
        return;
    }
    CHECK(result.exit_code == 0);
}
#endif
