// SPDX-License-Identifier: MIT
#include <dmasync/domain.hpp>
#include <dmasync/manual_loop.hpp>
#include <dmasync/observe/snapshot.hpp>
#include <dmasync/observe/stuck_after.hpp>
#include <dmasync/run_transaction.hpp>
#include <dmasync/transaction.hpp>

#include <sim/actor.hpp>
#include <sim/book.hpp>
#include <sim/checker.hpp>
#include <sim/kernel.hpp>
#include <sim/report.hpp>
#include <sim/scheduler.hpp>
#include <sim/world.hpp>

#include <support/snapshot_checker.hpp>

#include <algorithm>
#include <array>
#include <cstddef>
#include <cstdint>
#include <deque>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include <linux/dma-buf.h>

#ifndef DMA_BUF_IOCTL_EXPORT_SYNC_FILE
#define DMA_BUF_IOCTL_EXPORT_SYNC_FILE _IOWR(DMA_BUF_BASE, 2, struct dma_buf_export_sync_file)
#define DMA_BUF_IOCTL_IMPORT_SYNC_FILE _IOW(DMA_BUF_BASE, 3, struct dma_buf_import_sync_file)
#endif

namespace sim {

namespace {

using namespace dmasync;

constexpr int last_thread = max_threads - 1;
constexpr std::int64_t ms = 1'000'000;
constexpr std::uint64_t operations_per_snapshot = 8;

/// A buffer of the program's, as far as there is one just now.
struct slot {
    buffer handle;
    int users = 0; // threads that are copying the handle
    int dma_buf = nothing;
    int fd = -1; // the simulation's own descriptor of it
};

/// Lets a turn of a loop pass, always: `resume_on` does not when it is there already.
class next_turn {
public:
    explicit next_turn(event_loop& l) noexcept : loop_{l}, turn_{*this} {}
    next_turn(const next_turn&) = delete;
    next_turn& operator=(const next_turn&) = delete;

    [[nodiscard]] bool await_ready() const noexcept { return false; }
    void await_suspend(std::coroutine_handle<> h) noexcept {
        waiter_ = h;
        loop_.post(turn_);
    }
    void await_resume() const noexcept {}

private:
    struct pending : work {
        explicit pending(next_turn& t) noexcept : work{take}, owner{t} {}
        static void take(work& w, disposition d) noexcept {
            if (d == disposition::run) { static_cast<pending&>(w).owner.waiter_.resume(); }
        }
        next_turn& owner;
    };

    event_loop& loop_;
    std::coroutine_handle<> waiter_;
    pending turn_;
};

/// A set that a thread locks again and again, and what is in it.
struct shared_set {
    std::unique_ptr<lock_set> set;
    std::array<detail::request, 6> wants{};
    std::size_t size = 0;
};

class world;
world* the_world = nullptr;

/// A turn of a loop in which an operation is done.
struct turn : work {
    explicit turn(int number) noexcept : work{run}, operation{number} {}
    static void run(work& w, disposition d) noexcept;
    int operation;
};

class world {
public:
    world(const program& p, const selection& part) : p_{p}, part_{part} {}

    void set_up() {
        the_world = this;
        for (int i = 0; i < p_.loops; ++i) { loops_.at(static_cast<std::size_t>(i)).emplace(clock_); }
        start_time_ = loop(0).now().time_since_epoch().count();
        time_of_notes = start_time_;
        const domain_options options = options_of_domain();
        media_.emplace(loop(0), options);
        detail::inspector::restart(*media_, loop(0), options, p_.first_ticket);
        checker_.watch(detail::inspector::state_of(*media_), p_.wait_die);
        actors_.resize(p_.operations.size());
        works_.assign(p_.operations.size(), nothing);
        checker_.stopped.assign(p_.operations.size(), false);
        slots_.resize(static_cast<std::size_t>(p_.buffers));
        for (int b = 0; b < p_.buffers; ++b) { make_buffer(b); }
        if (!p_.single_threaded) { // the bias is for the threads of the run
            detail::inspector::forget_users(detail::inspector::state_of(*media_));
        }
    }

    void run_all() {
        for (int t = 0; t < p_.threads; ++t) {
            spawn(t, [](int number) { the_world->live(number); });
        }
        spawn(last_thread, [](int) { the_world->end(); });
        if (!run_threads()) { return; }
        spawn(0, [](int) { the_world->tear_down(); });
        run_threads();
    }

    void do_operation(int number) {
        const operation& o = p_.operations[static_cast<std::size_t>(number)];
        ++steps;
        if ((p_.seed + static_cast<std::uint64_t>(number)) % operations_per_snapshot == 0) { take_snapshot(); }
        switch (o.what) {
        case verb::lock:
        case verb::lock_set:
        case verb::try_lock:
        case verb::block:
        case verb::transact: ask(number, o); break;
        case verb::begin_work: begin_work_on(number, o); break;
        case verb::end_work: end_work_of(o); break;
        case verb::pass_time: pass_time(o.amount); break;
        case verb::poll: poll_loop(o.thread); break;
        case verb::inject: inject_errors(o); break;
        case verb::close_buffer: close_buffer(o.buffer); break;
        case verb::drop_buffer: drop_buffer(o.buffer); break;
        case verb::import_again: import_again(o.buffer); break;
        case verb::close_domain: close_domain(); break;
        default: act(number, o);
        }
    }

    checker& watcher() { return checker_; }
    book& holdings() { return book_; }

    [[nodiscard]] std::uint64_t retries() const { return retries_; }

    std::uint64_t steps = 0;

private:
    manual_loop& loop(int i) { return *loops_.at(static_cast<std::size_t>(i)); }
    [[nodiscard]] bool has_loop(int thread) const { return thread < p_.loops; }
    slot& slot_of(int b) { return slots_[static_cast<std::size_t>(b)]; }

    [[nodiscard]] domain_options options_of_domain() {
        domain_options o{.lease = std::chrono::nanoseconds{p_.lease},
                         .name = "simulation",
                         .report = [this](const lease_report& r) { take_report(r); },
                         .overdue_limit = std::chrono::nanoseconds{p_.overdue_limit},
                         .policy = p_.wait_die ? deadlock_policy::wait_die : deadlock_policy::wound_wait,
                         .single_threaded = p_.single_threaded,
                         .reserve = p_.reserve};
        if (!p_.reports_leases) { o.report = nullptr; }
        if (p_.stuck_after != 0) {
            stuck_report_sink sink = [this](const stuck_report& r) { take_stuck_report(r); };
            o.stuck = stuck_after(std::chrono::nanoseconds{p_.stuck_after}, p_.reports_stuck ? sink : nullptr);
        }
        return o;
    }

    // ---- threads -----------------------------------------------------------------------------------------------------

