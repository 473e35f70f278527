// SPDX-License-Identifier: MIT
// What a lock of uncontended dma-bufs asks of the kernel, counted by the kernel: a child is traced, and every
// system call between two marks is written down. tests/alloc_lock.cpp does the same for memory that needs none.
//
// A lock asks once for its whole set whether a device is still at work (poll), and tells of the CPU's use (START, END) only
// when it changes hands. So what follows its own kind costs the one poll; a device that writes and the CPU that looks at it
// cost four calls a round: the device's lock ends the CPU's bracket, the CPU's lock begins a new one, and each has polled.
#include <dmasync/domain.hpp>
#include <dmasync/epoll_loop.hpp>
#include <dmasync/lock.hpp>
#include <dmasync/lock_set.hpp>
#include <dmasync/task.hpp>
#include <dmasync/uring_loop.hpp>

#include <doctest/doctest.h>
#include <support/every_loop.hpp>

#include <array>
#include <cerrno>
#include <csignal>
#include <cstddef>
#include <cstdint>
#include <string>

#include <linux/dma-buf.h>
#include <sys/ptrace.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

using namespace dmasync;

namespace {

/// A system call that does nothing, made where counting begins and ends.
constexpr pid_t no_process = 0x7eadbeef;
void end_mark() { static_cast<void>(::getpgid(no_process)); }
void begin_mark() {
    ::raise(SIGTRAP); // has every system call stop the child: that is slow
    static_cast<void>(::getpgid(no_process));
}

/// A system call as a word: DMA_BUF_IOCTL_SYNC as in support::fake_dma_buf::log.
std::string name_of(pid_t child, std::uint64_t number, const __ptrace_syscall_info& info) {
    if (number == SYS_poll || number == SYS_ppoll) { return "poll"; }
    if (number != SYS_ioctl || info.entry.args[1] != DMA_BUF_IOCTL_SYNC) { return "call " + std::to_string(number); }
    errno = 0;
    const long flags = ::ptrace(PTRACE_PEEKDATA, child, reinterpret_cast<void*>(info.entry.args[2]), nullptr);
    const std::string side = (flags & DMA_BUF_SYNC_END) != 0 ? "END" : "START";
    return side + ((flags & DMA_BUF_SYNC_WRITE) != 0 ? "(RW)" : "(R)");
}

/// What a child has been stopped for: a mark, or a system call by its name; empty when it returns from one.
struct stop {
    bool is_mark = false;
    std::string call;
};

stop look_at(pid_t child) {
    __ptrace_syscall_info info{};
    ::ptrace(PTRACE_GET_SYSCALL_INFO, child, reinterpret_cast<void*>(sizeof info), &info);
    if (info.op != PTRACE_SYSCALL_INFO_ENTRY) { return {}; }
    if (info.entry.nr == SYS_getpgid && info.entry.args[0] == no_process) { return {.is_mark = true, .call = {}}; }
    return {.is_mark = false, .call = name_of(child, info.entry.nr, info)};
}

/// Writes down what a child calls between its marks. Returns: the calls, or what went wrong.
std::string follow(pid_t child) {
    constexpr int system_call = SIGTRAP | 0x80;
    std::string calls;
    int marks = 0;
    int status = 0;
    auto go_on = PTRACE_CONT;
    while (::waitpid(child, &status, 0) == child && WIFSTOPPED(status)) {
        int signal = 0;
        if (WSTOPSIG(status) == system_call) {
            const stop s = look_at(child);
            marks += s.is_mark ? 1 : 0;
            if (marks == 1 && !s.call.empty()) { calls += (calls.empty() ? "" : " ") + s.call; }
            go_on = marks < 2 ? PTRACE_SYSCALL : PTRACE_CONT;
        } else if (WSTOPSIG(status) == SIGSTOP) {
            ::ptrace(PTRACE_SETOPTIONS, child, nullptr, PTRACE_O_TRACESYSGOOD | PTRACE_O_EXITKILL);
        } else if (WSTOPSIG(status) == SIGTRAP) {
            go_on = PTRACE_SYSCALL;
        } else {
            signal = WSTOPSIG(status);
        }
        ::ptrace(go_on, child, nullptr, reinterpret_cast<void*>(std::intptr_t{signal}));
    }
    const bool good = WIFEXITED(status) && WEXITSTATUS(status) == 0 && marks == 2;
    return good ? calls : "status " + std::to_string(status) + " after " + std::to_string(marks) + " marks";
}

/// The system calls that `body`, in a child, makes between its two marks. It returns whether it went well.
template <class Body>
std::string trace(Body body) {
    const pid_t child = ::fork();
    if (child == 0) {
        std::signal(SIGABRT, SIG_DFL); // doctest would report it
        ::ptrace(PTRACE_TRACEME, 0, nullptr, nullptr);
        ::raise(SIGSTOP);
        ::_exit(body() ? 0 : 1);
    }
    return follow(child);
}

constexpr std::size_t most_buffers = 17;
using buffers = std::array<buffer, most_buffers>;

template <class Loop>
struct studio {
    explicit studio(memory_kind kind) {
        for (buffer& b : all) { b = media.allocate(4096, {}, {.from = kind}); }
    }

