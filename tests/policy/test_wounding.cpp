// SPDX-License-Identifier: MIT
/// The policy of transactions, visited state by state: which one gives way to which, and that all get through.
#include <dmasync/detail/policy/admission.hpp>

#include <doctest/doctest.h>

#include <algorithm>
#include <array>
#include <cstddef>
#include <cstdint>
#include <deque>
#include <limits>
#include <random>
#include <set>
#include <span>
#include <vector>

using namespace dmasync;
using namespace dmasync::detail;

namespace {

/// An acquisition: a declared set, which asks for everything at once, or a transaction, which asks for one part after the
/// other.
struct wishes {
    struct one {
        std::size_t buffer;
        access_mode mode;
    };
    bool is_set = false;
    std::vector<one> all;
};

/// Buffers and acquisitions of a small world, driven by hand: what the domain does with the policy, and nothing else.
class world {
public:
    world(std::size_t buffers, const std::vector<wishes>& table, deadlock_policy p, std::uint64_t first_ticket = 0)
        : policy_{first_ticket, p}, is_wound_wait_{p == deadlock_policy::wound_wait} {
        for (std::size_t i = 0; i < buffers; ++i) { nodes_.emplace_back(policy_); }
        for (const wishes& w : table) { actors_.emplace_back(w, nodes_); }
    }

    enum class phase : std::uint8_t { absent, running, waiting, must_restart, waiting_again, complete, gone };

    struct actor {
        actor(const wishes& w, std::deque<buffer_node>& nodes) : wanted{w} {
            prepare(hold, hold_room);
            prepare(part, part_room);
            for (const wishes::one& o : w.all) { requests.push_back({&nodes[o.buffer], o.mode}); }
        }
        static void prepare(claim_node& c, std::array<entry, 4>& room) {
            c.entries = room.data();
            for (entry& e : room) { e.claim = &c; }
        }

        wishes wanted;
        std::vector<request> requests;
        transaction_node tx;
        claim_node hold;
        claim_node part;
        std::array<entry, 4> hold_room;
        std::array<entry, 4> part_room;
        phase is = phase::absent;
        std::size_t next = 0;       // of the requests: not locked yet
        bool knows_of_part = false; // what it waited for when it was wounded
    };

    [[nodiscard]] std::size_t size() const { return actors_.size(); }
    [[nodiscard]] phase is(std::size_t i) const { return actors_[i].is; }
    [[nodiscard]] bool waits(std::size_t i) const { return is(i) == phase::waiting || is(i) == phase::waiting_again; }
    [[nodiscard]] bool all_gone() const {
        return std::all_of(actors_.begin(), actors_.end(), [](const actor& a) { return a.is == phase::gone; });
    }

    /// The next thing that an acquisition does which does not wait.
    void go_on(std::size_t i) {
        actor& a = actors_[i];
        decisions out;
        switch (a.is) {
        case phase::absent:
            a.is = phase::running;
            lock_more(a, out);
            break;
        case phase::running:
            if (a.next < a.requests.size()) {
                lock_more(a, out);
            } else {
                admission::complete(a.hold);
                a.tx.held = nullptr;
                a.tx.set_phase(transaction_phase::growing);
                a.is = phase::complete;
            }
            break;
        case phase::must_restart: begin_again(a, out); break;
        case phase::complete:
            release(a.hold, out);
            a.is = phase::gone;
            break;
        default: break;
        }
        settle(out);
    }

    /// It gives up instead, wherever it is.
    void give_up(std::size_t i) {
        actor& a = actors_[i];
        decisions out;
        if (waits(i)) {
            policy_.withdraw(a.part, out);
            a.tx.waiting = nullptr;
        }
        if (a.tx.held != nullptr || a.is == phase::complete) { release(a.hold, out); }
        a.tx.held = nullptr;
        a.is = phase::gone;
        settle(out);
    }

