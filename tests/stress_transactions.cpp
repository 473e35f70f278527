// SPDX-License-Identifier: MIT
/// Threads lock many objects in transactions, in the spirit of the kernel's stress of ww_mutex (test-ww_mutex.c): the same
/// sixteen in an order of each thread's own, the same with what was contended first, and a mixture over 4,095. Unlike
/// there, that nothing is shared that must not be is checked at every lock, not only what the calls return. One more thread
/// takes snapshots all the time, and every one of them has to show a state that can be.
///
/// DMASYNC_STRESS_SECONDS: for how long each goes on; without it, for some thousands of transactions.
#include <dmasync/domain.hpp>
#include <dmasync/lock.hpp>
#include <dmasync/make_event_loop.hpp>
#include <dmasync/observe/snapshot.hpp>
#include <dmasync/run_transaction.hpp>
#include <dmasync/task.hpp>
#include <dmasync/transaction.hpp>

#include <doctest/doctest.h>
#include <support/snapshot_checker.hpp>

#include <algorithm>
#include <atomic>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <deque>
#include <functional>
#include <numeric>
#include <random>
#include <stop_token>
#include <string>
#include <system_error>
#include <thread>
#include <vector>

using namespace dmasync;

namespace {

/// Something that is locked, and what shows which ones are in it.
struct object {
    explicit object(buffer b) : handle{std::move(b)} {}

    void enter(bool writes) {
        const int before = inside.fetch_add(writes ? writer : 1, std::memory_order_relaxed);
        if (writes ? before != 0 : before >= writer) { intruders.fetch_add(1, std::memory_order_relaxed); }
        if (writes) { ++changes; } // plain: the thread sanitizer sees what the counts do not
        seen = writes ? changes : seen.load(std::memory_order_relaxed);
    }
    void leave(bool writes) { inside.fetch_sub(writes ? writer : 1, std::memory_order_relaxed); }

    static constexpr int writer = 1 << 16;
    buffer handle;
    std::atomic<int> inside{0};
    std::atomic<std::uint64_t> intruders{0};
    std::uint64_t changes = 0;
    std::atomic<std::uint64_t> seen{0};
};

/// How long a stress goes on.
class limit {
public:
    explicit limit(std::uint64_t transactions) : left_{transactions} {
        if (const char* s = std::getenv("DMASYNC_STRESS_SECONDS"); s != nullptr) {
            until_ = std::chrono::steady_clock::now() + std::chrono::seconds{std::stol(s)};
        }
    }
    bool goes_on() {
        if (until_ == std::chrono::steady_clock::time_point{}) { return left_-- > 0; }
        return std::chrono::steady_clock::now() < until_;
    }

private:
    std::uint64_t left_;
    std::chrono::steady_clock::time_point until_{};
};

struct tally {
    std::uint64_t transactions = 0;
    std::uint64_t locks = 0;
    std::uint64_t failures = 0; // of which there are none
};

class world {
public:
    world(std::size_t count, deadlock_policy policy) : media_{*loop_.loop, {.lease = no_lease, .policy = policy}} {
        for (std::size_t i = 0; i < count; ++i) { objects.emplace_back(media_.adopt({&memory_[i], 1})); }
    }

    ~world() {
        for (object& o : objects) {
            CHECK(o.intruders == 0);
            CHECK(o.inside == 0);
            CHECK(try_lock(write(o.handle))); // nothing is left behind
        }
    }

    [[nodiscard]] domain& media() { return media_; }

    std::deque<object> objects;

private:
    std::vector<std::byte> memory_ = std::vector<std::byte>(4096);
    made_event_loop loop_ = make_event_loop(); // it is not run: the threads block
    domain media_;
};

/// A thread's work on a world.
class worker {
public:
    worker(world& w, unsigned seed, std::uint64_t transactions) : world_{w}, random_{seed}, limit_{transactions} {
        order_.resize(w.objects.size());
        std::iota(order_.begin(), order_.end(), std::size_t{0});
        std::shuffle(order_.begin(), order_.end(), random_);
    }

    /// All objects, always in the same order of this thread's.
    void in_order() {
        while (limit_.goes_on()) { lock_all(order_, false); }
    }

    /// The same, with what was in the way first.
    void reordered() {
        while (limit_.goes_on()) { lock_all(order_, true); }
    }

    /// A few of many objects, read or written, in transactions and in declared sets.
    void mixed() {
        while (limit_.goes_on()) {
            std::vector<std::size_t> some(1 + random_() % 16);
            // half of them among sixty-four, so that threads meet
            for (std::size_t& i : some) { i = random_() % (random_() % 2 == 0 ? 64 : world_.objects.size()); }
            std::sort(some.begin(), some.end());
            some.erase(std::unique(some.begin(), some.end()), some.end());
            std::shuffle(some.begin(), some.end(), random_);
            if (random_() % 4 == 0) {
                lock_pair(some.front(), some.back());
            } else {
                lock_all(some, random_() % 2 == 0);
            }
        }
    }

    /// One object, plainly, over and over.
    void single() {
        object& o = world_.objects[random_() % world_.objects.size()];
        while (limit_.goes_on()) {
            std::error_code ec;
            const guard held = blocking_lock(write(o.handle), ec);
            seen.failures += ec ? 1U : 0U;
            o.enter(true);
            rest();
            o.leave(true);
            ++seen.locks;
            ++seen.transactions;
        }
    }

    tally seen;
    bool sleeps = false; // with what it has

private:
    void rest() {
        if (sleeps) { std::this_thread::sleep_for(std::chrono::microseconds{1000 + random_() % 1000}); }
    }

