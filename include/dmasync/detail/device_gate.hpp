// SPDX-License-Identifier: MIT
#pragma once
/// \file device_gate.hpp  What lies between the grant of a dma-buf and its use: fences of devices, and CPU brackets.

#include <dmasync/detail/device_loan.hpp>
#include <dmasync/detail/wake_fd.hpp>
#include <dmasync/dma_buf.hpp>
#include <dmasync/event_loop.hpp>
#include <dmasync/fence.hpp>

#include <algorithm>
#include <array>
#include <cerrno>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <mutex>
#include <optional>
#include <stop_token>
#include <system_error>
#include <utility>

#include <poll.h>
#include <sys/epoll.h>

namespace dmasync::detail {

/// Takes a granted set with dma-bufs through the gate:
///
///   granted --(no fence pending)--> entering --(brackets done)--> held      in place: no suspension, one poll(2)
///   granted --> fenced --(each fence has ended)--> entering --> held        on the claim's loop
///
/// While it is fenced it can be given up like a waiting one; while it is entering a thread is in the kernel on its
/// behalf, and nobody takes it away.
///
/// One poll(2) tells for the whole set whether anything is pending. What is pending is exported and merged to one
/// sync_file, which is watched: it waits for all, where the kernel's poll of a dma-buf through io_uring stops at the
/// first, and it tells of any that failed, where the kernel forgets a fence of a buffer as soon as it has ended. When it
/// has ended the set is asked again: the kernel would wait for what has come meanwhile, at START, and without a limit.
class device_gate : public device_loan {
public:
    /// Takes a claim that has just been granted through the gate, if nothing has to be waited for.
    /// Returns: `would_block` when a fence is pending; the claim is as it was then. Any other failure has ended the hold.
    [[nodiscard]] failure enter(claim& c) noexcept {
        if (c.wait_for_fences == fences::wait && !is_idle(c)) { return errc::would_block; }
        bracket_count told;
        const failure f = tell_kernel_of_grant(c, told);
        return settle_at_gate(c, f, told, counters_.granted_at_once);
    }

    /// A coroutine waits for the fences of a claim that did not get through.
    /// Returns: whether it waits; its waiter is then told once, and may have been by now. Otherwise it has failed.
    [[nodiscard]] bool wait_for_fences(claim& c) noexcept {
        {
            step s{*this};
            failure why = c.why; // given up before it could wait
            if (!why && is_wounded(c)) { why = errc::wounded; }
            if (!why && owned_ && c.deadline <= loop_.now()) { why = errc::timed_out; }
            if (why) {
                refuse(c, why, s);
                return false;
            }
            begin_fence_wait(c, coarse_now());
            c.posted = true;
        }
        c.loop->post(c);
        return true;
    }

    /// A thread waits for the fences of its claim, and takes it through the gate.
    void block_on_fences(claim& c, const std::stop_token* stop) noexcept {
        begin_trace_of_fences(c);
        failure f = wait_on_thread(c, stop);
        bracket_count told;
        if (!f) { f = tell_kernel_of_grant(c, told); }
        settle_at_gate(c, f, told, counters_.granted_after_wait);
    }

    /// A turn of the claim's loop for a claim that is fenced, or was until it was given up.
    /// Returns: whether its waiter is to be resumed.
    [[nodiscard]] bool pass_fences(claim& c) noexcept {
        bool fenced = false;
        { // as one: whoever gives it up before has left it to this turn, whoever does after has it posted again
            const std::lock_guard guard{lock_};
            c.posted = false;
            fenced = is_fenced(c);
        }
        if (!fenced) {
            stop_watching(c);
            return true;
        }
        return go_on(c);
    }

protected:
    using device_loan::device_loan;

    /// What the grant of one set came to.
    struct bracket_count {
        std::uint64_t told = 0;
        std::uint64_t naive = 0;
    };

    /// What a fenced claim waits for has ended. Returns: whether its waiter is to be resumed.
    [[nodiscard]] bool go_on_after_fence(claim& c, std::error_code result) noexcept {
        return is_fenced(c) && (result ? fail(c, errc::fence_failed) : go_on(c)); // else its turn is to come
    }

    /// Whether the hold tells the kernel by itself of what the CPU does with this buffer. Threads: the claim's owner.
    [[nodiscard]] static bool wants_own_bracket(const claim& c, const entry& e) noexcept {
        return c.brackets == cpu_access::always && c.has_dma_buf && !is_dma(e.mode) && state_of(e).is_dma_buf();
    }

    [[nodiscard]] static std::error_code open_own_bracket(entry& e) noexcept {
        const std::error_code ec = cpu_bracket::enter_always(state_of(e).memory.fd.get(), e.mode);
        e.own_bracket = !ec;
        return ec;
    }