    /// A thread does its operations, then what its loop has to do, until the end of the run.
    void live(int thread) {
        for (std::size_t i = 0; i < p_.operations.size() && !ending_; ++i) {
            const operation& o = p_.operations[i];
            if (o.thread != thread || !part_.has(i)) { continue; }
            if (o.in_turn) {
                do_in_turn(thread, static_cast<int>(i));
            } else {
                do_operation(static_cast<int>(i));
            }
            point();
        }
        if (thread == p_.closed) { close_loop(thread); }
        for (int i = 0; i < 10 && !ending_; ++i) {
            poll_loop(thread);
            yield();
        }
        ++finished_;
        while (!over_) {
            if (has_loop(thread) && ending_) {
                while (loop(thread).poll()) {}
            }
            sleep_soundly_on(&over_);
        }
    }

    void do_in_turn(int thread, int number) {
        turn t{number};
        loop(thread).post(t);
        loop(thread).poll();
    }

    /// No claim waits on the loop afterwards, but where another thread is about to make the loop known to the domain: that is
    /// posted later, and run at the end. So is what another thread has granted and is about to post.
    void close_loop(int thread) {
        note("loop %d is closed", thread);
        closed_something_ = true;
        loop(thread).close();
        const undisturbed here;
        if (!media_ || closing_ || is_becoming_known(loop(thread))) { return; }
        detail::inspector::state_of(*media_).pool.for_each_begun([&](const detail::claim& c) {
            const detail::phase p = c.state_now();
            const bool waits = p == detail::phase::waiting || p == detail::phase::fenced;
            if (waits && !c.is_blocking() && !c.posted && c.loop == &loop(thread)) {
                violated(invariant::answers, "a claim waits on loop %d, which is closed", thread);
            }
        });
    }

    [[nodiscard]] bool is_becoming_known(const event_loop& l) {
        const detail::domain_state& d = detail::inspector::state_of(*media_); // no other thread does a step meanwhile
        if (&l == &d.loop) { return d.home.called; }
        for (const detail::sleeper* s = d.elsewhere.front(); s != nullptr; s = d.elsewhere.next(*s)) {
            const auto& record = static_cast<const detail::waiting_loop&>(*s);
            if (&record.loop == &l) { return record.called; }
        }
        return false;
    }

    /// Some loops stall: theirs is a holder that computes, or a host that does not come back. It polls at the end of the run.
    void poll_loop(int thread) {
        if (!has_loop(thread) || thread == p_.closed || (p_.stalled >> static_cast<unsigned>(thread) & 1U) != 0) {
            return;
        }
        const auto begun = loop(thread).now();
        for (int turns = 0; turns < 3; ++turns) { // what is granted late may end in the next turn
            loop(thread).poll();
            const undisturbed here;
            if (!media_ || closing_ || !checker_.is_watching()) { return; }
            if (checker_.has_kept_time(loop(thread), begun)) { return; }
        }
        violated(invariant::lease, "loop %d, on which claims wait, has not kept the time", thread);
    }

    // ---- asking ------------------------------------------------------------------------------------------------------

    void ask(int number, const operation& o) {
        auto& place = actors_[static_cast<std::size_t>(number)];
        place = std::make_unique<actor>();
        actor& a = *place;
        a.id = number;
        if (o.what == verb::lock_set ? !choose_set(a, o) : !choose_buffers(a, o)) {
            place.reset();
            return;
        }
        if (o.what == verb::transact && (!media_ || closing_)) {
            place.reset();
            return;
        }
        choose_options(a, o);
        a.asked = &o;
        a.uses_before = uses_so_far();
        note("#%d asks", number);
        switch (o.what) {
        case verb::block:
            if (a.set == nullptr) {
                a.parts[0].held = any_lock{a}.block_and_take();
            } else {
                a.parts[0].held = a.bare ? a.set->blocking_lock(a.ec) : a.set->blocking_lock(a.options, a.ec);
            }
            break;
        case verb::try_lock: a.parts[0].held = any_lock{a}.try_and_take(); break;
        case verb::transact:
            if (!o.blocks) {
                a.coroutine = o.runs ? transact_by_itself(*this, a) : transact(*this, a);
                a.begun = true;
                return;
            }
            transact_blocking(a);
            break;
        default:
            a.coroutine = acquire(*this, a);
            a.begun = true;
            if (a.own_set != nullptr && a.id % 3 == 0) { a.own_set.reset(); } // what waits for it goes on
            return;
        }
        settle(a);
    }

    // ---- transactions ------------------------------------------------------------------------------------------------

    /// A transaction with the options of the actor, if it has any.
    struct own_transaction {
        own_transaction(domain& d, const actor& a) {
            if (a.bare) {
                made.emplace(d);
            } else {
                made.emplace(d, a.options);
            }
        }
        std::optional<transaction> made;
    };

    static probe transact(world& w, actor& a) {
        own_transaction own{*w.media_, a};
        transaction& tx = *own.made;
        std::error_code ec;
        guard held = co_await attempt(tx, w, a);
        while (tx.must_restart()) {
            ++w.retries_;
            co_await tx.restart(ec);
            if (ec) {
                a.ec = ec;
                break;
            }
            held = co_await attempt(tx, w, a);
        }
        a.parts[0].held = std::move(held);
        w.settle(a);
    }

    static probe transact_by_itself(world& w, actor& a) {
        std::error_code ec;
        a.parts[0].held = co_await run_transaction(*w.media_, a.options, ec, attempt, std::ref(w), std::ref(a));
        if (ec) { a.ec = ec; }
        if (ec && a.wounded) { ++w.retries_; } // it was to begin again, but did not come to that
        w.settle(a);
    }

    void transact_blocking(actor& a) {
        own_transaction own{*media_, a};
        transaction& tx = *own.made;
        for (;;) {
            begin_attempt(a);
            std::error_code ec;
            for (std::size_t i = 0; i < a.size; ++i) {
                if (!has_tried(tx, a, i, ec)) { lock_blocking(tx, a, i, ec); }
                if (!extended(tx, a, i, ec)) { break; }
            }
            a.parts[0].held = end_attempt(tx, a, ec);
            if (!tx.must_restart()) { return; }
            ++retries_;
            tx.blocking_restart(ec);
            a.ec = ec;
            if (ec) { return; }
        }
    }

    /// One buffer after the other, in the order of the wishes.
    static task<guard> attempt(transaction& tx, world& w, actor& a) {
        w.begin_attempt(a);
        std::error_code ec;
        for (std::size_t i = 0; i < a.size; ++i) {
            if (a.asked->pauses) {
                a.pausing = true;
                co_await next_turn{w.loop(a.asked->on == nothing ? 0 : a.asked->on)};
                a.pausing = false;
            }
            const buffer& b = a.handles.at(i);
            if (a.asked->pairs && i + 1 < a.size) {
                const buffer& next = a.handles.at(i + 1);
                if (is_write(a.wants.at(i).mode)) {
                    co_await tx.lock(dmasync::write(b), dmasync::read(next), ec);
                } else {
                    co_await tx.lock(dmasync::read(b), dma_write(next), ec);
                }
                if (!w.extended_by_two(tx, a, i, ec)) { break; }
                ++i;
                continue;
            }
            if (w.has_tried(tx, a, i, ec)) {
                if (!w.extended(tx, a, i, ec)) { break; }
                continue;
            }
            switch (a.wants.at(i).mode) {
            case access_mode::read: co_await tx.lock(dmasync::read(b), ec); break;
            case access_mode::write: co_await tx.lock(dmasync::write(b), ec); break;
            case access_mode::read_write: co_await tx.lock(read_write(b), ec); break;
            case access_mode::dma_read: co_await tx.lock(dma_read(b), ec); break;
            case access_mode::dma_write: co_await tx.lock(dma_write(b), ec); break;
            case access_mode::dma_read_write: co_await tx.lock(dma_read_write(b), ec); break;
            }
            if (!w.extended(tx, a, i, ec)) { break; }
        }
        guard held = w.end_attempt(tx, a, ec);
        co_return held;
    }