    Loop loop;
    domain media{loop, {.report = {}}};
    buffers all;
};

/// Does the same again and again, and marks the last time, when everything is as it is going to be.
template <class Step>
task<> settle_and_mark(Step step, buffers& b) {
    for (int i = 0; i < 3; ++i) { co_await step(b); }
    begin_mark();
    co_await step(b);
    end_mark();
}

/// The system calls of `step(buffers&)`, a coroutine that locks and unlocks, once it has settled.
template <class Loop, class Step>
std::string calls_of(Step step, memory_kind kind = memory_kind::udmabuf) {
    return trace([&] {
        studio<Loop> s{kind};
        s.loop.run(settle_and_mark(step, s.all));
        return s.media.counters().granted_at_once > 0 && s.media.counters().granted_after_wait == 0;
    });
}

} // namespace

TEST_CASE_TEMPLATE("a reader after a reader costs one poll", Loop, EVERY_LOOP_TYPE) {
    const auto step = [](buffers& b) -> task<> { auto held = co_await lock(read(b[0])); };
    CHECK(calls_of<Loop>(step) == "poll");
}

TEST_CASE_TEMPLATE("a lock of a memfd does not call the kernel", Loop, EVERY_LOOP_TYPE) {
    const auto step = [](buffers& b) -> task<> { auto held = co_await lock(read(b[0]), write(b[1])); };
    CHECK(calls_of<Loop>(step, memory_kind::memfd).empty());
}

TEST_CASE_TEMPLATE("a caller that ignores fences does not call the kernel", Loop, EVERY_LOOP_TYPE) {
    const auto step = [](buffers& b) -> task<> {
        auto held = co_await lock(read(b[0]), write(b[1]), lock_options{.fences = fences::ignore});
    };
    CHECK(calls_of<Loop>(step).empty());
}

TEST_CASE_TEMPLATE("a reader that always brackets costs three calls", Loop, EVERY_LOOP_TYPE) {
    const auto step = [](buffers& b) -> task<> {
        auto held = co_await lock(read(b[0]), lock_options{.cpu_access = cpu_access::always});
    };
    CHECK(calls_of<Loop>(step) == "poll START(R) END(R)");
}

TEST_CASE_TEMPLATE("a device that writes and a CPU that reads in turns cost four calls", Loop, EVERY_LOOP_TYPE) {
    const auto step = [](buffers& b) -> task<> {
        auto device = co_await lock(dma_write(b[0]));
        device.unlock();
        auto cpu = co_await lock(read(b[0]));
    };
    CHECK(calls_of<Loop>(step) == "poll END(R) poll START(R)");
}

TEST_CASE_TEMPLATE("a CPU that writes and a device that reads in turns cost four calls", Loop, EVERY_LOOP_TYPE) {
    const auto step = [](buffers& b) -> task<> {
        auto cpu = co_await lock(write(b[0]));
        cpu.unlock();
        auto device = co_await lock(dma_read(b[0]));
    };
    CHECK(calls_of<Loop>(step) == "poll START(RW) poll END(RW)");
}

TEST_CASE_TEMPLATE("a CPU and a device that both read cost a poll each: nothing changes hands", Loop, EVERY_LOOP_TYPE) {
    const auto step = [](buffers& b) -> task<> {
        auto cpu = co_await lock(read(b[0]));
        cpu.unlock();
        auto device = co_await lock(dma_read(b[0]));
    };
    CHECK(calls_of<Loop>(step) == "poll poll");
}

