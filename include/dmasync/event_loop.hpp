// SPDX-License-Identifier: MIT
#pragma once
/// \file event_loop.hpp  What the library needs of an event loop: time, readiness of descriptors, and a turn to run.

#include <dmasync/detail/base/timer_heap.hpp>
#include <dmasync/detail/kernel/fork_mark.hpp>
#include <dmasync/detail/loop/watch_table.hpp>
#include <dmasync/detail/sync/adaptive_spin.hpp>
#include <dmasync/detail/sync/threading.hpp>
#include <dmasync/error.hpp>
#include <dmasync/version.hpp>
#include <dmasync/work.hpp>

#include <algorithm>
#include <atomic>
#include <chrono>
#include <csignal>
#include <cstddef>
#include <cstdint>
#include <system_error>
#include <utility>

#include <poll.h>
#include <time.h>

namespace dmasync::inline DMASYNC_ABI {

/// One thread's source of time, readiness and turns; every awaitable of the library resumes on one.
///
/// Words: *the loop's thread* is the one that is in `run` or `poll`, or, while none is, the one that will be next.
/// Threads: `post`, `stop`, `now`, `fd`, `error`, `in_this_thread` and `current` from any; the rest from the loop's thread:
/// `arm`, `watch` and their opposites abort while another thread is in a turn.
/// Lifetime: outlives the domains made on it (not their buffers and guards; see `domain`), the awaitables that wait on
/// it, and calls of `post` and `stop` under way.
/// Hosting: any other loop can host this one: wait until `fd()` is readable, then call `poll()`.
/// Failure: where the kernel refuses for good what a loop needs (a sandbox that came later, a descriptor that was closed), and
/// in a forked child, the loop can wait no longer. It says so once: `error` tells why, each waiter is told that
/// (`disposition::fail`), new waits fail at once, and `run` returns. What is posted still runs, in `run` and `poll`.
class event_loop {
public:
    using clock = std::chrono::steady_clock;
    using time_point = clock::time_point;

    event_loop(const event_loop&) = delete;
    event_loop& operator=(const event_loop&) = delete;

    /// Discards what was posted or armed and never ran: runs no code of the user's, so that coroutines that wait on the loop stay
    /// where they are (`close` ends them). Aborts when a domain still uses the loop.
    virtual ~event_loop() {
        if (users_.load(std::memory_order_relaxed) != 0) { detail::misuse("event_loop destroyed before its domains"); }
        end_with(errc::closed);
        discard_all();
    }

    /// The loop's time: the steady clock, or a virtual one.
    [[nodiscard]] time_point now() const noexcept {
        return virtual_time_ == nullptr ? clock::now() : virtual_time_->load(std::memory_order_acquire);
    }

    /// The loop's time read the cheap way: never ahead of `now()`, and behind it by `coarse_lag()` at most, as long as the
    /// kernel's ticks come in time.
    /// Source: CLOCK_MONOTONIC_COARSE, which is a fifth of the cost: it is what arms a lease on every lock.
    [[nodiscard]] time_point coarse_now() const noexcept {
        return virtual_time_ == nullptr ? coarse_clock() : virtual_time_->load(std::memory_order_acquire);
    }

    /// Whether its time is not the steady clock's, which a caller that knows may read without the loop.
    [[nodiscard]] bool has_virtual_time() const noexcept { return virtual_time_ != nullptr; }

    /// Whether what is now there is now here. Threads: any.
    [[nodiscard]] bool shares_clock_with(const event_loop& other) const noexcept {
        return virtual_time_ == other.virtual_time_;
    }

    /// The steady clock, read the cheap way. Threads: any.
    [[nodiscard]] static time_point coarse_clock() noexcept {
        timespec t; // NOLINT(cppcoreguidelines-pro-type-member-init): it is set, and this is the way of every lock
        ::clock_gettime(CLOCK_MONOTONIC_COARSE, &t);
        return time_point{std::chrono::seconds{t.tv_sec} + std::chrono::nanoseconds{t.tv_nsec}};
    }

    /// `d` after `t`, or the end of time where there is no such time.
    [[nodiscard]] static constexpr time_point later(time_point t, clock::duration d) noexcept {
        return d > time_point::max() - t ? time_point::max() : t + d;
    }