    /// Everything that decides what can happen from here on.
    [[nodiscard]] std::vector<int> status() const {
        std::vector<int> s;
        for (const actor& a : actors_) {
            s.push_back(static_cast<int>(a.is) | static_cast<int>(a.next) << 4 | (a.tx.is_wounded() ? 256 : 0) |
                        (a.knows_of_part ? 512 : 0) | static_cast<int>(a.part.size) << 10);
        }
        for (const actor& a : actors_) {
            int rank = has_age(a) ? 1 : 0;
            for (const actor& b : actors_) { rank += has_age(a) && has_age(b) && older(age(b), age(a)) ? 1 : 0; }
            s.push_back(rank);
        }
        return s;
    }

    /// Counts what must not be.
    [[nodiscard]] int faults() const {
        int n = 0;
        for (const buffer_node& b : nodes_) { n += shared_wrongly(b); } // S1
        for (const actor& a : actors_) {
            if (a.is == phase::complete && a.tx.is_wounded()) { ++n; }                         // S4
            if (a.is == phase::waiting || a.is == phase::waiting_again) { n += bad_waits(a); } // S8
        }
        return n;
    }

    [[nodiscard]] bool is_empty() const {
        return std::all_of(nodes_.begin(), nodes_.end(),
                           [](const buffer_node& b) { return b.state == 0 && b.waiters == 0 && b.unfinished.empty(); });
    }

private:
    [[nodiscard]] static bool has_age(const actor& a) {
        return a.is != phase::gone && (a.tx.has_ticket || a.is == phase::waiting);
    }
    [[nodiscard]] static std::uint64_t age(const actor& a) { return a.wanted.is_set ? a.part.ticket : a.tx.ticket; }

    void lock_more(actor& a, decisions& out) {
        if (a.wanted.is_set) {
            lock_set(a, out);
            return;
        }
        const std::span<const request> one{&a.requests[a.next], 1};
        if (a.tx.is_wounded()) {
            a.is = phase::must_restart;
            return;
        }
        if (a.tx.held == nullptr) { a.hold.size = 0; }
        a.hold.transaction = a.part.transaction = &a.tx;
        if (policy_.try_extend(a.hold, one, out) == errc{}) {
            a.tx.held = &a.hold;
            ++a.next;
            return;
        }
        admission::name(a.part, one);
        if (policy_.must_die(a.tx, one)) {
            a.tx.set_phase(transaction_phase::wounded);
            a.knows_of_part = true;
            a.is = phase::must_restart;
            return;
        }
        a.tx.waiting = &a.part;
        a.is = phase::waiting;
        policy_.enqueue(a.part, out);
    }

    void lock_set(actor& a, decisions& out) {
        if (policy_.try_grant(a.hold, a.requests) == errc{}) {
            a.is = phase::complete;
            return;
        }
        admission::name(a.part, a.requests);
        a.is = phase::waiting;
        policy_.enqueue(a.part, out);
    }

    void begin_again(actor& a, decisions& out) {
        if (a.tx.held != nullptr) { release(a.hold, out); }
        a.tx.held = nullptr;
        a.tx.set_phase(transaction_phase::growing);
        a.next = 0;
        a.is = phase::running;
        if (!a.knows_of_part) { return; }
        a.knows_of_part = false;
        a.is = phase::waiting_again;
        a.tx.waiting = &a.part;
        policy_.enqueue_or_grant(a.part, out);
    }

    void release(const claim_node& c, decisions& out) const {
        if (admission::release(c)) { policy_.pass_on(c, out); }
    }

    void settle(decisions& out) {
        for (bool again = true; again;) {
            again = false;
            while (transaction_node* t = out.wounded.pop_front()) {
                actor& a = owner_of(*t);
                if ((a.is != phase::waiting && a.is != phase::waiting_again) || ready_list::is_linked(a.part)) {
                    continue;
                }
                policy_.withdraw(a.part, out);
                t->waiting = nullptr;
                a.knows_of_part = true;
                a.is = phase::must_restart;
            }
            while (claim_node* c = out.ready.pop_front()) {
                grant(owner_of(*c), out);
                again = true;
            }
        }
    }