    /// Tries before it waits, if it is one that does. Returns: whether it has an answer by that.
    bool has_tried(transaction& tx, const actor& a, std::size_t i, std::error_code& ec) {
        if (!a.asked->tries) { return false; }
        const buffer& b = a.handles.at(i);
        bool has = false;
        switch (a.wants.at(i).mode) {
        case access_mode::read: has = tx.try_lock(dmasync::read(b), ec); break;
        case access_mode::write: has = tx.try_lock(dmasync::write(b), ec); break;
        case access_mode::read_write: has = tx.try_lock(read_write(b), ec); break;
        case access_mode::dma_read: has = tx.try_lock(dma_read(b), ec); break;
        case access_mode::dma_write: has = tx.try_lock(dma_write(b), ec); break;
        case access_mode::dma_read_write: has = tx.try_lock(dma_read_write(b), ec); break;
        }
        if (has == static_cast<bool>(ec)) { violated(invariant::answers, "#%d has it, or an error, not both", a.id); }
        if (!ec && !tx.holds(b)) { violated(invariant::answers, "#%d has not what it got", a.id); }
        return ec != errc::would_block;
    }

    static void lock_blocking(transaction& tx, const actor& a, std::size_t i, std::error_code& ec) {
        const buffer& b = a.handles.at(i);
        switch (a.wants.at(i).mode) {
        case access_mode::read: tx.blocking_lock(dmasync::read(b), ec); break;
        case access_mode::write: tx.blocking_lock(dmasync::write(b), ec); break;
        case access_mode::read_write: tx.blocking_lock(read_write(b), ec); break;
        case access_mode::dma_read: tx.blocking_lock(dma_read(b), ec); break;
        case access_mode::dma_write: tx.blocking_lock(dma_write(b), ec); break;
        case access_mode::dma_read_write: tx.blocking_lock(dma_read_write(b), ec); break;
        }
    }

    /// The oldest is never wounded, so none begins again for ever.
    void begin_attempt(actor& a) {
        constexpr int too_many = 100;
        note("#%d makes attempt %d", a.id, a.attempts);
        if (++a.attempts > too_many) { violated(invariant::ends, "#%d begins again and again", a.id); }
        if (a.asked->runs && !a.asked->blocks && a.attempts > 1) { ++retries_; }
        a.has = {};
        a.wounded = false;
        a.ec = {};
        a.wants = a.wishes;
    }

    /// A lock of a transaction has its answer. Returns: whether it goes on.
    bool extended(transaction& tx, actor& a, std::size_t i, const std::error_code& ec) {
        note("#%d locks its buffer %d: error %d", a.id, static_cast<std::int64_t>(i), ec.value());
        const bool has_it = has_before(a, i);
        if (ec == errc::already_locked) {
            if (!has_it) { violated(invariant::answers, "#%d does not have what it is said to have", a.id); }
            return true;
        }
        if (has_it && !ec) { violated(invariant::exclusive, "#%d has a buffer twice", a.id); }
        if (ec) { return false; }
        a.has.at(i) = true;
        book_.add({a.id, nullptr, a.wants.at(i).buffer, a.wants.at(i).mode, nothing, 0, &tx});
        do_in_between(tx, a, i);
        return true;
    }

    /// Both, or neither.
    bool extended_by_two(transaction& tx, actor& a, std::size_t i, const std::error_code& ec) {
        const bool writes = is_write(a.wants.at(i).mode);
        a.wants.at(i).mode = writes ? access_mode::write : access_mode::read;
        a.wants.at(i + 1).mode = writes ? access_mode::read : access_mode::dma_write;
        if (ec == errc::already_locked) {
            if (!has_before(a, i) && !has_before(a, i + 1)) { violated(invariant::answers, "#%d has neither", a.id); }
            return true;
        }
        if (ec) { return false; }
        if (a.wants.at(i).buffer == a.wants.at(i + 1).buffer || has_before(a, i) || has_before(a, i + 1)) {
            violated(invariant::exclusive, "#%d has a buffer twice", a.id);
        }
        for (const std::size_t k : {i, i + 1}) {
            a.has.at(k) = true;
            book_.add({a.id, nullptr, a.wants.at(k).buffer, a.wants.at(k).mode, nothing, 0, &tx});
        }
        return true;
    }

    [[nodiscard]] static bool has_before(const actor& a, std::size_t i) {
        for (std::size_t k = 0; k < i; ++k) {
            if (a.has.at(k) && a.wants.at(k).buffer == a.wants.at(i).buffer) { return true; }
        }
        return false;
    }

    /// Something that a transaction may do with what it has, sometimes.
    void do_in_between(transaction& tx, actor& a, std::size_t i) {
        const auto what = static_cast<unsigned>(a.asked->amount >> (2 * i)) & 15U;
        const std::size_t k = what % (i + 1);
        if (!a.has.at(k)) { return; }
        const buffer& b = a.handles.at(k);
        std::error_code ec;
        if (what < 3) {
            book_.remove(tx, a.wants.at(k).buffer);
            tx.release(b, ec);
            a.has.at(k) = ec && ec != errc::lease_expired && !is_injected(ec); // the kernel's refusal stops nothing
        } else if (what < 6) {
            book_.remove(tx, a.wants.at(k).buffer);
            tx.downgrade(b, ec);
            if (!ec || is_injected(ec)) { a.wants.at(k).mode = as_reader(a.wants.at(k).mode); }
        } else if (what < 9) {
            const bool up = tx.try_upgrade(b, ec);
            if (up) { a.wants.at(k).mode = as_writer(a.wants.at(k).mode); }
        } else if (what == 9) {
            static_cast<void>(tx.renew(std::chrono::nanoseconds{p_.lease}, ec));
        }
        note("#%d does %d in between: error %d", a.id, what, ec.value());
        const bool good = !ec || ec == errc::lease_expired || ec == errc::would_block || is_injected(ec);
        if (!good) { violated(invariant::answers, "#%d in between: %s", a.id, ec.message().c_str()); }
    }

    [[nodiscard]] bool is_injected(const std::error_code& ec) const {
        return injected_ && ec && ec.category() != dmasync::error_category();
    }