    /// Two ticks of the coarse clock (2 to 20 ms); zero for a virtual clock. One would do by the book, but in virtual
    /// machines the clock is seen to be between one tick and two behind.
    [[nodiscard]] clock::duration coarse_lag() const noexcept { return coarse_lag_; }

    /// Has `w` called on the loop's thread, after everything posted before it by the same thread. Never calls it in
    /// place. No allocation; a system call only when the loop may be asleep.
    void post(work& w) noexcept {
        if (in_this_thread()) {
            append_local(w);
            return;
        }
        work* head = remote_.load(std::memory_order_relaxed);
        do {
            w.next = head == &asleep_ ? nullptr : head;
        } while (!remote_.compare_exchange_weak(head, &w, std::memory_order_release, // with take_remote
                                                std::memory_order_relaxed));
        if (head == &asleep_) { notify(); } // otherwise it looks before it sleeps
    }

    /// Has `w` called at the end of what is running: when all that was ready with it has run, before the loop waits or leaves
    /// to its host. Costs the host no further call of `poll`. Aborts outside of a turn.
    void defer(work& w) noexcept {
        if (!in_this_thread()) { detail::misuse("event_loop::defer outside of a turn"); }
        w.next = deferred_;
        deferred_ = &w;
    }

    /// Has `t` called once its time has come, never early. An armed timer is moved.
    /// Hears of the loop's end, too, however late its time is: `time_point::max()` waits for that alone.
    void arm(timer& t, time_point when) noexcept {
        const bool is_outside = is_outside_turn("event_loop::arm on another thread than the loop's");
        if (std::exchange(t.armed_, false)) { timers_.erase(t); }
        t.when = std::max(when, earliest_);
        t.armed_ = true;
        timers_.push(t);
        if (is_outside) { flush_outside_turn(); }
    }

    /// Takes an armed timer back; it will not be called.
    void disarm(timer& t) noexcept {
        if (!std::exchange(t.armed_, false)) { return; }
        static_cast<void>(is_outside_turn("event_loop::disarm on another thread than the loop's"));
        timers_.erase(t);
    }

    /// Has `w` called once `w.fd` shows one of `w.events`, or an error. The descriptor must stay open meanwhile, and be
    /// no dma-buf: the kernel wakes such a poll too early when two fences are pending; wait on an exported sync_file.
    /// Errors: what the kernel says of the descriptor; `errc::out_of_memory`; `error()` of the loop.
    [[nodiscard]] std::error_code watch(fd_watch& w) noexcept {
        const bool is_outside = is_outside_turn("event_loop::watch on another thread than the loop's");
        if (w.active) { detail::misuse("fd_watch is active already"); }
        w.revents = 0;
        if (is_broken()) { return error(); }
        if (!watches_.add(w)) { return errc::out_of_memory; }
        const std::error_code ec = start_watch(w);
        w.active = !ec;
        if (ec) { watches_.remove(w); }
        if (is_outside) { flush_outside_turn(); }
        return ec;
    }

    /// Takes an active watch back; it will not be called. The kernel may keep the file open until the end of the turn that
    /// the loop is in, so that its other side sees a close no earlier; outside of a turn it lets go of it at once.
    void unwatch(fd_watch& w) noexcept {
        if (!std::exchange(w.active, false)) { return; }
        const bool is_outside = is_outside_turn("event_loop::unwatch on another thread than the loop's");
        if (!is_broken()) { stop_watch(w); }
        watches_.remove(w);
        if (is_outside) { flush_outside_turn(); }
    }

    /// Runs what comes until `stop` is called. May be called again afterwards, or the loop be hosted: what is left shows
    /// on `fd()`.
    /// Returns: no error; `error()` of a loop that has failed, once it has told every waiter and run what was posted.
    std::error_code run() noexcept { return run_turns(false); }

    /// As `run`, but returns only when `stop` is called: a loop that has failed looks a hundred times a second for what other
    /// threads post. For callers that cannot leave before something has ended, as `run(task)`.
    std::error_code run_until_stopped() noexcept { return run_turns(true); }

    /// Runs a task of the library's own type, and the loop with it, until the task is done; returns or throws its result.
    template <class Task>
    decltype(auto) run(Task&& task) {
        return std::forward<Task>(task).run_on(*this);
    }