    void grant(actor& a, decisions& out) {
        a.tx.waiting = nullptr;
        if (a.wanted.is_set) {
            admission::name(a.hold, a.requests); // the set's claim is its hold from here on
            a.is = phase::complete;
        } else if (a.is == phase::waiting_again) {
            release(a.part, out);
            a.tx.set_phase(transaction_phase::growing);
            a.is = phase::running;
        } else {
            admission::move_holds(a.part, a.hold);
            a.tx.held = &a.hold;
            ++a.next;
            a.is = phase::running;
        }
    }

    actor& owner_of(const transaction_node& t) {
        return *std::find_if(actors_.begin(), actors_.end(), [&t](const actor& a) { return &a.tx == &t; });
    }
    actor& owner_of(const claim_node& c) {
        return *std::find_if(actors_.begin(), actors_.end(),
                             [&c](const actor& a) { return &a.part == &c || &a.hold == &c; });
    }

    /// What an acquisition holds of a buffer, if it does.
    [[nodiscard]] const request* held_of(const actor& a, const buffer_node& b) const {
        const std::size_t n = a.is == phase::complete ? a.requests.size() : a.next;
        const bool holds = a.is == phase::complete || (!a.wanted.is_set && a.tx.held != nullptr);
        for (std::size_t i = 0; holds && i < n; ++i) {
            if (a.requests[i].buffer == &b) { return &a.requests[i]; }
        }
        return nullptr;
    }

    [[nodiscard]] int shared_wrongly(const buffer_node& b) const {
        std::uint32_t expected = 0;
        int writers = 0;
        int readers = 0;
        for (const actor& a : actors_) {
            if (const request* r = held_of(a, b); r != nullptr) { ++(is_write(r->mode) ? writers : readers); }
        }
        expected = static_cast<std::uint32_t>(writers) * buffer_node::writer + static_cast<std::uint32_t>(readers);
        return (writers > 1 || (writers == 1 && readers != 0) ? 1 : 0) +
               ((b.state & buffer_node::held) != expected ? 1 : 0);
    }

    /// Waits that could close a circle.
    [[nodiscard]] int bad_waits(const actor& a) const {
        int n = 0;
        bool any = false;
        for (const entry& e : a.part.set()) {
            for (const actor& b : actors_) {
                if (&a == &b) { continue; }
                const request* r = held_of(b, *e.buffer);
                if (r != nullptr && conflict(r->mode, e.mode)) {
                    any = true;
                    n += b.is == phase::complete || allowed(a, b) ? 0 : 1;
                }
                any |= waits_before(b, a, e);
            }
        }
        return n + (any ? 0 : 1); // what waits, waits for something
    }

    [[nodiscard]] bool allowed(const actor& waiter, const actor& holder) const {
        if (is_wound_wait_) { return older(age(holder), age(waiter)) || holder.tx.is_wounded(); }
        return older(age(waiter), age(holder)) || !waiter.tx.holds_anything() || holder.tx.is_wounded();
    }

    [[nodiscard]] static bool waits_before(const actor& b, const actor& a, const entry& e) {
        if (b.is != phase::waiting && b.is != phase::waiting_again) { return false; }
        return std::any_of(b.part.set().begin(), b.part.set().end(), [&](const entry& x) {
            return x.buffer == e.buffer && conflict(x.mode, e.mode) && older(b.part.ticket, a.part.ticket);
        });
    }

    admission policy_;
    bool is_wound_wait_;
    std::deque<buffer_node> nodes_;
    std::deque<actor> actors_;
};

/// Every way in which the acquisitions of one table can go on and give up. Acquisitions begin in the order of the table.
class explorer {
public:
    explorer(std::size_t buffers, std::vector<wishes> table, deadlock_policy p, std::uint64_t first_ticket)
        : buffers_{buffers}, table_{std::move(table)}, policy_{p}, first_ticket_{first_ticket} {}

    void explore() { visit({}); }

    long states = 0;
    int faults = 0;
    int stuck = 0;
    int starved = 0;

private:
    struct action {
        std::size_t which;
        bool gives_up;
    };

    static void take(world& x, const action& a) {
        if (a.gives_up) {
            x.give_up(a.which);
        } else {
            x.go_on(a.which);
        }
    }