    [[nodiscard]] guard end_attempt(transaction& tx, actor& a, std::error_code ec) {
        book_.remove(tx);
        if (ec && ec != errc::already_locked) {
            a.ec = ec;
            a.wounded = ec == errc::wounded;
            if ((ec == errc::wounded) != tx.must_restart()) { violated(invariant::answers, "#%d: must_restart", a.id); }
            return {};
        }
        const bool has_something = std::any_of(a.has.begin(), a.has.end(), [](bool b) { return b; });
        guard held = tx.done(ec);
        note("#%d is complete: error %d", a.id, ec.value());
        a.ec = ec;
        if (bool{held} != !ec) { violated(invariant::answers, "done() with an error, or none without"); }
        const bool good = !ec || ec == errc::lease_expired || (ec == errc::not_locked && !has_something);
        if (!good) { violated(invariant::answers, "#%d: done(): %s", a.id, ec.message().c_str()); }
        return held;
    }

    static probe acquire(world& w, actor& a) {
        if (a.set != nullptr && a.bare) {
            a.parts[0].held = co_await a.set->lock(a.ec);
        } else if (a.set != nullptr) {
            a.parts[0].held = co_await a.set->lock(a.options, a.ec);
        } else {
            a.parts[0].held = co_await any_lock{a};
        }
        w.settle(a);
    }

    /// Returns: whether there is a handle of every buffer.
    bool choose_buffers(actor& a, const operation& o) {
        for (int i = 0; i < o.size; ++i) {
            const wish& w = o.wishes.at(static_cast<std::size_t>(i));
            if ((part_.without_buffers >> static_cast<unsigned>(w.buffer) & 1U) != 0) { continue; }
            slot& s = slot_of(w.buffer);
            ++s.users;
            a.handles.at(a.size) = s.handle;
            --s.users;
            if (!a.handles.at(a.size)) {
                if (a.size == 0 || o.what == verb::lock_set) { return false; }
                a.empty_handle = true;
            }
            a.wants.at(a.size) = {dmasync::read(a.handles.at(a.size)).node, w.mode};
            ++a.size;
        }
        a.wishes = a.wants;
        return a.size != 0 || o.size == 0;
    }

    /// A set of the actor's own, or that of its thread: locked again, changed, or found to be in use.
    bool choose_set(actor& a, const operation& o) {
        if (!media_ || closing_ || !choose_buffers(a, o)) { return false; }
        const bool shared = a.id % 2 == 0;
        auto& its = shared ? sets_.at(static_cast<std::size_t>(o.thread)).set : a.own_set;
        if (its == nullptr) {
            ++domain_users_;
            its = std::make_unique<lock_set>(*media_, "set", options_of_set(o, shared));
            --domain_users_;
        }
        a.set = its.get();
        std::error_code in_use;
        a.set->clear(in_use);
        if (in_use) {
            if (!shared || in_use != errc::already_locked || !is_in_use(a.set)) {
                violated(invariant::answers, "lock_set::clear: %s", in_use.message().c_str());
            }
            take_over(a, sets_.at(static_cast<std::size_t>(o.thread)));
            return true;
        }
        fill_set(a);
        if (shared) { remember_set(a, sets_.at(static_cast<std::size_t>(o.thread))); }
        return true;
    }

    /// A set that is locked once may have the lease of the lock as its own.
    [[nodiscard]] static lock_options options_of_set(const operation& o, bool shared) {
        lock_options options;
        if (o.by_set && !shared && o.lease > 0) { options.lease = std::chrono::nanoseconds{o.lease}; }
        return options;
    }

    /// Whether this set may still be waited for or hold; a device's hold ends unseen.
    [[nodiscard]] bool is_in_use(const lock_set* s) const {
        return std::any_of(actors_.begin(), actors_.end(), [s](const auto& a) {
            return a != nullptr && a->set == s && a->asked != nullptr &&
                   (a->waits() || a->busy || a->gone_to_device || a->parts[0].held);
        });
    }

    /// What stands twice in the wishes is in the set once.
    static void fill_set(actor& a) {
        std::size_t n = 0;
        for (std::size_t i = 0; i < a.size; ++i) {
            std::error_code ec;
            a.set->add(a.handles.at(i), a.wants.at(i).mode, ec);
            if (ec && ec != errc::duplicate_buffer) {
                violated(invariant::answers, "lock_set::add: %s", ec.message().c_str());
            }
            if (!ec) { a.wants.at(n++) = a.wants.at(i); }
        }
        a.size = n;
    }

    static void remember_set(const actor& a, shared_set& s) {
        s.wants = a.wants;
        s.size = a.size;
    }

    static void take_over(actor& a, const shared_set& s) {
        a.wants = s.wants;
        a.size = s.size;
    }

    void choose_options(actor& a, const operation& o) {
        if (o.stoppable) {
            a.stop.emplace();
            a.token = a.stop->get_token();
            a.options.stop = a.token;
        }
        const bool by_set = o.by_set && a.set == a.own_set.get() && a.set != nullptr && o.lease > 0;
        if (o.lease != 0 && !by_set) {
            a.options.lease = o.lease == -1 ? no_lease : std::chrono::nanoseconds{o.lease == -2 ? 0 : o.lease};
        }
        if (o.deadline != 0) {
            a.options.deadline = event_loop::later(time_now(), std::chrono::nanoseconds{o.deadline});
        }
        if (o.on != nothing) { a.options.on = &loop(o.on); }
        if (o.always) { a.options.cpu_access = cpu_access::always; }
        if (o.ignore) { a.options.fences = fences::ignore; }
        if (o.fence_timeout != 0) {
            a.options.fence_timeout = o.fence_timeout < 0 ? no_lease : std::chrono::nanoseconds{o.fence_timeout};
        }
        const bool any = o.stoppable || (o.lease != 0 && !by_set) || o.deadline != 0 || o.on != nothing || o.always ||
                         o.ignore || o.fence_timeout != 0;
        a.bare = !any && a.id % 4 != 0; // what has the mark of no options has no user either, to be told apart by
        // NOLINTNEXTLINE(performance-no-int-to-ptr)
        a.options.user = reinterpret_cast<void*>(static_cast<std::intptr_t>(a.id) + 1);
    }

    [[nodiscard]] static event_loop::time_point time_now() {
        return event_loop::time_point{std::chrono::nanoseconds{time_of_notes}};
    }

    /// An acquisition has its outcome.
    void settle(actor& a) {
        if (a.destroyed) { violated(invariant::outcome, "#%d was resumed though it is gone", a.id); }
        if (a.done) { violated(invariant::outcome, "#%d was told twice", a.id); }
        if (a.parts[0].held) {
            if (a.ec) { violated(invariant::answers, "#%d was granted with an error", a.id); }
            note("#%d holds", a.id);
            begin_holding(a);
        } else {
            note("#%d is refused: error %d", a.id, a.ec.value());
            ++refused_;
            check_refusal(a);
        }
        if (a.asked->what != verb::transact) { a.handles = {}; }
        const bool quick = a.asked->quick && a.parts[0].held;
        a.busy = quick;
        a.done = true;
        if (quick) {
            unlock(a, a.parts[0]);
            a.busy = false;
        }
    }

