// SPDX-License-Identifier: MIT
// Locks of dma-bufs: what they tell the kernel, and the turn of the loop that they are handed over in. The kernel is this
// file: every device has always finished, and every request succeeds.

#include "place.hpp"

#include <dmasync/detail/kernel/cpu_bracket.hpp>
#include <dmasync/detail/loop/detached.hpp>
#include <dmasync/lock.hpp>

#include <array>
#include <coroutine>
#include <cstdlib>
#include <stop_token>

#include <linux/dma-buf.h>
#include <poll.h>

namespace {

using namespace interleave;
using dmasync::access_mode;
using dmasync::detail::acquire_result;
using dmasync::detail::buffer_state;
using dmasync::detail::buffers;
using dmasync::detail::callbacks;
using dmasync::detail::cpu_bracket;
using dmasync::detail::domain_state;
using dmasync::detail::fence_waits;
using dmasync::detail::holds;
using dmasync::detail::request;

/// What the kernel is told in an execution.
struct told_kernel {
    canary* caches = nullptr;                     // written by START and END, if the program looks at that
    canary* started = nullptr;                    // read by END: it comes after its START
    dmasync::detail::atomic<int>* open = nullptr; // brackets, if it counts them
};
told_kernel kernel;

} // namespace

extern "C" int ioctl(int, unsigned long which, ...) noexcept {
    if (which != DMA_BUF_IOCTL_SYNC) { return 0; }
    __builtin_va_list arguments;
    __builtin_va_start(arguments, which);
    const auto* sync = __builtin_va_arg(arguments, const dma_buf_sync*);
    __builtin_va_end(arguments);
    if (kernel.caches != nullptr) { kernel.caches->write(); }
    const bool ends = (sync->flags & DMA_BUF_SYNC_END) != 0;
    if (kernel.started != nullptr && ends) { kernel.started->read(); }
    if (kernel.open != nullptr) { kernel.open->fetch_add(ends ? -1 : 1, std::memory_order_relaxed); }
    return 0;
}

extern "C" int poll(pollfd* polled, nfds_t n, int) {
    for (nfds_t i = 0; i < n; ++i) { polled[i].revents = polled[i].events; }
    return static_cast<int>(n);
}

namespace {

/// A domain whose one buffer is a dma-buf.
struct device_place {
    model_loop loop;
    domain_state* media;
    buffer_state* screen = nullptr;
    canary shared;

    explicit device_place(std::chrono::nanoseconds lease = dmasync::no_lease)
        : media{callbacks::make_domain(loop, {.lease = lease, .report = {}, .reserve = 3})} {
        dmasync::detail::memory_object memory;
        memory.kind = dmasync::memory_kind::dma_buf;
        memory.size = 8;
        dmasync::errc clash{};
        screen = buffers::add(*media, std::move(memory), "screen", clash);
        kernel = {};
        const dmasync::detail::lock_section s{*media};
        dmasync::detail::clock::set_alarm(s, media->home); // as in make_known
    }
    device_place(const device_place&) = delete;
    device_place& operator=(const device_place&) = delete;
    ~device_place() {
        kernel = {};
        buffers::drop_handle(*screen);
        buffers::close_all(*media);
    }
};

/// A lock of that buffer.
class device_lock : public dmasync::lock_operation {
public:
    device_lock(device_place& p, access_mode mode, const lock_options& o, std::error_code& ec)
        : lock_operation{p.media, set_, options_, dmasync::detail::unidentified, &ec, {}},
          set_{request{p.screen, mode}},
          options_{o} {}

