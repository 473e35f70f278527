// SPDX-License-Identifier: MIT
#pragma once
/// \file domain_clock.hpp  When the holds and waits of a domain end: their deadlines, and one timer of the loop for all.

#include <dmasync/detail/claim.hpp>
#include <dmasync/detail/deadline_book.hpp>
#include <dmasync/detail/domain_lock.hpp>
#include <dmasync/detail/trace_tap.hpp>
#include <dmasync/event_loop.hpp>

#include <chrono>
#include <utility>

namespace dmasync::detail {

/// The lock of a domain, and time as it passes for what is under it.
///
/// Threads: every member under the lock.
class domain_clock {
public:
    using time_point = event_loop::time_point;

    domain_clock(const domain_clock&) = delete;
    domain_clock& operator=(const domain_clock&) = delete;

protected:
    using claim_list = intrusive_list<claim, timed_tag>;

    domain_clock(event_loop& loop, bool single_threaded, work::function& on_timer, work::function& on_rearm) noexcept
        : lock_{single_threaded},
          has_virtual_time_{loop.has_virtual_time()},
          reads_kernel_clock_{!single_threaded && !loop.has_virtual_time()},
          trace_{loop},
          loop_{loop},
          coarse_lag_{loop.coarse_lag()},
          timer_{*this, on_timer},
          rearm_{*this, on_rearm} {
        loop_.add_user();
    }

    ~domain_clock() = default;

    /// The loop's time, read the cheap way. The loop need not be there any more when the domain is gone: time stands still.
    [[nodiscard]] time_point coarse_now() const noexcept { return owned_ ? loop_.coarse_now() : time_point{}; }

    /// Locks, and tells the time of it. The clock is read before, so that nobody waits for that.
    [[nodiscard, gnu::always_inline]] time_point lock_now() noexcept {
        if (has_virtual_time_) [[unlikely]] {
            lock_.lock();
            return coarse_now();
        }
        const time_point before = event_loop::coarse_clock();
        return lock_.lock() ? before : event_loop::coarse_clock();
    }

    /// The coarse clock is behind: the lease is longer by as much as that may be, so that it is never too short.
    [[nodiscard]] time_point lease_end(time_point from, std::chrono::nanoseconds lease) const noexcept {
        return event_loop::later(from + coarse_lag_, lease);
    }
    [[nodiscard]] deadline_span span_of(std::chrono::nanoseconds lease) const noexcept {
        return deadline_span{lease > std::chrono::nanoseconds::max() - coarse_lag_ ? lease : lease + coarse_lag_};
    }

    void enter_book(claim& c, time_point now, time_point until) noexcept {
        book_.enter(c, now, until);
        note_deadline(until);
    }

    /// For a hold, from its grant on.
    [[gnu::always_inline]] void enter_book(claim& c, time_point now) noexcept {
        note_deadline(book_.enter(c, now, c.lease_span));
    }

    /// For a hold that goes on: it began when it began.
    void reenter_book(claim& c, time_point now, time_point until) noexcept {
        const time_point began = c.since;
        enter_book(c, now, until);
        c.since = began; // as in deadline_book::move
    }

    /// What has no end is not in it; a sweep takes claims out before it knows what becomes of them.
    static void leave_book(claim& c) noexcept { deadline_book<claim>::leave(c); }

    void note_deadline(time_point until) noexcept {
        if (until < horizon_) [[unlikely]] {
            horizon_ = until;
            timer_is_late_ = true;
        }
    }

    /// Enters a hold into the book. In a single-threaded domain holds begin when the turn of the loop is over, or as soon as
    /// anybody wants to know: nothing can end their leases before, so that one look at the clock does for all of them.
    [[gnu::noinline]] void begin_lease(claim& c, time_point now) noexcept {
        if (!lock_.is_exclusive() || !owned_ || !loop_.in_this_thread()) [[likely]] { return enter_book(c, now); }
        if (!std::exchange(rearm_posted_, true)) { loop_.defer(rearm_); }
        dates_later_ = true;
        book_.enter_undated(c);
    }

    /// The same from now on, the shortest way.
    [[gnu::always_inline]] void begin_lease(claim& c) noexcept {
        if (reads_kernel_clock_) [[likely]] {
            enter_book(c, event_loop::coarse_clock());
        } else {
            begin_lease(c, coarse_now());
        }
    }

    /// Says what time it is to what has been entered without one.
    void date_holds() noexcept {
        if (!dates_later_) [[likely]] { return; }
        note_deadline(book_.date(coarse_now(), [](const claim& c) { return c.lease_span; }));
    }

    /// Sets the loop's timer to the horizon, or sees to it that the loop's thread does.
    /// Returns: whether `rearm_` is to be posted once the lock is free.
    [[nodiscard, gnu::noinline]] bool schedule_timer() noexcept {
        timer_is_late_ = false;
        if (!loop_.in_this_thread()) { return !std::exchange(rearm_posted_, true); }
        set_timer();
        return false;
    }

    /// The turn of `rearm_` on the loop's thread.
    void rearm(disposition d) noexcept {
        rearm_posted_ = dates_later_ = false;
        if (d == disposition::run) {
            set_timer();
        } else {
            loop_.disarm(timer_); // the loop is going away
        }
    }

    template <class Kind>
    struct loop_work : Kind {
        loop_work(domain_clock& d, work::function& f) noexcept : Kind{f}, home{d} {}
        domain_clock& home;
    };

    // Everything that is not const is changed under the lock only.
    domain_lock lock_;
    bool owned_ = true;           // the domain object exists
    bool timer_is_late_ = false;  // the horizon has come nearer than the loop's timer; false whenever the lock is free
    bool rearm_posted_ = false;   // the loop has rearm_, to be called soon
    bool dates_later_ = false;    // and until its turn holds are entered without a time
    const bool has_virtual_time_; // the loop's
    const bool reads_kernel_clock_;          // at every grant: it is neither the loop's own time nor said later
    trace_tap trace_;                        // for whoever records what happens
    time_point horizon_ = time_point::max(); // nothing in the book ends earlier; what the loop's timer is set to
    deadline_book<claim> book_;              // every waiting or held claim that has an end
    event_loop& loop_;                       // used under the lock while owned_ only: it need not outlive the domain
    const event_loop::clock::duration coarse_lag_; // of the loop
    loop_work<timer> timer_;
    loop_work<work> rearm_;

private:
    void set_timer() noexcept {
        if (timer_.armed() && timer_.due() == horizon_ && owned_) { return; }
        loop_.disarm(timer_);
        if (owned_ && horizon_ != time_point::max()) { loop_.arm(timer_, horizon_); }
    }
};

} // namespace dmasync::detail