    void lock_all(std::vector<std::size_t>& order, bool contended_first) {
        std::error_code ec;
        transaction tx{world_.media()};
        const auto mask = static_cast<unsigned>(random_()); // of which object is read
        for (std::size_t i = 0; i < order.size();) {
            object& o = world_.objects[order[i]];
            if (reads(mask, order[i])) {
                tx.blocking_lock(read(o.handle), ec);
            } else {
                tx.blocking_lock(write(o.handle), ec);
            }
            ++seen.locks;
            if (!ec) {
                ++i;
                continue;
            }
            if (ec != errc::wounded) { break; }
            tx.blocking_restart(ec);
            if (contended_first) {
                std::rotate(order.begin(), order.begin() + static_cast<std::ptrdiff_t>(i),
                            order.begin() + static_cast<std::ptrdiff_t>(i) + 1);
            }
            i = 0;
        }
        seen.failures += ec ? 1U : 0U;
        guard held = tx.done(ec);
        seen.failures += ec ? 1U : 0U;
        for (const std::size_t i : order) { world_.objects[i].enter(!reads(mask, i)); }
        rest();
        for (const std::size_t i : order) { world_.objects[i].leave(!reads(mask, i)); }
        ++seen.transactions;
    }

    void lock_pair(std::size_t first, std::size_t second) {
        if (first == second) { return; }
        std::error_code ec;
        object& a = world_.objects[first];
        object& b = world_.objects[second];
        const guard held = blocking_lock(write(a.handle), read(b.handle), ec);
        seen.failures += ec ? 1U : 0U;
        a.enter(true);
        b.enter(false);
        b.leave(false);
        a.leave(true);
    }

    [[nodiscard]] static bool reads(unsigned mask, std::size_t i) { return (mask >> (i % 31U) & 3U) == 0; }

    world& world_;
    std::minstd_rand random_;
    limit limit_;
    std::vector<std::size_t> order_;
};

/// Takes one snapshot after the other until it is stopped, and looks for what cannot be.
struct witness {
    void watch(const domain& d, const std::stop_token& stop) {
        domain_counters before;
        do {
            const domain_snapshot s = d.snapshot();
            if (problem.empty()) { problem = support::snapshot_checker::problem(s); }
            if (!support::snapshot_checker::has_counted_on(before, s.counters)) { problem = "a counter went back"; }
            before = s.counters;
            for (const domain_snapshot::acquisition& a : s.acquisitions) {
                waits += a.state == acquisition_state::waiting ? 1U : 0U;
            }
            ++snapshots;
        } while (!stop.stop_requested());
    }

    std::string problem; // the first one
    std::uint64_t snapshots = 0;
    std::uint64_t waits = 0; // seen in them
};

using kind_of_work = void (worker::*)();

/// Has threads do some kinds of work in turn, and shows what came of it.
void stress(const char* name, std::size_t objects, deadlock_policy policy, std::size_t threads,
            std::uint64_t transactions, const std::vector<kind_of_work>& kinds, bool sleeping = false) {
    constexpr unsigned seed = 1;
    world w{objects, policy};
    std::deque<worker> workers;
    for (unsigned i = 0; i < threads; ++i) { workers.emplace_back(w, seed + i, transactions); }
    witness saw;
    {
        const std::jthread watching{[&](const std::stop_token& stop) { saw.watch(w.media(), stop); }};
        std::vector<std::jthread> running;
        for (std::size_t i = 0; i < threads; ++i) {
            workers[i].sleeps = sleeping;
            running.emplace_back([&each = workers[i], work = kinds[i % kinds.size()]] { (each.*work)(); });
        }
    }
    tally all;
    for (const worker& each : workers) {
        all.transactions += each.seen.transactions;
        all.locks += each.seen.locks;
        CHECK(each.seen.failures == 0);
        CHECK(each.seen.transactions > 0);
    }
    CHECK(saw.problem == "");
    const domain_counters c = w.media().counters();
    MESSAGE("stress ", std::string{name}, " threads ", threads, " seed ", seed, " transactions ", all.transactions,
            " locks ", all.locks, " waits ", c.granted_after_wait, " wounds ", c.wounds, " deaths ", c.deaths,
            " retries ", c.retries, " snapshots ", saw.snapshots, " waits_seen ", saw.waits);
}

} // namespace

TEST_CASE("sixteen objects, locked by each thread in an order of its own, never two owners, never a deadlock") {
    for (const deadlock_policy policy : {deadlock_policy::wound_wait, deadlock_policy::wait_die}) {
        stress("in-order", 16, policy, 2, 5000, {&worker::in_order});
    }
}

TEST_CASE("sixteen objects, what was in the way first, never two owners, never a deadlock") {
    for (const deadlock_policy policy : {deadlock_policy::wound_wait, deadlock_policy::wait_die}) {
        stress("reordered", 16, policy, 2, 5000, {&worker::reordered});
    }
}

TEST_CASE("4,095 objects, read and written, in transactions and in sets, never two owners, never a deadlock") {
    for (const deadlock_policy policy : {deadlock_policy::wound_wait, deadlock_policy::wait_die}) {
        stress("mixed", 4095, policy, 2, 20000, {&worker::mixed});
    }
}

TEST_CASE("more threads than processors, over sixteen objects") {
    for (const deadlock_policy policy : {deadlock_policy::wound_wait, deadlock_policy::wait_die}) {
        stress("crowded", 16, policy, 6, 1000, {&worker::in_order});
    }
}

TEST_CASE("workers that sleep with what they have, and others that want a single object of it") {
    for (const deadlock_policy policy : {deadlock_policy::wound_wait, deadlock_policy::wait_die}) {
        stress("sleeping", 16, policy, 6, 40, {&worker::in_order, &worker::reordered, &worker::single}, true);
    }
}