    [[nodiscard]] guard block_and_take() {
        block();
        return take();
    }
    [[nodiscard]] guard try_and_take() {
        try_only();
        return take_tried();
    }
    [[nodiscard]] bool await_ready() const noexcept { return false; }
    [[nodiscard]] bool await_suspend(std::coroutine_handle<> h) noexcept { return begin(h); }
    [[nodiscard]] guard await_resume() { return take(); }

private:
    std::array<request, 1> set_;
    lock_options options_;
};

guard hold(device_place& p, const lock_options& options = {}) {
    std::error_code ec;
    return device_lock{p, access_mode::write, options, ec}.try_and_take();
}

/// Two readers enter at once: the one that finds the bracket open comes after the kernel was told.
void readers_enter() {
    cpu_bracket bracket;
    canary caches;
    kernel = {.caches = &caches};
    const auto read = [&] {
        check(!bracket.enter(-1, access_mode::read), "the kernel agrees");
        caches.read();
    };
    run_threads({read, read});
    check(caches.read() == 1, "it is told once");
    kernel = {};
}

/// A device and the CPU read at once, after the CPU has written: the bracket of that is closed before the device begins.
void reader_and_device_enter() {
    cpu_bracket bracket;
    canary caches;
    check(!bracket.enter(-1, access_mode::write), "the kernel agrees");
    kernel = {.caches = &caches};
    run_threads({
        [&] {
            check(!bracket.enter(-1, access_mode::dma_read), "the kernel agrees");
            caches.read();
        },
        [&] {
            check(!bracket.enter(-1, access_mode::dma_read), "the kernel agrees");
            caches.read();
        },
    });
    check(caches.read() == 1, "it is told once");
    kernel = {};
}

/// A bracket of an expired hold is closed by a reader that enters just now: not before it was opened.
void inherited() {
    cpu_bracket bracket;
    canary started;
    kernel = {.started = &started};
    run_threads({
        [&] {
            started.write();
            bracket.inherit(access_mode::read);
        },
        [&] { check(!bracket.enter(-1, access_mode::read), "the kernel agrees"); },
    });
    kernel = {};
}

/// A hold with brackets of its own ends while its lease runs out: each START has its END, by the holder or the next device.
void own_brackets_or_expiry() {
    device_place p{10ms};
    dmasync::detail::atomic<int> open{0};
    kernel.open = &open;
    guard held = hold(p, {.cpu_access = dmasync::cpu_access::always});
    check(static_cast<bool>(held) && open.load(std::memory_order_relaxed) == 1, "there is a bracket");
    p.loop.set(p.loop.now() + 1s);
    run_threads({
        [&] {
            const std::error_code ec = held.unlock();
            check(!ec || ec == errc::lease_expired, "nothing else can happen");
        },
        [&] {
            std::error_code ec;
            const guard next = device_lock{p, access_mode::dma_write, {}, ec}.try_and_take();
        },
    });
    {
        std::error_code ec;
        const guard last = device_lock{p, access_mode::dma_write, {}, ec}.try_and_take();
        check(static_cast<bool>(last), "it can be had");
    }
    check(open.load(std::memory_order_relaxed) == 0, "no bracket is left open, and none is closed twice");
}

/// A thread that is told that a fence comes too late comes after what was done before the lease ended.
void expiry_seen() {
    device_place p{10ms};
    const std::array<request, 1> set{request{p.screen, access_mode::write}};
    dmasync::detail::acquire_request asked{set, dmasync::detail::no_lock_options, dmasync::detail::id_of_no_options};
    const acquire_result result = dmasync::detail::acquire::ask(*p.media, asked);
    dmasync::detail::claim* held = asked.mine;
    check(result == acquire_result::fenced && !fence_waits::enter(*held), "a free buffer can be had");
    p.loop.set(p.loop.now() + 1s);
    canary before;
    run_threads({
        [&] {
            if (holds::publish(*held, p.screen, dmasync::fence{}) == errc::lease_expired) { before.read(); }
        },
        [&] {
            before.write();
            std::error_code ec;
            const guard next = device_lock{p, access_mode::write, {}, ec}.try_and_take();
        },
    });
    holds::unlock(*held);
}

/// A blocked thread takes what it is granted through the gate itself.
void to_blocked_thread() {
    device_place p;
    guard held = hold(p);
    run_threads({
        [&] {
            p.shared.write();
            held.unlock();
        },
        [&] {
            std::error_code ec;
            const guard got = device_lock{p, access_mode::write, {}, ec}.block_and_take();
            check(!ec, "the lock is granted");
            p.shared.write();
        },
    });
}

dmasync::detail::detached lock_or_not(device_place& p, const lock_options& options, std::error_code& ec, bool& done) {
    device_lock lock{p, access_mode::write, options, ec};
    const guard held = co_await lock;
    if (!ec) { p.shared.write(); }
    done = true;
}

void run_until(device_place& p, const bool& done) {
    while (!done) {
        p.loop.sleep_as_host();
        p.loop.poll();
    }
}

/// A coroutine is granted a dma-buf, and handed it in its loop's turn, unless a stop request comes first.
void cancel_or_gate() {
    device_place p;
    guard held = hold(p);
    std::stop_source source;
    const std::stop_token token = source.get_token();
    std::error_code ec;
    run_threads({
        [&] {
            bool done = false;
            lock_or_not(p, {.stop = token}, ec, done);
            run_until(p, done);
        },
        [&] {
            p.shared.write();
            held.unlock();
        },
        [&] { source.request_stop(); },
    });
    check(ec ? ec == errc::cancelled && p.shared.read() == 1 : p.shared.read() == 2, "one outcome");
    check(static_cast<bool>(hold(p)), "it is not kept");
}

/// A coroutine that can be destroyed while it waits.
struct abandoned {
    struct promise_type {
        abandoned get_return_object() { return abandoned{std::coroutine_handle<promise_type>::from_promise(*this)}; }
        std::suspend_never initial_suspend() const noexcept { return {}; }
        std::suspend_always final_suspend() const noexcept { return {}; }
        void return_void() const noexcept {}
        void unhandled_exception() const noexcept { std::abort(); }
    };
    explicit abandoned(std::coroutine_handle<promise_type> h) : coroutine{h} {}
    std::coroutine_handle<promise_type> coroutine;
};

abandoned wait_to_be_destroyed(device_place& p, const lock_options& options, std::error_code& ec) {
    device_lock lock{p, access_mode::write, options, ec};
    const guard held = co_await lock;
}

/// A coroutine is destroyed, on its loop's thread, while another thread grants what it waits for, or cancels it.
void destroy_or_gate() {
    device_place p;
    guard held = hold(p);
    std::stop_source source;
    const std::stop_token token = source.get_token();
    std::error_code ec;
    const abandoned a = wait_to_be_destroyed(p, {.stop = token}, ec);
    run_threads({
        [&] {
            a.coroutine.destroy();
            p.loop.run_ready();
        },
        [&] { held.unlock(); },
        [&] { source.request_stop(); },
    });
    p.loop.run_ready();
    check(static_cast<bool>(hold(p)), "it is not kept");
}

/// Lets the loop run everything else that is ready.
struct next_turn : dmasync::work {
    explicit next_turn(model_loop& l) noexcept : work{take}, loop{l} {}
    static void take(work& w, dmasync::disposition d) noexcept {
        if (d == dmasync::disposition::run) { static_cast<next_turn&>(w).waiter.resume(); }
    }
    [[nodiscard]] bool await_ready() const noexcept { return false; }
    void await_suspend(std::coroutine_handle<> h) noexcept {
        waiter = h;
        loop.post(*this);
    }
    void await_resume() const noexcept {}
    model_loop& loop;
    std::coroutine_handle<> waiter;
};

dmasync::detail::detached lock_and_linger(device_place& p, const lock_options& options, std::error_code& ec,
                                          bool& done) {
    {
        device_lock lock{p, access_mode::write, options, ec};
        const guard held = co_await lock;
        check(static_cast<bool>(held) == !ec, "there is a hold or an error");
        next_turn turn{p.loop};
        co_await turn; // while the lock still has its claim
    }
    done = true;
}

/// The time for the fences runs out before the loop's turn, and another thread finds out.
void late_or_gate() {
    device_place p;
    guard held = hold(p);
    std::error_code ec;
    const auto deadline = p.loop.now() + 1s;
    bool done = false;
    lock_and_linger(p, {.deadline = deadline}, ec, done);
    run_threads({
        [&] { run_until(p, done); },
        [&] {
            held.unlock();
            p.loop.set(deadline);
            std::error_code none;
            const guard next = device_lock{p, access_mode::read, {}, none}.try_and_take();
        },
    });
    check(!ec || ec == errc::timed_out || ec == errc::fence_timed_out, "one outcome");
    check(static_cast<bool>(hold(p)), "it is not kept");
}

const registration programs{
    {"device", "device.readers_enter", readers_enter},
    {"device", "device.reader_and_device_enter", reader_and_device_enter},
    {"device", "device.inherited", inherited},
    {"device", "device.own_brackets_or_expiry", own_brackets_or_expiry},
    {"device", "device.expiry_seen", expiry_seen},
    {"device", "device.to_blocked_thread", to_blocked_thread},
    {"device", "device.cancel_or_gate", cancel_or_gate},
    {"device", "device.destroy_or_gate", destroy_or_gate},
    {"device", "device.late_or_gate", late_or_gate, few_preemptions},
    {"device", "device.late_or_gate", late_or_gate, by_chance},
};

} // namespace