    void begin_holding(actor& a) {
        part& p = a.parts[0];
        for (std::size_t i = 0; i < a.size; ++i) {
            if (a.asked->what == verb::transact && !a.has.at(i)) { continue; }
            book_.add({a.id, &p.held, a.wants.at(i).buffer, a.wants.at(i).mode, nothing, 0});
        }
        p.ends = p.held.expires_at().time_since_epoch().count();
        if (!a.asked->ignore) { check_fences(a); }
    }

    void check_fences(const actor& a) const {
        for (const slot& s : slots_) {
            if (s.dma_buf == nothing || !s.handle) { continue; }
            const book::holding* h = book_.find(a.parts[0].held, dmasync::read(s.handle).node);
            if (h != nullptr && sim::is_in_use(s.dma_buf, is_write(h->mode), a.uses_before)) {
                violated(invariant::fence, "#%d holds dma-buf %d, and a device is still at work on it", a.id,
                         s.dma_buf);
            }
        }
    }

    void check_refusal(const actor& a) {
        const auto value = static_cast<errc>(a.ec.value());
        if (a.ec.category() != dmasync::error_category()) {
            if (!injected_ || p_.dma_bufs == 0) {
                violated(invariant::answers, "#%d: %s", a.id, a.ec.message().c_str());
            }
            return;
        }
        if (!may_be_refused(a, value)) { violated(invariant::answers, "#%d: %s", a.id, a.ec.message().c_str()); }
    }

    [[nodiscard]] bool may_be_refused(const actor& a, errc why) const {
        const operation& o = *a.asked;
        switch (why) {
        case errc::timed_out: return o.deadline != 0 && time_of_notes >= a.options.deadline.time_since_epoch().count();
        case errc::cancelled: return o.stoppable && a.stop->stop_requested();
        case errc::would_block: return o.what == verb::try_lock;
        case errc::invalid_lease: return o.lease == -2;
        case errc::wrong_domain: return a.empty_handle;
        case errc::empty_set: return a.set != nullptr && a.size == 0;
        case errc::not_locked: return o.what == verb::transact;
        case errc::duplicate_buffer:
            return a.set == nullptr && (o.what != verb::transact || o.pairs) && has_duplicate(a);
        case errc::already_locked: return a.set != nullptr;
        case errc::closed: return closed_something_;
        case errc::fence_failed:
        case errc::fence_timed_out: return p_.dma_bufs != 0;
        case errc::lease_expired: return o.lease != -1;
        default: return false;
        }
    }

    [[nodiscard]] static bool has_duplicate(const actor& a) {
        for (std::size_t i = 0; i < a.size; ++i) {
            for (std::size_t k = 0; k < i; ++k) {
                if (a.wants.at(i).buffer == a.wants.at(k).buffer) { return true; }
            }
        }
        return false;
    }

    // ---- acting ------------------------------------------------------------------------------------------------------

    void act(int number, const operation& o) {
        actor* a = o.target == nothing ? nullptr : actors_[static_cast<std::size_t>(o.target)].get();
        if (a == nullptr || a->asked == nullptr) { return; }
        if (o.what == verb::request_stop) {
            if (a->stop) {
                note("stop is requested of #%d", a->id);
                if (a->stop->request_stop() && !a->destroyed) {
                    checker_.stopped[static_cast<std::size_t>(a->id)] = true;
                }
            }
            return;
        }
        if (o.what == verb::destroy) {
            destroy(*a, o);
            return;
        }
        if (!a->done || a->busy) { return; }
        a->busy = true;
        act_on_hold(number, *a, o);
        a->busy = false;
    }

    /// Where it would resume, and not before it has suspended.
    void destroy(actor& a, const operation& o) {
        const int on = a.asked->on == nothing ? 0 : a.asked->on;
        if (!a.begun || a.done || a.destroyed || a.pausing || o.thread != on) { return; }
        note("#%d is destroyed while it waits", a.id);
        a.destroyed = true;
        book_.remove_owner(a.id);
        ++destroyed_;
        a.busy = true; // its set is in use until it is gone
        a.coroutine.destroy();
        a.busy = false;
        a.handles = {};
    }

    void act_on_hold(int number, actor& a, const operation& o) {
        if (o.what == verb::unlock || o.what == verb::renew || o.what == verb::hand_to_device ||
            o.what == verb::release_on || o.what == verb::watch_stop) {
            part* p = any_part(a, static_cast<std::size_t>(number));
            if (p != nullptr) { act_on_part(number, a, *p, o); }
            return;
        }
        slot& s = slot_of(o.buffer);
        ++s.users;
        const buffer b = s.handle;
        --s.users;
        if (!b) { return; }
        for (part& p : a.parts) {
            if (p.held && book_.find(p.held, dmasync::read(b).node) != nullptr) {
                act_on_buffer(number, a, p, b, o);
                return;
            }
        }
    }

    static part* any_part(actor& a, std::size_t from) {
        for (std::size_t i = 0; i < a.parts.size(); ++i) {
            part& p = a.parts.at((from + i) % a.parts.size());
            if (p.held) { return &p; }
        }
        return nullptr;
    }

    void act_on_part(int number, actor& a, part& p, const operation& o) {
        switch (o.what) {
        case verb::unlock: unlock(a, p); break;
        case verb::renew: renew(a, p, o.amount); break;
        case verb::hand_to_device: hand_to_device(a, p); break;
        case verb::release_on: release_on(number, a, p); break;
        case verb::watch_stop: watch_stop(a, p); break;
        default: break;
        }
    }

    void act_on_buffer(int number, actor& a, part& p, const buffer& b, const operation& o) {
        switch (o.what) {
        case verb::release: release(a, p, b); break;
        case verb::downgrade: downgrade(a, p, b); break;
        case verb::upgrade: upgrade(a, p, b); break;
        case verb::split:
            if (!a.bare) { split(a, p, b); } // for the checker, which could not tell whose the part is
            break;
        case verb::use: use(a, p, b); break;
        case verb::look_at_token: look_at_token(a, p, b); break;
        case verb::release_part_on:
            if (!a.bare) { release_part_on(number, a, p, b); }
            break;
        case verb::publish: publish(number, a, p, b); break;
        default: break;
        }
    }

    [[nodiscard]] static bool has_expired(const guard& g) {
        const undisturbed here;
        return g.expired();
    }

    /// What a call on a hold may answer besides success: that it is over, if that can be.
    void check_answer(const char* call, const actor& a, const part& p, bool was_expired, const std::error_code& ec) {
        if (was_expired && ec != errc::lease_expired) {
            violated(invariant::late, "%s of #%d, which had expired: %s", call, a.id, ec.message().c_str());
        }
        if (ec == errc::lease_expired && time_of_notes < p.ends) {
            violated(invariant::lease, "%s: #%d has lost its lease too early", call, a.id);
        }
        if (!ec || ec == errc::lease_expired) { return; }
        if (ec.category() != dmasync::error_category() && injected_) { return; }
        if (ec == errc::invalid_access && p.lent) { return; }
        violated(invariant::answers, "%s of #%d: %s", call, a.id, ec.message().c_str());
    }

