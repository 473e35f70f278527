// SPDX-License-Identifier: MIT
#pragma once
/// \file fences.hpp  What lies between the grant of a dma-buf and its use: fences of devices, and CPU brackets.
///
///   granted --(no fence pending)--> entering --(brackets open)--> held      in place: no suspension, one poll(2)
///   granted --> fenced --(each fence has ended)--> entering --> held        on the claim's loop
///
/// A fenced claim can be given up like a waiting one; while it is entering a thread is in the kernel on its behalf, and it is
/// not taken away.
///
/// One poll(2) says for the whole set whether anything is pending. What is pending is exported and merged to one sync_file,
/// which is watched: it waits for all, where the kernel's poll of a dma-buf through io_uring stops at the first, and it tells
/// of any that failed, where the kernel forgets a fence of a buffer as soon as it has ended. When it has ended the set is asked
/// again: the kernel would wait for what has come meanwhile, at START, and without a limit.

#include <dmasync/access_mode.hpp>
#include <dmasync/detail/base/assertion.hpp>
#include <dmasync/detail/base/failure.hpp>
#include <dmasync/detail/domain/brackets.hpp>
#include <dmasync/detail/domain/buffer_state.hpp>
#include <dmasync/detail/domain/claim.hpp>
#include <dmasync/detail/domain/clock.hpp>
#include <dmasync/detail/domain/core.hpp>
#include <dmasync/detail/domain/critical_section.hpp>
#include <dmasync/detail/domain/waiting_loops.hpp>
#include <dmasync/detail/kernel/sync_file.hpp>
#include <dmasync/detail/loop/wake_fd.hpp>
#include <dmasync/dma_buf.hpp>
#include <dmasync/error.hpp>
#include <dmasync/event_loop.hpp>
#include <dmasync/fence.hpp>
#include <dmasync/lock_options.hpp>
#include <dmasync/unique_fd.hpp>
#include <dmasync/version.hpp>

#include <algorithm>
#include <array>
#include <cerrno>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <stop_token>
#include <system_error>
#include <utility>

#include <poll.h>
#include <sys/epoll.h>

namespace dmasync::inline DMASYNC_ABI::detail {

class fence_waits {
public:
    using time_point = event_loop::time_point;

    /// Hands over a claim that has just been granted, if nothing has to be waited for.
    /// Returns: `would_block` when a fence is pending; the claim is as it was then. Any other failure has ended the hold.
    [[nodiscard]] static failure enter(claim& c) noexcept {
        if (c.wait_for_fences == fences::wait && !is_idle(c)) { return errc::would_block; }
        return open_brackets(c, c.domain->counters.granted_at_once);
    }

    /// A coroutine waits for the fences of a claim that could not be handed over; `on`: the loop that its options name, or null.
    /// Returns: whether it waits; its waiter is then notified once, and may have been by now. Otherwise it has failed.
    [[nodiscard]] static bool wait(claim& c, event_loop* on) noexcept {
        event_loop* const loop = waiting_loops::prepare(*c.domain, on);
        {
            critical_section s{*c.domain};
            failure why = c.why; // given up before it could wait
            if (!why && is_wounded(c)) { why = errc::wounded; }
            if (!why && s->open && c.deadline <= s->loop.now()) { why = errc::timed_out; }
            if (!why) { why = waiting_loops::join(s, c, loop); }
            if (why) {
                refuse(s, c, why);
                return false;
            }
            core::begin_fence_wait(s, c, clock::coarse_now(s));
            c.posted = true;
        }
        c.loop->post(c);
        return true;
    }

    /// A thread waits for the fences of its claim, and has it handed over.
    static void block(claim& c, const std::stop_token* stop) noexcept {
        begin_trace(c);
        const failure f = wait_on_thread(c, stop);
        if (!f) {
            static_cast<void>(open_brackets(c, c.domain->counters.granted_after_wait));
        } else {
            settle(c, f, {}, c.domain->counters.granted_after_wait);
        }
    }

    /// A turn of the claim's loop for a claim that is fenced, or was until it was given up.
    /// Returns: whether its waiter is to be resumed.
    [[nodiscard]] static bool take_turn(claim& c) noexcept {
        bool fenced = false;
        { // as one: what gives it up before has left it to this turn, what does so after has it posted again
            const lock_section s{*c.domain};
            c.posted = false;
            fenced = is_fenced(c);
        }
        if (!fenced) {
            c.fence_end.end(c.loop);
            return true;
        }
        return go_on(c);
    }

    /// The fence has ended that a claim waits for. Returns: whether its waiter is to be resumed.
    [[nodiscard]] static bool fence_ended(claim& c, std::error_code result) noexcept {
        if (!is_fenced(c)) { return false; } // its turn is to come
        return result ? fail(c, errc::fence_failed) : go_on(c);
    }

    /// Ends a claim that is fenced. Returns: whether its waiter is to be resumed.
    [[nodiscard]] static bool fail(claim& c, failure why) noexcept {
        c.fence_end.fence.reset();
        critical_section s{*c.domain};
        if (!is_fenced(c)) { return false; } // given up just now: its turn is to come
        refuse(s, c, why);
        return true;
    }

private:
    /// Whether the claim is a part of a transaction that is to give back what it has. Under the lock.
    [[nodiscard]] static bool is_wounded(const claim& c) noexcept {
        return c.transaction != nullptr && c.transaction->is_wounded();
    }

    [[nodiscard]] static bool is_fenced(const claim& c) noexcept { return c.state_now() == phase::fenced; }