    /// Makes `run` return after the work it is at; the next `run`, when none is running. Never lost.
    /// Threads: any. Async-signal-safe: may be called by a signal handler, on the loop's own thread as well.
    void stop() noexcept {
        stopped_.store(true, std::memory_order_release); // with run
        detail::compiler_fence();                        // with may_sleep
        if (!in_this_thread() || is_about_to_wait_ != 0) { notify(); }
    }

    /// Runs what is ready, without waiting. For hosts: call it when `fd()` is readable, or in error.
    /// Returns: whether anything was. A host looks at `error()` then: the descriptor of a loop that has failed says nothing more.
    bool poll() noexcept {
        const turn_scope scope{*this};
        const std::uint64_t before = calls_;
        turn(false);
        if (calls_ == before && !is_broken()) { confirm(); }
        if (is_broken()) { end_waits(); }
        run_batch();
        leave_to_host();
        return calls_ != before;
    }

    /// Ends what waits on the loop, and the loop with it: each wait ends with `errc::closed`, new ones fail at once with that, as
    /// `error()` and `run` do, and what is posted runs until nothing is left. Waits of locks end as well, on a domain of another
    /// loop too; what is held or lent stays so. From then on domains and the loop are destroyed in any order that their own
    /// contracts allow, and discard nothing, as long as nothing more is posted. Of a loop that has failed `error()` stays as it is.
    /// Blocks: for as long as what is called goes on, without end where a coroutine waits again whatever it is told.
    /// Threads: the loop's, outside of `run` and `poll`, else it aborts; other threads have posted their last before.
    void close() noexcept {
        const turn_scope scope{*this};
        if (!is_broken()) {
            watches_.for_each([this](fd_watch& w) { stop_watch(w); });
            flush(); // the kernel lets go of the files that it watches
        }
        if (!is_broken()) { end_with(errc::closed); }
        std::uint64_t before = 0;
        do {
            before = calls_;
            run_batch();
            end_waits();
            run_deferred();
        } while (calls_ != before || local_ != nullptr);
    }

    /// A descriptor that is readable when `poll` has something to do. Owned by the loop.
    [[nodiscard]] virtual int fd() const noexcept = 0;

    /// Why the loop can wait no longer: what the kernel has answered, `errc::closed` once it is closed, or `errc::forked` in a
    /// child of the process that made it; no error while it can.
    [[nodiscard]] std::error_code error() const noexcept {
        if (has_failed_.load(std::memory_order_acquire)) { return failure_; } // with end_with
        return mark_.is_in_child() ? make_error_code(errc::forked) : std::error_code{};
    }

    /// Whether the calling thread is in `run` or `poll` of this loop.
    [[nodiscard]] bool in_this_thread() const noexcept {
        return runner_.load(std::memory_order_relaxed) == detail::this_thread_id();
    }

    /// The loop that the calling thread is in `run` or `poll` of: the innermost, where one hosts another. Null outside of turns,
    /// also in a host's callback between two polls. Knows of the loops that this shared object runs. Threads: any.
    [[nodiscard]] static event_loop* current() noexcept { return detail::own_pointer<event_loop>(); }

    /// The same, as the shared object has it that made this loop.
    [[nodiscard]] event_loop* current_where_made() const noexcept { return find_current(); }

    /// Counts the objects that need the loop to outlive them. Orders nothing: the thread that destroys the loop knows in some other
    /// way that they are gone.
    void add_user() noexcept { users_.fetch_add(1, std::memory_order_relaxed); }
    void remove_user() noexcept { users_.fetch_sub(1, std::memory_order_relaxed); }

protected:
    event_loop() noexcept : mark_{detail::fork_mark::of_this_process()} {
        timespec t{};
        ::clock_getres(CLOCK_MONOTONIC_COARSE, &t);
        coarse_lag_ = 2 * (std::chrono::seconds{t.tv_sec} + std::chrono::nanoseconds{t.tv_nsec});
    }

    /// A loop whose time is what `time` says.
    explicit event_loop(const detail::atomic<time_point>& time) noexcept : virtual_time_{&time} {}

    /// For back ends: the descriptor of `w` is ready (or its watch has failed, `revents` POLLERR).
    void fire(fd_watch& w, short revents) noexcept {
        watches_.remove(w);
        w.active = false;
        w.revents = revents;
        call(w);
    }