    void unlock(actor& a, part& p) {
        if (believe_nonsense && p.downgraded && has_expired(p.held)) { violated(invariant::answers, "nonsense"); }
        book_.remove(p.held);
        const bool was_expired = has_expired(p.held);
        const std::error_code ec = p.held.unlock();
        note("#%d unlocks: error %d", a.id, ec.value());
        check_answer("unlock", a, p, was_expired, ec);
        p.expired = ec == errc::lease_expired;
        if (!p.expired && p.watched.stop_requested()) {
            violated(invariant::answers, "#%d was stopped, but had not expired", a.id);
        }
        if (p.held) { violated(invariant::answers, "a guard that was unlocked holds"); }
    }

    void renew(actor& a, part& p, std::int64_t amount) {
        const bool was_expired = has_expired(p.held);
        std::error_code ec;
        const auto until = p.held.renew(std::chrono::nanoseconds{amount}, ec);
        note("#%d renews: error %d", a.id, ec.value());
        if (amount <= 0 && ec == errc::invalid_lease) { return; }
        check_answer("renew", a, p, was_expired, ec);
        if (ec) { return; }
        if (until.time_since_epoch().count() < p.ends) { violated(invariant::lease, "renew has made a lease shorter"); }
        p.ends = until.time_since_epoch().count();
    }

    void hand_to_device(actor& a, part& p) {
        const bool was_expired = has_expired(p.held);
        p.lent = true;
        std::error_code ec;
        p.held.hand_to_device(ec);
        note("#%d is handed to a device: error %d", a.id, ec.value());
        check_answer("hand_to_device", a, p, was_expired, ec);
    }

    void release_on(int number, actor& a, part& p) {
        const bool was_expired = has_expired(p.held);
        fence done = new_fence(number);
        std::vector<book::holding> held = book_.take_all(p.held);
        std::error_code ec;
        p.held.release_on(std::move(done), ec);
        note("#%d is released on a fence: error %d", a.id, ec.value());
        check_answer("release_on", a, p, was_expired, ec);
        a.gone_to_device |= !ec;
        if (!ec) { give_to_device(number, p, held); }
    }

    /// The domain may have been closed meanwhile: then it waits for no device.
    void give_to_device(int number, const part& p, const std::vector<book::holding>& held) {
        if (closing_) { return; }
        for (book::holding h : held) {
            h.held = nullptr;
            h.work = works_[static_cast<std::size_t>(number)];
            h.ends = p_.overdue_limit > INT64_MAX - p.ends ? INT64_MAX : p.ends + p_.overdue_limit;
            book_.add(h);
        }
    }

    [[nodiscard]] fence new_fence(int number) {
        const int work = begin_work();
        works_[static_cast<std::size_t>(number)] = work;
        if (ending_) { end_work(work, 0); }
        std::error_code ec;
        return fence::adopt(unique_fd{make_sync_file(work)}, ec);
    }

    void watch_stop(const actor& a, part& p) {
        note("#%d takes a stop token", a.id);
        p.watched = p.held.stop_token();
    }

    void release(actor& a, part& p, const buffer& b) {
        const bool was_expired = has_expired(p.held);
        const book::holding h = book_.take(p.held, dmasync::read(b).node);
        std::error_code ec;
        p.held.release(b, ec);
        note("#%d releases a buffer: error %d", a.id, ec.value());
        check_answer("release", a, p, was_expired, ec);
        if (ec == errc::invalid_access) { book_.add(h); }
    }

    void downgrade(actor& a, part& p, const buffer& b) {
        const bool was_expired = has_expired(p.held);
        book::holding h = book_.take(p.held, dmasync::read(b).node);
        std::error_code ec;
        p.held.downgrade(b, ec);
        note("#%d downgrades a buffer: error %d", a.id, ec.value());
        check_answer("downgrade", a, p, was_expired, ec);
        if (ec != errc::invalid_access) { h.mode = as_reader(h.mode); }
        p.downgraded |= !ec;
        if (ec != errc::lease_expired) { book_.add(h); }
    }

    void upgrade(actor& a, part& p, const buffer& b) {
        const bool was_expired = has_expired(p.held);
        book::holding h = book_.take(p.held, dmasync::read(b).node);
        std::error_code ec;
        const bool up = p.held.try_upgrade(b, ec);
        note("#%d upgrades a buffer: error %d", a.id, ec.value());
        if (up != !ec) { violated(invariant::answers, "try_upgrade with an error, or none without"); }
        if (ec != errc::would_block) { check_answer("try_upgrade", a, p, was_expired, ec); }
        if (up) { h.mode = as_writer(h.mode); }
        if (ec != errc::lease_expired) { book_.add(h); }
    }

    void split(actor& a, part& p, const buffer& b) {
        auto* to = std::find_if(a.parts.begin(), a.parts.end(), [](const part& x) { return !x.held; });
        if (to == a.parts.end() || &p == to) { return; }
        const bool was_expired = has_expired(p.held);
        book::holding h = book_.take(p.held, dmasync::read(b).node);
        std::error_code ec;
        to->held = p.held.split(b, ec);
        note("#%d splits off a buffer: error %d", a.id, ec.value());
        check_answer("split", a, p, was_expired, ec);
        if (!ec) {
            to->ends = p.ends;
            to->lent = false;
            to->watched = {};
            h.held = &to->held;
        }
        if (!ec || ec == errc::invalid_access) { book_.add(h); }
    }

    void release_part_on(int number, actor& a, part& p, const buffer& b) {
        const bool was_expired = has_expired(p.held);
        fence done = new_fence(number);
        book::holding h = book_.take(p.held, dmasync::read(b).node);
        std::error_code ec;
        p.held.release_on(b, std::move(done), ec);
        note("#%d releases a buffer on a fence: error %d", a.id, ec.value());
        check_answer("release_on", a, p, was_expired, ec);
        if (ec == errc::invalid_access) { book_.add(h); }
        if (!ec) { give_to_device(number, p, {h}); }
    }

    void use(const actor& a, const part& p, const buffer& b) {
        const bool was_expired = has_expired(p.held);
        const access_mode mode = book_.find(p.held, dmasync::read(b).node)->mode;
        std::error_code ec;
        const bool writes = is_write(mode);
        const bool got = writes ? !p.held.writable_bytes(b, ec).empty() : !p.held.bytes(b, ec).empty();
        note("#%d uses a buffer: error %d", a.id, ec.value());
        if (got != !ec) { violated(invariant::answers, "bytes with an error, or none without"); }
        if (was_expired && got) { violated(invariant::token, "#%d has expired and still gets bytes", a.id); }
        if (is_dma(mode) && ec == errc::invalid_access && !was_expired) { return; }
        if (is_dma(mode) && got) { violated(invariant::answers, "a device's hold gives bytes"); }
        check_answer("bytes", a, p, was_expired, ec);
    }