    /// What the kernel refuses to end is left to the next device.
    static std::error_code close_own_bracket(entry& e) noexcept {
        const std::error_code ec = cpu_bracket::leave_always(state_of(e).memory.fd.get(), e.mode);
        if (ec) { state_of(e).bracket.inherit(e.mode); }
        e.own_bracket = false;
        return ec;
    }

    /// Ends the brackets that a hold has opened for itself, all or that of one entry. Time stands still for it meanwhile:
    /// it is put back into the book by whoever calls, or ended.
    [[nodiscard]] failure close_own_brackets(claim& c, const entry* only = nullptr) noexcept {
        if (!c.has_dma_buf || c.brackets != cpu_access::always) { return {}; }
        {
            const step s{*this};
            if (!is_in_use(c)) { return errc::lease_expired; }
            leave_book(c);
            c.state.store(phase::entering, std::memory_order_relaxed);
            for (const entry& e : c.set()) {
                counters_.brackets_told += e.own_bracket && (only == nullptr || only == &e) ? 1U : 0U;
            }
        }
        failure f;
        for (entry& e : c.set()) {
            if (!e.own_bracket || (only != nullptr && only != &e)) { continue; }
            const std::error_code ec = close_own_bracket(e);
            if (ec && !f) { f = failure::from(ec); }
        }
        return f;
    }

private:
    /// Whether the claim is a part of a transaction that is to give back what it has. Under the lock.
    [[nodiscard]] static bool is_wounded(const claim& c) noexcept { return c.owner != nullptr && c.owner->wounded; }

    [[nodiscard]] static bool is_fenced(const claim& c) noexcept {
        return c.state.load(std::memory_order_relaxed) == phase::fenced;
    }

    /// Whether no fence is pending that the claim would have to wait for.
    [[nodiscard]] static bool is_idle(const claim& c) noexcept {
        std::array<pollfd, 16> polled; // NOLINT(cppcoreguidelines-pro-type-member-init): filled as far as it is used
        std::size_t n = 0;
        for (const entry& e : c.set()) {
            if (!state_of(e).is_dma_buf()) { continue; }
            const auto wanted = static_cast<short>(is_write(e.mode) ? POLLOUT : POLLIN);
            polled[n++] = {state_of(e).memory.fd.get(), wanted, 0};
            if (n == polled.size()) {
                if (!all_ready(polled.data(), n)) { return false; }
                n = 0;
            }
        }
        return all_ready(polled.data(), n);
    }

    [[nodiscard]] static bool all_ready(pollfd* polled, std::size_t n) noexcept {
        return n == 0 || ::poll(polled, n, 0) == static_cast<int>(n);
    }

    /// Waits for what is pending, or takes the claim through the gate.
    /// Returns: whether its waiter is to be resumed.
    [[nodiscard]] bool go_on(claim& c) noexcept {
        std::error_code ec;
        c.fence_end.fence = pending_fences(c, ec);
        if (!ec && c.fence_end.fence) { ec = watch(c); }
        if (ec) { return fail(c, failure::from(ec)); }
        if (c.fence_end.active) { return false; }
        {
            const std::lock_guard guard{lock_};
            if (!is_fenced(c)) { return false; } // given up just now: its turn is to come
            leave_book(c);
            c.state.store(phase::entering, std::memory_order_relaxed);
        }
        bracket_count told;
        const failure f = tell_kernel_of_grant(c, told);
        settle_at_gate(c, f, told, counters_.granted_after_wait);
        return true;
    }

    /// The kernel has been told, or has refused. Returns: `f`.
    failure settle_at_gate(claim& c, failure f, const bracket_count& told, std::uint64_t& counter) noexcept {
        step s{*this};
        counters_.brackets_told += told.told;
        counters_.brackets_naive += told.naive;
        if (f) {
            refuse(c, f, s);
        } else {
            begin_hold(c, coarse_now());
            ++counter;
        }
        return f;
    }

    void begin_trace_of_fences(const claim& c) noexcept {
        if (!trace_.is_on()) { return; }
        const std::lock_guard guard{lock_};
        trace_.fenced(c);
    }

    void count_fence() noexcept {
        const std::lock_guard guard{lock_};
        ++counters_.fences_waited;
    }

    /// What the set has to wait for, by one descriptor that is readable when all of it has ended; empty without.
    /// Before kernel 6.0 it may be a part of it.
    [[nodiscard]] unique_fd pending_fences(const claim& c, std::error_code& ec) noexcept {
        fence all;
        if (c.wait_for_fences == fences::ignore) { return {}; }
        for (const entry& e : c.set()) {
            const buffer_state& b = state_of(e);
            const int fd = b.memory.fd.get();
            if (!b.is_dma_buf() || dma_buf::is_idle(fd, e.mode)) { continue; }
            count_fence();
            fence one = dma_buf::export_fence(fd, e.mode, ec);
            if (ec == std::errc::inappropriate_io_control_operation) { return poll_by_epoll(fd, e.mode, ec); }
            if (!ec) { all = all ? fence::merge(all, one, "dmasync", ec) : std::move(one); }
            if (ec) { return {}; }
        }
        return all.release();
    }