    /// For back ends: the kernel refuses for good what the loop needs. The first reason counts.
    void fail(std::error_code why) noexcept {
        if (has_failed_.load(std::memory_order_relaxed)) { return; }
        if (why != std::errc::bad_file_descriptor) {
            wake();
        } // for a host; else the number may be another file's by now
        end_with(why);
    }

    /// For back ends: nothing of the kernel's may be touched any more.
    [[nodiscard]] bool is_broken() const noexcept {
        return has_failed_.load(std::memory_order_relaxed) || mark_.is_in_child();
    }

    /// For back ends: the kernel timer set by `set_kernel_timer` has gone off, or is gone.
    void kernel_timer_fired() noexcept { kernel_timer_ = time_point::max(); }

    /// When the next timer is due; `time_point::max()` without one.
    [[nodiscard]] time_point next_due() const noexcept {
        return timers_.empty() ? time_point::max() : timers_.top()->when;
    }

    detail::watch_table watches_; // the active ones

private:
    // The back end. All but wake() are called on the loop's thread, and none when the loop is broken.
    virtual void wake() noexcept = 0;                            // from any thread: makes wait() return, fd() readable
    virtual void wait(bool may_block) noexcept = 0;              // flushes, waits for an event, fires watches
    virtual void flush() noexcept = 0;                           // gives the kernel what the calls below have asked for
    virtual void set_kernel_timer(time_point when) noexcept = 0; // makes wait() return, and fd() readable, by then
    virtual std::error_code start_watch(fd_watch& w) noexcept = 0; // w is in watches_
    virtual void stop_watch(fd_watch& w) noexcept = 0;             // the same
    virtual void confirm() noexcept {} // a poll was in vain: fails the loop if that is so because the kernel refuses it

    /// Virtual, because that finds the function of the shared object that made the loop. Not to be overridden.
    virtual event_loop* find_current() const noexcept { return current(); }

    /// Whether no turn is under way. Aborts with the message when one is, on another thread; in a forked child that one
    /// is gone.
    [[nodiscard]] bool is_outside_turn(const char* misused) const noexcept {
        const detail::thread_id runner = runner_.load(std::memory_order_relaxed);
        if (runner == detail::this_thread_id()) [[likely]] { return false; }
        if (runner != detail::thread_id{} && !mark_.is_in_child()) { detail::misuse(misused); }
        return true;
    }

    struct turn_scope {
        explicit turn_scope(event_loop& l) noexcept : loop{l}, outer{l.runner_.load(std::memory_order_relaxed)} {
            if (outer != detail::thread_id{}) {
                detail::misuse("event_loop run from inside itself or from two threads");
            }
            loop.runner_.store(detail::this_thread_id(), std::memory_order_relaxed);
            host = std::exchange(current, &loop);
        }
        ~turn_scope() {
            current = host;
            loop.runner_.store(detail::thread_id{}, std::memory_order_relaxed);
        }
        event_loop& loop;
        detail::thread_id outer;
        event_loop*& current = detail::own_pointer<event_loop>(); // a turn stays on its thread
        event_loop* host = nullptr;                               // the loop in whose turn this one is
    };

    /// Looks before it writes: there is hardly ever anything, and an exchange costs as much as a whole turn.
    [[nodiscard]] bool take_stop() noexcept {
        return stopped_.load(std::memory_order_relaxed) &&
               stopped_.exchange(false, std::memory_order_acquire); // with stop
    }

    std::error_code run_turns(bool until_stopped) noexcept {
        const turn_scope scope{*this};
        while (!take_stop()) {
            if (turn(true)) { continue; }
            if (!until_stopped) { break; }
            const detail::futex_word unchanged{0};
            detail::futex_wait(unchanged, 0, std::chrono::milliseconds{10});
        }
        leave_to_host();
        return error();
    }

    /// What is ready now, once; then the kernel, when there is nothing else to do or it has waited for long enough.
    /// Returns: false when the loop has failed and nothing is left to do.
    bool turn(bool may_block) noexcept {
        constexpr unsigned turns_without_kernel = 61;
        const bool worked = run_batch();
        const bool idle = local_ == nullptr && !worked;
        if (!idle && may_block && ++turns_ % turns_without_kernel != 0) { return true; }
        if (is_broken()) [[unlikely]] {
            end_waits();
            return !idle;
        }
        look(may_block && idle);
        return true;
    }