    void look_at_token(const actor& a, const part& p, const buffer& b) {
        const bool was_expired = has_expired(p.held);
        std::error_code ec;
        const std::uint64_t token = p.held.token(b, ec);
        const std::uint64_t latest = b.token();
        note("#%d looks at its token", a.id);
        if (ec) { violated(invariant::answers, "token of #%d: %s", a.id, ec.message().c_str()); }
        if (token > latest || (was_expired && token == latest)) {
            violated(invariant::token, "the token of #%d does not tell that it has expired", a.id);
        }
    }

    void publish(int number, const actor& a, part& p, const buffer& b) {
        const bool was_expired = has_expired(p.held);
        const fence f = new_fence(number);
        std::error_code ec;
        p.held.publish(b, f, ec);
        note("#%d publishes a fence: error %d", a.id, ec.value());
        if (ec != errc::not_a_dma_buf) { check_answer("publish", a, p, was_expired, ec); }
    }

    // ---- the world ---------------------------------------------------------------------------------------------------

    void begin_work_on(int number, const operation& o) {
        const slot& s = slot_of(o.buffer);
        if (s.dma_buf == nothing || ending_) { return; }
        const int work = begin_work();
        works_[static_cast<std::size_t>(number)] = work;
        note("a device begins to use buffer %d", o.buffer);
        add_work(s.dma_buf, work, o.amount != 0);
    }

    void end_work_of(const operation& o) {
        const int work = o.target == nothing ? nothing : works_[static_cast<std::size_t>(o.target)];
        if (work == nothing || !is_pending(work)) { return; }
        note("the work of #%d ends: error %d", o.target, o.error);
        book_.remove_work(work);
        end_work(work, o.error);
    }

    void pass_time(std::int64_t amount) {
        const undisturbed here;
        time_of_notes += amount;
        note("time passes");
        for (auto& l : loops_) {
            if (l) { l->set(time_now()); }
        }
    }

    void inject_errors(const operation& o) {
        const slot& s = slot_of(o.buffer);
        if (s.dma_buf == nothing || ending_) { return; }
        constexpr std::array<unsigned long, 3> requests{DMA_BUF_IOCTL_SYNC, DMA_BUF_IOCTL_EXPORT_SYNC_FILE,
                                                        DMA_BUF_IOCTL_IMPORT_SYNC_FILE};
        injected_ = true;
        inject(s.dma_buf, requests.at(static_cast<std::size_t>(o.amount)), o.error, 2);
    }

    void make_buffer(int b) {
        slot& s = slot_of(b);
        if ((p_.dma_bufs >> static_cast<unsigned>(b) & 1U) != 0) { s.dma_buf = make_dma_buf(s.fd); }
        import_again(b);
    }

    void close_buffer(int b) {
        slot& s = slot_of(b);
        if (!s.handle) { return; }
        ++s.users;
        closed_something_ = true;
        note("buffer %d is closed", b);
        s.handle.close();
        --s.users;
    }

    void drop_buffer(int b) {
        slot& s = slot_of(b);
        if (!s.handle || s.users != 0) { return; }
        note("the handle of buffer %d is dropped", b);
        const buffer last = std::exchange(s.handle, {});
    }

    void import_again(int b) {
        slot& s = slot_of(b);
        if (!media_ || closing_ || s.users != 0) { return; }
        ++domain_users_;
        ++s.users;
        static std::array<std::array<std::byte, 64>, most_buffers> memory;
        std::error_code ec;
        buffer made = s.dma_buf != nothing ? media_->import(unique_fd{open_dma_buf(s.dma_buf)}, "", ec)
                                           : media_->adopt(memory.at(static_cast<std::size_t>(b)), "", ec);
        if (ec) { violated(invariant::answers, "import: %s", ec.message().c_str()); }
        // a thread that has begun to lock it meanwhile relies on the handle that there was
        if (s.users == 1) { std::swap(s.handle, made); }
        --s.users;
        --domain_users_;
    }

    /// Not an operation of its own: it must not matter to a program whether it is looked at.
    void take_snapshot() {
        if (!media_ || closing_) { return; }
        ++domain_users_;
        const domain_counters before = counted_;
        const domain_snapshot s = media_->snapshot();
        --domain_users_;
        const std::string problem = support::snapshot_checker::problem(s);
        if (!problem.empty()) { violated(invariant::sight, "in a snapshot %s", problem.c_str()); }
        if (!support::snapshot_checker::has_counted_on(before, s.counters)) {
            violated(invariant::sight, "a counter has gone back");
        }
        counted_ = s.counters;
    }

    void close_domain() {
        if (!media_ || closing_ || domain_users_ != 0) { return; }
        closing_ = closed_something_ = true;
        note("the domain is destroyed");
        book_.remove_devices();
        media_.reset();
    }

    void take_report(const lease_report& r) {
        ++reports_.at(static_cast<std::size_t>(r.event));
        note("report %d", static_cast<int>(r.event));
    }

    /// Not noted: what begins to wait at the same time is in the order of its address, and so is how reports are joined.
    void take_stuck_report(const stuck_report& r) {
        const std::string problem = support::snapshot_checker::problem(r.seen);
        if (!problem.empty()) { violated(invariant::sight, "in a stuck report %s", problem.c_str()); }
        if (r.chain.empty() || !r.seen.acquisitions.at(r.chain.front().acquisition).stuck) {
            violated(invariant::sight, "a stuck report does not begin with a lock that is stuck");
        }
        stuck_reported_ += 1 + r.others;
    }

    // ---- the end -----------------------------------------------------------------------------------------------------

    /// The last thread: no new operations, no errors; devices finish, guards are unlocked, until nothing waits.
    void end() {
        note("the end begins");
        ending_ = true;
        book_.remove_devices();
        forget_injections();
        end_all_work();
        constexpr int patience = 64; // a transaction that pauses between its locks gets one more in a round
        int idle = 0;
        for (int round = 0; !is_over(); ++round) {
            const std::uint64_t before = progress();
            if (p_.ends_by_leases && round < 100) {
                pass_time(10 * ms);
                unlock_some(true);
            } else {
                unlock_some(false);
            }
            wake(&over_);
            wake_all_light_sleepers();
            while (others_can_run()) { yield(); }
            idle = progress() == before && (!p_.ends_by_leases || round > 100) ? idle + 1 : 0;
            if (idle == patience) { report_stuck(); }
        }
        check_newcomers();
        over_ = true;
        wake(&over_);
    }

    [[nodiscard]] std::uint64_t progress() const {
        std::uint64_t n = 0;
        for (const auto& a : actors_) {
            if (a == nullptr) { continue; }
            n += static_cast<std::uint64_t>(a->attempts) +
                 (a->done ? 10U : 0U); // a grant counts, though a guard holds more then
            for (const part& p : a->parts) { n += p.held ? 0U : 1U; }
        }
        return n;
    }