    /// Whether no fence is pending that the claim would have to wait for.
    [[nodiscard]] static bool is_idle(const claim& c) noexcept {
        std::array<pollfd, 16> polled; // NOLINT(cppcoreguidelines-pro-type-member-init): filled as far as it is used
        std::size_t n = 0;
        for (const entry& e : c.set()) {
            if (!core::state_of(e).is_dma_buf()) { continue; }
            const auto wanted = static_cast<short>(is_write(e.mode) ? POLLOUT : POLLIN);
            polled[n++] = {core::state_of(e).memory.fd.get(), wanted, 0};
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

    /// Waits for what is pending, or hands the claim over.
    /// Returns: whether its waiter is to be resumed.
    [[nodiscard]] static bool go_on(claim& c) noexcept {
        std::error_code ec;
        c.fence_end.fence = pending_fences(c, ec);
        if (!ec && c.fence_end.fence) { ec = c.fence_end.begin(*c.loop); }
        if (ec) { return fail(c, failure::from(ec)); }
        if (c.fence_end.active) { return false; }
        critical_section s{*c.domain};
        if (!is_fenced(c)) { return false; } // given up just now: its turn is to come
        brackets::count n;
        failure f;
        {
            const kernel_section outside{s, c};
            f = brackets::open(c, n);
        }
        settle(s, c, f, n, s->counters.granted_after_wait);
        return true;
    }

    /// No other thread can reach a claim that is entering: the kernel is called without the lock.
    static failure open_brackets(claim& c, std::uint64_t& counter) noexcept {
        brackets::count n;
        const failure f = brackets::open(c, n);
        settle(c, f, n, counter);
        return f;
    }

    static void settle(claim& c, failure f, const brackets::count& n, std::uint64_t& counter) noexcept {
        critical_section s{*c.domain};
        settle(s, c, f, n, counter);
    }

    /// The claim is handed over, unless the kernel has refused.
    static void settle(critical_section& s, claim& c, failure f, const brackets::count& n,
                       std::uint64_t& counter) noexcept {
        DMASYNC_ASSERT(c.state_now() == phase::entering);
        s->counters.brackets_told += n.made;
        s->counters.brackets_naive += n.naive;
        if (f) { return refuse(s, c, f); }
        waiting_loops::part(c);
        core::begin_hold(s, c, clock::coarse_now(s));
        ++counter;
    }

    static void begin_trace(const claim& c) noexcept {
        if (!c.domain->trace.is_on()) { return; }
        const lock_section s{*c.domain};
        s->trace.fenced(c);
    }

    static void count_fence(const claim& c) noexcept {
        const lock_section s{*c.domain};
        ++s->counters.fences_waited;
    }

    /// What the set has to wait for, by one descriptor that is readable when all of it has ended; empty without.
    /// Before kernel 6.0 it may be a part of it.
    [[nodiscard]] static unique_fd pending_fences(const claim& c, std::error_code& ec) noexcept {
        fence all;
        if (c.wait_for_fences == fences::ignore) { return {}; }
        for (const entry& e : c.set()) {
            const buffer_state& b = core::state_of(e);
            const int fd = b.memory.fd.get();
            if (!b.is_dma_buf() || dma_buf::is_idle(fd, e.mode)) { continue; }
            count_fence(c);
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
        unique_fd set = above_standard_streams(unique_fd{::epoll_create1(EPOLL_CLOEXEC)});
        epoll_event wanted{};
        wanted.events = is_write(a) ? EPOLLOUT : EPOLLIN;
        const bool made = set && ::epoll_ctl(set.get(), EPOLL_CTL_ADD, fd, &wanted) == 0;
        ec = made ? std::error_code{} : last_system_error();
        return made ? std::move(set) : unique_fd{};
    }

    static void refuse(critical_section& s, claim& c, failure why) noexcept {
        core::end_hold(s, c);
        core::set_failed(s, c, why);
    }

    [[nodiscard]] static failure wait_on_thread(claim& c, const std::stop_token* stop) noexcept {
        if (c.wait_for_fences == fences::ignore) { return {}; }
        std::error_code no_wake;
        const wake_fd wake{no_wake};
        const auto signal = [&wake] { wake.signal(); };
        std::optional<std::stop_callback<decltype(signal)>> on_stop;
        if (stop != nullptr && !no_wake) { on_stop.emplace(*stop, signal); }
        const time_point until = std::min(c.deadline, clock::lease_end(*c.domain, now(c), c.fence_timeout));
        for (;;) {
            std::error_code ec;
            const unique_fd pending = pending_fences(c, ec);
            if (ec) { return failure::from(ec); }
            if (!pending) { return {}; }
            time_point time{};
            do {
                if (stop != nullptr && stop->stop_requested()) { return errc::cancelled; }
                time = now(c); // once: the domain may go away between two looks
                if (time == time_point::max()) { return errc::closed; }
                if (has_been_wounded(c)) { return errc::wounded; }
                if (time >= c.deadline) { return errc::timed_out; }
                if (time >= until) { return errc::fence_timed_out; }
            } while (!is_readable(pending.get(), wake.get(), until - time));
            if (completion_result(pending.get())) { return errc::fence_failed; }
        }
    }

    [[nodiscard]] static bool has_been_wounded(const claim& c) noexcept {
        const lock_section s{*c.domain};
        return is_wounded(c);
    }

    /// The loop's time; the end of all time when the domain, and perhaps its loop, is gone.
    [[nodiscard]] static time_point now(const claim& c) noexcept {
        const lock_section s{*c.domain};
        return s->open ? s->loop.now() : time_point::max();
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

} // namespace dmasync::inline DMASYNC_ABI::detail