    /// Lets timers and watches have their turn.
    void look(bool may_block) noexcept {
        const bool is_due = next_due() < kernel_timer_ && next_due() <= now(); // the kernel need not say so
        if (!is_due) { update_kernel_timer(); }
        if (is_broken()) { return; }
        wait(may_block && !is_due && !comes_soon() && may_sleep());
        is_about_to_wait_ = 0;
        fire_timers();
    }

    void call(work& w) noexcept {
        ++calls_;
        w.call(w, disposition::run);
    }

    void update_kernel_timer() noexcept {
        if (const time_point due = next_due(); due < kernel_timer_) {
            kernel_timer_ = due;
            set_kernel_timer(due);
        }
    }

    /// While no turn is going to come by itself a host may be asleep on fd(): the kernel must know everything.
    void flush_outside_turn() noexcept {
        if (is_broken()) { return; }
        update_kernel_timer();
        flush();
    }

    void notify() noexcept {
        if (!is_broken()) { wake(); }
    }

    /// From here on nothing but posted work is done.
    void end_with(std::error_code why) noexcept {
        failure_ = why;
        earliest_ = time_point::max();                      // what is armed anew comes after what was armed before
        has_failed_.store(true, std::memory_order_release); // with error
    }

    /// The loop has failed: tells what waits for timers and descriptors.
    void end_waits() noexcept {
        if (!has_failed_.load(std::memory_order_relaxed)) { end_with(errc::forked); }
        while (fd_watch* w = watches_.any()) { give_up(*w, disposition::fail); }
        const std::uint64_t armed_anew = timers_.next_order();
        while (!timers_.empty() && timers_.top()->order < armed_anew) { give_up_timer(disposition::fail); }
    }

    void give_up(fd_watch& w, disposition d) noexcept {
        watches_.remove(w);
        w.active = false;
        w.revents = POLLERR;
        ++calls_;
        w.call(w, d);
    }

    void give_up_timer(disposition d) noexcept {
        timer& t = static_cast<timer&>(*timers_.top());
        disarm(t);
        ++calls_;
        t.call(t, d);
    }

    /// A post from now on wakes the loop, and so does a signal handler that stops it.
    /// Returns: whether neither has been done before.
    [[nodiscard]] bool may_sleep() noexcept {
        is_about_to_wait_ = 1;
        detail::compiler_fence(); // with stop
        return fall_asleep() && !stopped_.load(std::memory_order_relaxed);
    }

    /// A post from now on wakes the loop. Returns: whether nothing has been posted by another thread before.
    [[nodiscard]] bool fall_asleep() noexcept {
        work* head = nullptr;
        return remote_.compare_exchange_strong(head, &asleep_, std::memory_order_relaxed, std::memory_order_relaxed) ||
               head == &asleep_;
    }

    /// Whether another thread posts something in a moment, where such looks pay. Two threads that hand things to each other would
    /// otherwise wake each other every time: each is asleep again before the other one is awake.
    [[nodiscard]] bool comes_soon() noexcept {
        if (!look_for_posts_.pays()) { return false; }
        for (unsigned i = 0; i < detail::looks_before_sleep; ++i) {
            work* head = remote_.load(std::memory_order_relaxed);
            if (head != nullptr && head != &asleep_) {
                look_for_posts_.helped();
                return true;
            }
            detail::spin_hint();
        }
        look_for_posts_.was_in_vain();
        return false;
    }

    void run_deferred() noexcept {
        while (deferred_ != nullptr) {
            work& w = *deferred_;
            deferred_ = w.next;
            w.call(w, disposition::run);
        }
    }

    /// The last turn is over: has a host come back for whatever it has left.
    void leave_to_host() noexcept {
        run_deferred();
        flush_outside_turn();
        const bool nothing_posted = fall_asleep();
        if (local_ != nullptr || !nothing_posted) { notify(); }
    }