    [[nodiscard]] bool is_over() const {
        return finished_ == p_.threads && std::none_of(actors_.begin(), actors_.end(), [](const auto& a) {
                   return a != nullptr &&
                          (a->waits() || a->busy ||
                           std::any_of(a->parts.begin(), a->parts.end(), [](const part& p) { return bool{p.held}; }));
               });
    }

    /// Unlocks every hold, or those only that no lease ends, and those that have ended.
    void unlock_some(bool endless_only) {
        for (const auto& a : actors_) {
            if (a == nullptr || !a->done || a->busy) { continue; }
            a->busy = true;
            for (part& p : a->parts) {
                if (!p.held) { continue; }
                if (endless_only && a->asked->lease != -1 && !p.lent && p.ends > time_of_notes && !closing_) {
                    continue;
                }
                if (endless_only && a->asked->lease != -1 && !p.lent && !closing_ && !has_expired(p.held)) { continue; }
                unlock(*a, p);
            }
            a->busy = false;
        }
    }

    void report_stuck() const {
        for (const auto& a : actors_) {
            if (a != nullptr && a->waits()) { violated(invariant::drains, "#%d never has an outcome", a->id); }
        }
        violated(invariant::drains, "a thread does not come to the end of what it does");
    }

    /// What comes now finds everything free.
    void check_newcomers() {
        wake(&over_);
        while (others_can_run()) { yield(); }
        for (slot& s : slots_) {
            if (!s.handle || closing_) { continue; }
            std::error_code ec;
            guard g = try_lock(write(s.handle), ec);
            if (!g && ec != errc::closed) {
                violated(invariant::drains, "a buffer is not free at the end: %s", ec.message().c_str());
            }
        }
    }

    void tear_down() {
        for (const auto& a : actors_) {
            if (a == nullptr) { continue; }
            for (const part& p : a->parts) {
                if (p.expired && p.watched.stop_possible() && !p.watched.stop_requested()) {
                    violated(invariant::answers, "#%d has expired, but was not stopped", a->id);
                }
            }
        }
        if (!closing_) { check_counters(); }
        actors_.clear();
        for (shared_set& s : sets_) { s.set.reset(); }
        for (int i = 0; i < p_.loops; ++i) {
            while (loop(i).poll()) {}
        }
        if (!closing_) {
            const std::size_t taken = detail::inspector::taken(detail::inspector::state_of(*media_));
            if (taken != 0) { violated(invariant::leaks, "%zu claims are left", taken); }
        }
        end_of_everything();
    }

    void end_of_everything() {
        for (slot& s : slots_) {
            s.handle = {};
            if (s.fd >= 0) { unique_fd{std::exchange(s.fd, -1)}.reset(); }
        }
        media_.reset();
        for (auto& l : loops_) { l.reset(); }
        if (checker_.is_watching()) {
            violated(invariant::leaks, "the state of the domain outlives all that refers to it");
        }
        // that of a hold which has expired is ended together with the one of the next device
        if (!injected_ && checker_.seen.expirations == 0 && open_brackets() != 0) {
            violated(invariant::bracket, "%d brackets are left open", open_brackets());
        }
        if (open_descriptors() != 0) { violated(invariant::leaks, "%zu descriptors are left", open_descriptors()); }
    }

    /// Those that were destroyed as they were about to begin again may or may not have been counted.
    [[nodiscard]] std::uint64_t seen_retries() {
        const std::uint64_t counted = media_->counters().retries;
        return counted <= retries_ + destroyed_ && counted + destroyed_ >= retries_ ? counted : retries_;
    }

    void check_counters() {
        const domain_counters c = media_->counters();
        const tally& seen = checker_.seen;
        const auto agree = [](const char* what, std::uint64_t counter, std::uint64_t expected) {
            if (counter != expected) {
                violated(invariant::counters, "%s: counted %llu, seen %llu", what,
                         static_cast<unsigned long long>(counter), static_cast<unsigned long long>(expected));
            }
        };
        agree("granted", c.granted_at_once + c.granted_after_wait, seen.grants);
        agree("expired", c.leases_expired, seen.expirations);
        if (p_.reports_leases) {
            agree("expiry reported", c.leases_expired, reports_[0]);
            agree("overdue reported", c.devices_overdue, reports_[1]);
            agree("failure reported", c.devices_failed, reports_[2]);
        }
        if (p_.stuck_after == 0) { agree("stuck", c.stuck, 0); }
        if (c.stuck < stuck_reported_) { agree("reported as stuck", c.stuck, stuck_reported_); } // some end unreported
        agree(p_.wait_die ? "died" : "wounded", p_.wait_die ? c.deaths : c.wounds,
              p_.wait_die ? seen.deaths : seen.wounds);
        agree("begun again", c.retries, seen_retries());
        agree("timed out", c.timed_out, seen.timeouts);
        if (c.cancelled < seen.cancellations) { agree("cancelled", c.cancelled, seen.cancellations); }
    }

    const program& p_;
    const selection& part_;
    virtual_clock clock_;
    std::array<std::optional<manual_loop>, most_threads> loops_;
    std::optional<domain> media_;
    std::vector<slot> slots_;
    std::vector<std::unique_ptr<actor>> actors_; // by the number of the operation that asked
    std::vector<int> works_;                     // likewise
    std::array<shared_set, most_threads> sets_;
    std::array<std::uint64_t, 3> reports_{};
    domain_counters counted_{}; // in a snapshot that is over
    checker checker_;
    book book_;
    std::int64_t start_time_ = 0;
    std::uint64_t stuck_reported_ = 0;
    std::uint64_t refused_ = 0;
    std::uint64_t retries_ = 0;
    std::uint64_t destroyed_ = 0;
    int domain_users_ = 0;
    int finished_ = 0; // threads that have done their operations
    bool closing_ = false;
    bool closed_something_ = false;
    bool injected_ = false;
    bool ending_ = false;
    bool over_ = false;
};

void turn::run(work& w, disposition d) noexcept {
    if (d == disposition::run) { the_world->do_operation(static_cast<turn&>(w).operation); }
}

} // namespace

/// Called by the atomics that are the domain's lock. One of them may be 0 while a thread is inside by the other.
void lock_freed() noexcept {
    const undisturbed here;
    if (!the_world->watcher().is_watching() || !the_world->watcher().lock_is_free()) { return; }
    the_world->watcher().look();
    the_world->holdings().look();
}

outcome run(const program& p, const selection& part, bool aloud) {
    start_report(aloud);
    start_kernel();
    counts_as_one_thread = p.single_threaded;
    start_run(p.seed * 2 + 0x5eed + part.schedule * 0x1234567, p.period);
    auto* w = new world{p, part}; // never freed when the run fails: its threads stand still where they are
    w->set_up();
    w->run_all();
    outcome o;
    o.good = found().what == invariant::none;
    o.hash = hash_of_run();
    o.steps = w->steps;
    o.switches = switches();
    o.lease = p.lease;
    o.seen = w->watcher().seen;
    o.seen.retries = w->retries();
    if (o.good) { delete w; }
    return o;
}

} // namespace sim