    void visit(const std::vector<action>& path) {
        world x{buffers_, table_, policy_, first_ticket_};
        for (const action& a : path) { take(x, a); }
        faults += x.faults();
        if (!seen_.insert(x.status()).second) { return; }
        ++states;
        bool any = false;
        for (std::size_t i = 0; i < x.size(); ++i) {
            const bool in_turn = i == 0 || x.is(i - 1) != world::phase::absent;
            if (x.is(i) == world::phase::gone || (x.is(i) == world::phase::absent && !in_turn)) { continue; }
            if (!x.waits(i)) {
                any = true;
                visit(longer(path, {i, false}));
            }
            if (x.is(i) != world::phase::absent) { visit(longer(path, {i, true})); }
        }
        if (x.all_gone()) {
            faults += x.is_empty() ? 0 : 1;
        } else if (!any) {
            ++stuck;
        }
        let_all_get_through(x);
    }

    /// In turns, and none gives up: how it must come to an end.
    void let_all_get_through(world& x) {
        constexpr int turns = 64;
        for (int turn = 0; turn < turns && !x.all_gone(); ++turn) {
            for (std::size_t i = 0; i < x.size(); ++i) { x.go_on(i); }
        }
        starved += x.all_gone() ? 0 : 1;
    }

    static std::vector<action> longer(std::vector<action> path, action a) {
        path.push_back(a);
        return path;
    }

    std::size_t buffers_;
    std::vector<wishes> table_;
    deadlock_policy policy_;
    std::uint64_t first_ticket_;
    std::set<std::vector<int>> seen_;
};

constexpr auto r = access_mode::read;
constexpr auto w = access_mode::write;

/// Everything that can be asked of two buffers: sets of one and two, transactions in either order.
std::vector<wishes> choices() {
    std::vector<wishes> all;
    for (const auto m : {r, w}) {
        for (const std::size_t b : {0U, 1U}) {
            all.push_back({true, {{b, m}}});
            for (const auto m2 : {r, w}) { all.push_back({false, {{b, m}, {1 - b, m2}}}); }
        }
        for (const auto m2 : {r, w}) { all.push_back({true, {{0, m}, {1, m2}}}); }
    }
    return all;
}

struct totals {
    long states = 0;
    int faults = 0;
    int stuck = 0;
    int starved = 0;
};

void explore(totals& t, const std::vector<wishes>& table, deadlock_policy p) {
    explorer e{2, table, p, std::numeric_limits<std::uint64_t>::max() - 1}; // ages wrap on the way
    e.explore();
    t.states += e.states;
    t.faults += e.faults;
    t.stuck += e.stuck;
    t.starved += e.starved;
}

void check(const totals& t) {
    INFO("states visited: ", t.states);
    CHECK(t.faults == 0);
    CHECK(t.stuck == 0);
    CHECK(t.starved == 0);
    CHECK(t.states > 20'000);
}

} // namespace

TEST_CASE("in every state of every table of 3 sets or transactions over 2 buffers none is stuck, and all get through") {
    for (const deadlock_policy p : {deadlock_policy::wound_wait, deadlock_policy::wait_die}) {
        totals t;
        const std::vector<wishes> all = choices();
        for (const wishes& a : all) {
            if (a.all.front().buffer != 0) { continue; } // the same with other names
            for (const wishes& b : all) {
                for (const wishes& c : all) { explore(t, {a, b, c}, p); }
            }
        }
        check(t);
    }
}

TEST_CASE(
    "in every state of random tables of 4 sets or transactions over 2 buffers none is stuck, and all get through") {
    const unsigned seed = 19780601;
    INFO("seed ", seed);
    for (const deadlock_policy p : {deadlock_policy::wound_wait, deadlock_policy::wait_die}) {
        std::mt19937 random{seed};
        totals t;
        const std::vector<wishes> all = choices();
        for (int n = 0; n < 60; ++n) {
            std::vector<wishes> table;
            for (int i = 0; i < 4; ++i) { table.push_back(all[random() % all.size()]); }
            explore(t, table, p);
        }
        check(t);
    }
}