TEST_CASE_TEMPLATE("readers and writers by the CPU cost a poll each", Loop, EVERY_LOOP_TYPE) {
    const auto step = [](buffers& b) -> task<> {
        auto writer = co_await lock(write(b[0]));
        writer.unlock();
        auto reader = co_await lock(read(b[0]));
    };
    CHECK(calls_of<Loop>(step) == "poll poll");
}

TEST_CASE_TEMPLATE("devices among themselves cost a poll each", Loop, EVERY_LOOP_TYPE) {
    const auto step = [](buffers& b) -> task<> {
        auto writer = co_await lock(dma_write(b[0]));
        writer.unlock();
        auto reader = co_await lock(dma_read(b[0]));
    };
    CHECK(calls_of<Loop>(step) == "poll poll");
}

TEST_CASE_TEMPLATE("a set costs one poll, whatever accesses and however many buffers up to 16", Loop, EVERY_LOOP_TYPE) {
    const auto four = [](buffers& b) -> task<> {
        auto held = co_await lock(read(b[0]), write(b[1]), dma_read(b[2]), dma_write(b[3]));
    };
    CHECK(calls_of<Loop>(four) == "poll");
    const auto sixteen = [](buffers& b) -> task<> {
        auto held = co_await lock(read(b[0]), read(b[1]), read(b[2]), read(b[3]), read(b[4]), read(b[5]), read(b[6]),
                                  read(b[7]), read(b[8]), read(b[9]), read(b[10]), read(b[11]), read(b[12]),
                                  read(b[13]), read(b[14]), read(b[15]));
    };
    CHECK(calls_of<Loop>(sixteen) == "poll");
}

TEST_CASE_TEMPLATE("a set of 17 costs two polls", Loop, EVERY_LOOP_TYPE) {
    const auto step = [](buffers& b) -> task<> {
        auto held = co_await lock(read(b[0]), read(b[1]), read(b[2]), read(b[3]), read(b[4]), read(b[5]), read(b[6]),
                                  read(b[7]), read(b[8]), read(b[9]), read(b[10]), read(b[11]), read(b[12]),
                                  read(b[13]), read(b[14]), read(b[15]), read(b[16]));
    };
    CHECK(calls_of<Loop>(step) == "poll poll");
}

TEST_CASE_TEMPLATE("a set that always brackets costs a poll, and a pair of calls for each buffer", Loop,
                   EVERY_LOOP_TYPE) {
    const auto step = [](buffers& b) -> task<> {
        auto held = co_await lock(read(b[0]), write(b[1]), lock_options{.cpu_access = cpu_access::always});
    };
    CHECK(calls_of<Loop>(step) == "poll START(R) START(RW) END(R) END(RW)");
}

TEST_CASE_TEMPLATE("whatever way a lock is asked for costs the same", Loop, EVERY_LOOP_TYPE) {
    const auto tried = [](buffers& b) -> task<> {
        const auto held = try_lock(read(b[0]));
        co_return;
    };
    CHECK(calls_of<Loop>(tried) == "poll");
    const auto blocking = [](buffers& b) -> task<> {
        const auto held = blocking_lock(read(b[0]));
        co_return;
    };
    CHECK(calls_of<Loop>(blocking) == "poll");
}

TEST_CASE_TEMPLATE("a lock_set costs one poll", Loop, EVERY_LOOP_TYPE) {
    const std::string calls = trace([] {
        studio<Loop> s{memory_kind::udmabuf};
        lock_set set{s.media, "frame"};
        set.add(s.all[0], access_mode::read);
        set.add(s.all[1], access_mode::write);
        static_cast<void>(set.try_lock());
        begin_mark();
        const bool locked = static_cast<bool>(set.try_lock());
        end_mark();
        return locked;
    });
    CHECK(calls == "poll");
}

TEST_CASE_TEMPLATE("a dma-buf of a heap costs what one of udmabuf does", Loop, EVERY_LOOP_TYPE) {
    const auto step = [](buffers& b) -> task<> { auto held = co_await lock(read(b[0])); };
    CHECK(calls_of<Loop>(step, memory_kind::dma_heap) == "poll");
}
