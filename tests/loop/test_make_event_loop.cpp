// SPDX-License-Identifier: MIT
#include <dmasync/make_event_loop.hpp>

#include <doctest/doctest.h>
#include <support/callback.hpp>
#include <support/child.hpp>
#include <support/refuse_call.hpp>
#include <support/skip.hpp>

#include <cerrno>
#include <system_error>

#include <sys/syscall.h>

using namespace dmasync;

namespace {

/// Returns: 0 when the loop runs what is posted to it.
int try_out(event_loop& loop) {
    support::posted work{[&] { loop.stop(); }};
    loop.post(work);
    loop.run();
    return work.runs == 1 ? 0 : 1;
}

} // namespace

#if defined(DMASYNC_WITHOUT_URING)
TEST_CASE("without liburing one gets epoll, and is told why") {
    const made_event_loop made = make_event_loop();
    CHECK(made.kind == "epoll");
    CHECK(made.uring_refused == std::errc::not_supported);
    CHECK(try_out(*made.loop) == 0);
}
#else
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
    struct refusal {
        unsigned call;
        int error;
    };
    for (const refusal r : {refusal{SYS_io_uring_setup, EPERM}, refusal{SYS_io_uring_setup, ENOSYS},
                            refusal{SYS_io_uring_enter, EPERM}, refusal{SYS_io_uring_enter, ENOSYS}}) {
        const support::child_outcome result = support::in_child([r] {
            std::error_code before;
            if (!uring_loop::create(before)) { return 0; } // refused anyway
            if (!support::refuse_call(r.call, static_cast<unsigned>(r.error))) { return support::cannot_filter; }
            const made_event_loop made = make_event_loop();
            if (made.kind != "epoll") { return 2; }
            if (made.uring_refused != std::error_code{r.error, std::system_category()}) { return 3; }
            return try_out(*made.loop);
        });
        if (result.exit_code == support::cannot_filter) {
            support::report_skip("this kernel refuses the system call filter");
            return;
        }
        CHECK(result.exit_code == 0);
    }
}

TEST_CASE("a loop that gets no descriptor leaves an error instead") {
    const support::child_outcome result = support::in_child([] {
        if (!support::refuse_call(SYS_eventfd2, EMFILE)) { return support::cannot_filter; }
        std::error_code uring;
        std::error_code epoll;
        if (uring_loop::create(uring) || epoll_loop::create(epoll)) { return 2; }
        if (uring != std::errc::too_many_files_open || epoll != std::errc::too_many_files_open) { return 3; }
        const made_event_loop made = make_event_loop(epoll);
        return made.loop == nullptr && epoll == std::errc::too_many_files_open ? 0 : 4;
    });
    if (result.exit_code == support::cannot_filter) {
        support::report_skip("this kernel refuses the system call filter");
        return;
    }
    CHECK(result.exit_code == 0);
}

#endif

#if defined(__cpp_exceptions)
TEST_CASE("a constructor throws what the kernel says") {
    const support::child_outcome result = support::in_child([] {
        if (!support::refuse_call(SYS_eventfd2, EMFILE)) { return support::cannot_filter; }
        int thrown = 0;
        try {
            const epoll_loop loop;
        } catch (const std::system_error& e) { thrown += e.code() == std::errc::too_many_files_open ? 1 : 0; }
#if defined(DMASYNC_WITHOUT_URING)
        ++thrown; // there is one only
#else
        try {
            const uring_loop loop;
        } catch (const std::system_error& e) { thrown += e.code() == std::errc::too_many_files_open ? 1 : 0; }
#endif
        return thrown == 2 ? 0 : 1;
    });
    if (result.exit_code == support::cannot_filter) {
        support::report_skip("this kernel refuses the system call filter");
        return;
    }
    CHECK(result.exit_code == 0);
}
#endif
