// SPDX-License-Identifier: MIT
/// An uncontended lock and unlock, lease on, allocate nothing and do not call the kernel.
///
/// Allocations are counted by a replaced operator new. System calls are counted by the kernel: a seccomp filter turns
/// every one of them into a signal, in a child process, for it cannot be taken off again.
#include <dmasync/domain.hpp>
#include <dmasync/epoll_loop.hpp>
#include <dmasync/lock.hpp>
#include <dmasync/lock_set.hpp>
#include <dmasync/manual_loop.hpp>
#include <dmasync/task.hpp>
#include <dmasync/transaction.hpp>
#include <dmasync/uring_loop.hpp>

#include <doctest/doctest.h>
#include <support/every_loop.hpp>
#include <support/replaced_new.hpp>
#include <support/skip.hpp>

#include <array>
#include <atomic>
#include <cstddef>
#include <string>
#include <vector>

#include <linux/audit.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

namespace {
std::atomic<long> allocations{0};
} // namespace

void* support::allocate(std::size_t size, std::size_t alignment) noexcept {
    ++allocations;
    return allocate_from_heap(size, alignment);
}

using namespace dmasync;

namespace {

constexpr int rounds = 1000;

/// What is measured: sets of one and of four, by expression, by lock_set and one by one; waits for nothing.
/// Returns: how often it did not get what it asked for.
task<int> lock_and_unlock(domain& media, std::array<buffer, 4>& b, lock_set& set, int times) {
    int refused = 0;
    for (int i = 0; i < times; ++i) {
        auto one = co_await lock(write(b[0]));
        refused += one ? 0 : 1;
        one.unlock();
        auto four = co_await lock(read(b[0]), write(b[1]), dma_read(b[2]), dma_write(b[3]));
        refused += four ? 0 : 1;
        four.unlock();
        auto again = co_await set.lock();
        refused += again ? 0 : 1;
        again.unlock();
        transaction tx{media};
        std::error_code ec;
        for (const buffer& each : b) { co_await tx.lock(write(each), ec); }
        auto found = tx.done(ec);
        refused += found ? 0 : 1;
    }
    co_return refused;
}

template <class Measure>
task<long> measured(domain& media, Measure measure) {
    std::array<buffer, 4> b;
    for (buffer& each : b) { each = media.allocate(64, {}, {.from = memory_kind::memfd}); }
    lock_set set{media, "frame"};
    for (const buffer& each : b) { set.add(each, access_mode::write); }
    int refused = co_await lock_and_unlock(media, b, set, 1); // the first lock of all sets the lease timer
    task<int> many = lock_and_unlock(media, b, set, rounds);
    measure.begin();
    refused += co_await many;
    const long count = measure.end();
    co_return refused == 0 ? count : -1;
}

struct count_allocations {
    long before = 0;
    void begin() { before = allocations; }
    [[nodiscard]] long end() const { return allocations - before; }
};

std::atomic<long> system_calls{0};

void on_system_call(int, siginfo_t*, void*) { ++system_calls; }

/// From here on every system call of this process, but the return from the signal and the end, is a signal instead.
struct count_system_calls {
    static void begin() {
        struct sigaction action {};
        action.sa_sigaction = on_system_call;
        action.sa_flags = SA_SIGINFO;
        ::sigaction(SIGSYS, &action, nullptr);
        std::array<sock_filter, 5> program{{
            BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(seccomp_data, nr)),
            BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_rt_sigreturn, 2, 0),
            BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_exit_group, 1, 0),
            BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_TRAP),
            BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
        }};
        const sock_fprog filter{program.size(), program.data()};
        const bool on =
            ::prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) == 0 && ::prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &filter) == 0;
        if (!on) { ::_exit(cannot_filter); }
        static_cast<void>(::getppid()); // shows that the filter counts
    }
    static long end() { return system_calls; }

    static constexpr int cannot_filter = 77;
};

} // namespace

TEST_CASE_TEMPLATE("an uncontended lock and unlock with a lease allocate nothing", Loop, EVERY_LOOP_TYPE) {
    std::error_code ec;
    const auto loop = Loop::create(ec);
    if (!loop) {
        support::report_skip("this kernel refuses the loop: " + ec.message());
        return;
    }
    domain media{*loop};
    CHECK(loop->run(measured(media, count_allocations{})) == 0);
}

TEST_CASE_TEMPLATE("an uncontended lock and unlock with a lease do not call the kernel", Loop, EVERY_LOOP_TYPE) {
    const pid_t child = ::fork();
    if (child == 0) {
        std::error_code ec;
        const auto loop = Loop::create(ec);
        if (!loop) { ::_exit(count_system_calls::cannot_filter); }
        domain media{*loop};
        loop->run([](domain& d) -> task<> {
            const long calls = co_await measured(d, count_system_calls{});
            ::_exit(calls == 1 ? 0 : calls < 0 ? 2 : 1); // one: the call that shows that the filter counts
        }(media));
    }
    int status = 0;
    REQUIRE(::waitpid(child, &status, 0) == child);
    REQUIRE(WIFEXITED(status));
    if (WEXITSTATUS(status) == count_system_calls::cannot_filter) {
        support::report_skip("this kernel refuses the loop or the filter that counts system calls");
        return;
    }
    CHECK(WEXITSTATUS(status) == 0);
}

TEST_CASE("a set that is filled allocates as often as it doubles, not for each buffer") {
    constexpr std::size_t many = 4096;
    manual_loop loop;
    domain media{loop};
    std::vector<std::byte> memory(many);
    std::vector<buffer> buffers;
    for (std::byte& each : memory) { buffers.push_back(media.adopt({&each, 1})); }
    lock_set set{media};
    const long before = allocations;
    for (const buffer& each : buffers) { set.add(each, access_mode::read); }
    CHECK(allocations - before < 3 * 12); // three arrays; the set doubles twelve times
}