    /// Runs the work that was posted when the batch began: work posted by it waits for the next, so that nothing starves. Nor
    /// do timers and watches: they are looked after as soon as the coarse clock has ticked.
    bool run_batch() noexcept {
        take_remote();
        work* batch = std::exchange(local_, nullptr);
        local_end_ = &local_;
        const bool any = batch != nullptr;
        while (batch != nullptr) {
            work& w = *batch;
            batch = w.next;
            call(w);
            if (--calls_before_clock_ == 0 && clock_has_ticked() && !is_broken()) [[unlikely]] { look(false); }
        }
        if (deferred_ != nullptr) [[unlikely]] { run_deferred(); } // also of what timers and watches have run
        return any;
    }

    /// A look at the clock costs as much as a short piece of work: it is taken after a few, and after each once they are long.
    [[nodiscard]] bool clock_has_ticked() noexcept {
        constexpr unsigned few = 32;
        const time_point time = has_virtual_time() ? time_point{} : coarse_clock();
        const bool ticked = std::exchange(last_tick_, time) != time;
        calls_before_clock_ = ticked ? 1 : few;
        return ticked;
    }

    void append_local(work& w) noexcept {
        w.next = nullptr;
        *local_end_ = &w;
        local_end_ = &w.next;
    }

    /// Other threads push on a stack; taken whole and turned round it is a queue. The loop is awake then.
    void take_remote() noexcept {
        work* stack = remote_.load(std::memory_order_relaxed) == nullptr
                          ? nullptr
                          : remote_.exchange(nullptr, std::memory_order_acquire); // with post
        if (stack == &asleep_) { stack = nullptr; }
        work* queue = nullptr;
        while (stack != nullptr) {
            work* rest = stack->next;
            stack->next = queue;
            queue = stack;
            stack = rest;
        }
        while (queue != nullptr) {
            work* rest = queue->next;
            append_local(*queue);
            queue = rest;
        }
    }

    void fire_timers() noexcept {
        if (timers_.empty()) { return; }
        const time_point time = now();
        const std::uint64_t armed_anew = timers_.next_order(); // by those that are called: the next turn's
        earliest_ = std::max(earliest_, time);
        while (!timers_.empty() && timers_.top()->when <= time && timers_.top()->order < armed_anew) {
            timer& t = static_cast<timer&>(*timers_.top());
            disarm(t);
            call(t);
        }
        if (!has_failed_.load(std::memory_order_relaxed)) { earliest_ = time_point::min(); }
    }

    void discard_all() noexcept {
        while (fd_watch* w = watches_.any()) { give_up(*w, disposition::discard); }
        while (!timers_.empty()) { give_up_timer(disposition::discard); } // some post what waits no more
        take_remote();
        while (local_ != nullptr) {
            work& w = *local_;
            local_ = w.next;
            if (local_ == nullptr) { local_end_ = &local_; }
            w.call(w, disposition::discard);
            take_remote();
        }
    }

    static void never(work&, disposition) noexcept {}

    work asleep_{never};                         // stands in remote_ while the loop sleeps: nothing is posted
    detail::atomic<work*> remote_{&asleep_};     // a stack: posted by other threads, or while no thread runs the loop
    detail::atomic<detail::thread_id> runner_{}; // the thread in run or poll
    detail::atomic<bool> stopped_{false};
    detail::atomic<bool> has_failed_{false};
    detail::atomic<std::size_t> users_{0};
    const detail::atomic<time_point>* virtual_time_ = nullptr; // invariant: null for the steady clock
    clock::duration coarse_lag_{};
    detail::fork_mark mark_;  // of a loop whose kernel objects a child would share
    std::error_code failure_; // invariant: does not change any more when has_failed_
    work* local_ = nullptr;   // a queue: the loop thread's alone
    work** local_end_ = &local_;
    work* deferred_ = nullptr; // a stack: until the end of what is running
    detail::timer_heap timers_;
    time_point kernel_timer_ = time_point::max(); // the time last given to set_kernel_timer; earlier ones are a waste
    time_point earliest_ = time_point::min();     // of what is armed now: nothing goes before what is due already
    time_point last_tick_{};                      // of the coarse clock, as far as work has seen it
    unsigned calls_before_clock_ = 1;
    volatile std::sig_atomic_t is_about_to_wait_ = 0; // the loop's thread's, and its signal handlers'
    unsigned turns_ = 0;
    detail::adaptive_spin look_for_posts_; // before sleeping
    std::uint64_t calls_ = 0;              // of work, timers and watches so far
};

} // namespace dmasync::inline DMASYNC_ABI