    /// For kernels before 6.0, which export no fence: a descriptor that is readable once the buffer is idle. Whether fences
    /// failed it does not tell. The kernel's epoll waits for all of them; a poll of it by io_uring ends with the first as
    /// well, but the set is asked again then.
    [[nodiscard]] static unique_fd poll_by_epoll(int fd, access_mode a, std::error_code& ec) noexcept {
        unique_fd set{::epoll_create1(EPOLL_CLOEXEC)};
        epoll_event wanted{};
        wanted.events = is_write(a) ? EPOLLOUT : EPOLLIN;
        const bool made = set && ::epoll_ctl(set.get(), EPOLL_CTL_ADD, fd, &wanted) == 0;
        ec = made ? std::error_code{} : last_system_error();
        return made ? std::move(set) : unique_fd{};
    }

    /// Ends a claim on its way through the gate. Returns: whether its waiter is to be resumed.
    [[nodiscard]] bool fail(claim& c, failure why) noexcept {
        c.fence_end.fence.reset();
        step s{*this};
        if (!is_fenced(c)) { return false; } // given up just now: its turn is to come
        refuse(c, why, s);
        return true;
    }

    void refuse(claim& c, failure why, step& s) noexcept {
        end_hold(c, s);
        set_failed(c, why);
    }

    [[nodiscard]] static failure tell_kernel_of_grant(claim& c, bracket_count& told) noexcept {
        for (entry& e : c.set()) {
            buffer_state& b = state_of(e);
            if (!b.is_dma_buf()) { continue; }
            const bool own = wants_own_bracket(c, e);
            told.told += own ? 1U : 0U;
            told.naive += is_dma(e.mode) ? 0U : 2U;
            const std::error_code ec =
                own ? open_own_bracket(e) : b.bracket.enter(b.memory.fd.get(), e.mode, told.told);
            if (ec) {
                told.told += leave_brackets(c);
                return failure::from(ec);
            }
        }
        return {};
    }

    /// Returns: how many there were.
    static std::uint64_t leave_brackets(const claim& c) noexcept {
        std::uint64_t left = 0;
        for (entry& e : c.set()) {
            if (!e.own_bracket) { continue; }
            close_own_bracket(e);
            ++left;
        }
        return left;
    }

    [[nodiscard]] failure wait_on_thread(claim& c, const std::stop_token* stop) noexcept {
        if (c.wait_for_fences == fences::ignore) { return {}; }
        std::error_code no_wake;
        const wake_fd wake{no_wake};
        const auto signal = [&wake] { wake.signal(); };
        std::optional<std::stop_callback<decltype(signal)>> on_stop;
        if (stop != nullptr && !no_wake) { on_stop.emplace(*stop, signal); }
        const time_point until = std::min(c.deadline, lease_end(now(), c.fence_timeout));
        for (;;) {
            std::error_code ec;
            const unique_fd pending = pending_fences(c, ec);
            if (ec) { return failure::from(ec); }
            if (!pending) { return {}; }
            time_point time{};
            do {
                if (stop != nullptr && stop->stop_requested()) { return errc::cancelled; }
                time = now(); // once: the domain may go away between two looks
                if (time == time_point::max()) { return errc::closed; }
                if (has_been_wounded(c)) { return errc::wounded; }
                if (time >= c.deadline) { return errc::timed_out; }
                if (time >= until) { return errc::fence_timed_out; }
            } while (!is_readable(pending.get(), wake.get(), until - time));
            if (completion_result(pending.get())) { return errc::fence_failed; }
        }
    }

    [[nodiscard]] bool has_been_wounded(const claim& c) noexcept {
        const std::lock_guard guard{lock_};
        return is_wounded(c);
    }

    /// The loop's time; the end of all time when the domain, and perhaps its loop, is gone.
    [[nodiscard]] time_point now() noexcept {
        const std::lock_guard guard{lock_};
        return owned_ ? loop_.now() : time_point::max();
    }

    /// Waits for `fd`, until the limit or until `other` is readable.
    [[nodiscard]] static bool is_readable(int fd, int other, std::chrono::nanoseconds limit) noexcept {
        constexpr std::int64_t between_looks = 250'000'000; // at a clock that may be virtual
        const std::int64_t ns = std::clamp<std::int64_t>(limit.count(), 0, between_looks);
        const timespec timeout{static_cast<time_t>(ns / 1'000'000'000), static_cast<long>(ns % 1'000'000'000)};
        std::array<pollfd, 2> polled{{{fd, POLLIN, 0}, {other, POLLIN, 0}}};
        return ::ppoll(polled.data(), polled.size(), &timeout, nullptr) > 0 && polled[0].revents != 0;
    }
};

} // namespace dmasync::detail
