// SPDX-License-Identifier: MIT
#pragma once
/// \file checker.hpp  Looks at a domain's state each time its lock has been freed: is everything true that has to be?
///
/// It knows nothing of how the library works but the meaning of its data, and tests each rule by brute force. What it saw
/// the last time tells it what the step in between has done: what was granted, revoked, refused.

#include <dmasync/detail/domain/core.hpp>

#include <sim/report.hpp>
#include <sim/world.hpp>

#include <support/inspector.hpp>

#include <array>
#include <cstddef>
#include <cstdint>
#include <utility>
#include <vector>

namespace sim {

class checker {
public:
    using claim = dmasync::detail::claim;
    using event_loop = dmasync::event_loop;
    using entry = dmasync::detail::entry;
    using node = dmasync::detail::buffer_node;
    using inspector = dmasync::detail::inspector;
    using phase = dmasync::detail::phase;

    void watch(dmasync::detail::domain_state& s, bool wait_die) {
        state_ = &s;
        wait_die_ = wait_die;
        known_ = {};
        claims_.clear();
        nodes_.clear();
        seen = {};
        transactions_.clear();
        oldest_ = no_ticket;
        watched = {&inspector::lock_of(s), sizeof(dmasync::detail::biased_lock)};
    }

    void stop_watching() {
        state_ = nullptr;
        watched = {};
    }

    /// Whether nothing is left that had ended by `begun`, when a loop was polled, if a claim waits on it.
    [[nodiscard]] bool has_kept_time(const event_loop& loop, event_loop::time_point begun) const {
        if (!lock_is_free() || inspector::dates_later(*state_)) { return true; }
        const auto* w = &loop == &state_->loop ? &state_->home : nullptr;
        for (const known_claim& k : claims_) {
            if (k.node->elsewhere != nullptr && k.node->loop == &loop) { w = k.node->elsewhere; }
        }
        if (w == nullptr || w->called || !w->is_attached) { return true; } // its next turn has still to come
        return inspector::horizon(*state_) > begun;
    }

    [[nodiscard]] bool is_watching() const { return state_ != nullptr; }
    [[nodiscard]] bool lock_is_free() const { return inspector::is_free(inspector::lock_of(*state_)); }
    [[nodiscard]] dmasync::detail::domain_state& state() const { return *state_; }

    /// The lock is free.
    void look() {
        known_.update(*state_, [this](claim& c) { claims_.emplace_back(&c); });
        gather();
        for (const known_claim& k : claims_) { check_owner(k); }
        for (const known_claim& k : claims_) { check_idle(*k.node); }
        for (const known_claim* k : waiting_) { check_waiter(*k); }
        for (known_node& n : nodes_) { check_node(n); }
        for (const known_claim& k : claims_) {
            if (k.was != role::over && k.now == role::over) { check_expiry(k); } // before what was granted by it
        }
        for (known_claim& k : claims_) {
            if (k.was != k.now || k.was == role::holds || k.was == role::waits) { check_step_of(k); }
        }
        check_clock();
        remember();
        if (inspector::is_last(*state_)) { stop_watching(); }
    }

    tally seen;
    std::vector<bool> stopped; // acquisitions that have been, by number

private:
    enum class role : std::uint8_t { none, waits, holds, failed, over };

    struct place {
        const node* buffer = nullptr;
        dmasync::access_mode mode{};
    };

    struct known_claim {
        explicit known_claim(claim* c) : node{c} {}

        claim* node;
        role was = role::none;
        role now = role::none;
        const dmasync::detail::transaction_node* owner = nullptr; // that it had
        bool uncounted = false; // it has been granted something that has not been handed over yet
        std::array<place, 16> held{};
        std::uint64_t ticket = 0;
        std::int64_t until = 0; // of its lease, as long as it is one
        bool handed_over = false;
    };

    /// A buffer, and the largest tokens it was held with.
    struct known_node {
        const node* buffer;
        bool present = true;
        std::uint32_t readers = 0;
        std::uint32_t writers = 0;
        std::uint64_t token = 0;
        std::uint64_t reader_token = 0;
        std::uint64_t writer_token = 0;
        std::uint64_t revoked_token = 0;
        bool ever_read = false;
        bool ever_written = false;
        bool ever_revoked = false;
    };

    static constexpr std::uint64_t no_ticket = 0x5555555555555555U;

    [[nodiscard]] static role role_of(const claim& c) {
        switch (c.state.load()) {
        case phase::idle: return role::none;
        case phase::waiting: return c.flags.has(dmasync::detail::claim_flags::disowned) ? role::none : role::waits;
        case phase::fenced:
        case phase::entering:
        case phase::held:
        case phase::lent: return c.flags.has(dmasync::detail::claim_flags::disowned) ? role::none : role::holds;
        case phase::failed: return role::failed;
        case phase::expired: return role::over;
        }
        return role::none;
    }

    /// The actor's number; below zero for one that asked without options, which are not told apart.
    [[nodiscard]] static long long id(const claim& c) {
        return static_cast<long long>(reinterpret_cast<std::intptr_t>(c.user)) - 1;
    }

    [[nodiscard]] static std::int64_t ns(dmasync::event_loop::time_point t) { return t.time_since_epoch().count(); }

    /// Everything as it is now.
    void gather() {
        for (known_node& n : nodes_) {
            n.present = false;
            n.readers = n.writers = 0;
        }
        for (const auto& [identity, b] : inspector::registry(*state_)) { known(b); }
        waiting_.clear();
        for (known_claim& k : claims_) {
            k.now = role_of(*k.node);
            if (k.now == role::waits) { waiting_.push_back(&k); }
            for (const entry& e : k.node->set()) { gather(k, e); }
        }
        std::erase_if(nodes_, [](const known_node& n) { return !n.present; });
    }

    void gather(const known_claim& k, const entry& e) {
        const bool in_queue = dmasync::detail::entry_list::is_linked(e);
        const bool unfinished = k.now == role::holds && k.node->transaction != nullptr && e.buffer != nullptr;
        if (in_queue != (k.now == role::waits || unfinished)) {
            violated(invariant::whole, "#%lld %s but is%s in a list of a buffer", id(*k.node),
                     k.now == role::waits ? "waits"
                     : unfinished         ? "is incomplete"
                                          : "does not wait",
                     in_queue ? "" : " not");
        }
        if (e.buffer == nullptr || (k.now != role::waits && k.now != role::holds)) { return; }
        known_node& n = known(e.buffer);
        if (k.now == role::holds) { ++(dmasync::is_write(e.mode) ? n.writers : n.readers); }
    }

    known_node& known(const node* b) {
        for (known_node& n : nodes_) {
            if (n.buffer == b) {
                n.present = true;
                return n;
            }
        }
        nodes_.push_back({b});
        nodes_.back().token = b->token();
        return nodes_.back();
    }

    // ---- buffers -----------------------------------------------------------------------------------------------------

    void check_node(known_node& n) {
        const node& b = *n.buffer;
        if (n.writers > 1 || (n.writers != 0 && n.readers != 0)) {
            violated(invariant::exclusive, "a buffer is held by %u writers and %u readers", n.writers, n.readers);
        }
        const std::uint32_t readers = b.state & node::readers;
        const bool writer = (b.state & node::writer) != 0;
        if (readers != n.readers || writer != (n.writers != 0)) {
            violated(invariant::whole, "a buffer counts %u readers and %d writers, but %u and %u hold it", readers,
                     writer ? 1 : 0, n.readers, n.writers);
        }
        const std::uint32_t waiters = check_queue(b.waiting_readers, false) + check_queue(b.waiting_writers, true);
        const bool marked_r = (b.state & node::waiting_reader) != 0;
        const bool marked_w = (b.state & node::waiting_writer) != 0;
        if (waiters != b.waiters || marked_r == b.waiting_readers.empty() || marked_w == b.waiting_writers.empty()) {
            violated(invariant::whole, "a buffer counts %u waiters, but %u wait", b.waiters, waiters);
        }
        if ((b.state & node::closed) != 0 && waiters != 0) {
            violated(invariant::outcome, "a claim waits for a closed buffer");
        }
        if (b.token() < n.token) { violated(invariant::token, "the token of a buffer has become smaller"); }
        if ((b.token() % 2 != 0) != writer) {
            violated(invariant::token, "the token does not tell that a writer holds");
        }
        n.token = b.token();
    }

    [[nodiscard]] static std::uint32_t check_queue(const dmasync::detail::entry_list& q, bool writers) {
        std::uint32_t n = 0;
        const entry* before = nullptr;
        for (const entry* e = q.front(); e != nullptr; e = q.next(*e)) {
            if (dmasync::is_write(e->mode) != writers) { violated(invariant::order, "a queue of the wrong kind"); }
            if (before != nullptr && !is_older(before->claim->ticket, e->claim->ticket)) {
                violated(invariant::order, "a queue is not in order of age");
            }
            before = e;
            ++n;
        }
        return n;
    }

    // ---- waiters -----------------------------------------------------------------------------------------------------

    /// On its own: this is how the counter is meant, not how it is compared there.
    [[nodiscard]] static bool is_older(std::uint64_t a, std::uint64_t b) {
        return a != b && b - a < (std::uint64_t{1} << 63U);
    }

    void check_waiter(const known_claim& k) {
        const claim& c = *k.node;
        for (const known_claim* other : waiting_) {
            if (other != &k && other->node->ticket == c.ticket) {
                violated(invariant::ticket, "#%lld and #%lld have the same ticket", id(c), id(*other->node));
            }
        }
        if (is_stopped(c)) { violated(invariant::outcome, "#%lld waits, though stop was requested", id(c)); }
        if (has_expired_hold(c)) { violated(invariant::lease, "#%lld waits for more of what it has lost", id(c)); }
        if (!has_obstacle(c)) { violated(invariant::graph, "#%lld waits, but nothing is in its way", id(c)); }
        if (wait_die_) {
            check_waits_of_holder(c);
        } else {
            check_waits_for_younger(c);
        }
    }

    /// A request to stop the claim with this number has been made, and the call has returned.
    [[nodiscard]] bool is_stopped(const claim& c) const {
        const auto i = static_cast<std::size_t>(id(c));
        return i < stopped.size() && stopped[i];
    }

    [[nodiscard]] static bool has_expired_hold(const claim& c) {
        const auto* held = c.transaction == nullptr ? nullptr : static_cast<const claim*>(c.transaction->held);
        return held != nullptr && held->state.load() == phase::expired;
    }

    // ---- transactions ------------------------------------------------------------------------------------------------

    /// Wound-wait: a claim that waits for a younger transaction that is not complete has wounded it (R1, S8).
    void check_waits_for_younger(const claim& c) const {
        for (const known_claim& k : claims_) {
            const auto* t = k.node->transaction;
            if (k.now != role::holds || t == nullptr || t == c.transaction || !conflicts(c, *k.node)) { continue; }
            if (is_older(c.ticket, t->ticket) && !t->is_wounded()) {
                violated(invariant::graph, "#%lld waits for #%lld, which is younger and has not been wounded", id(c),
                         id(*k.node));
            }
        }
    }

    /// Wait-die: a transaction that has something does not wait for an older one, be that a holder or itself waiting.
    void check_waits_of_holder(const claim& c) const {
        if (c.transaction == nullptr || !c.transaction->holds_anything()) { return; }
        for (const known_claim& k : claims_) {
            const auto* t = k.node->transaction;
            if (k.node == &c || t == c.transaction || !conflicts(c, *k.node)) { continue; }
            const bool holds = k.now == role::holds && t != nullptr && is_older(t->ticket, c.ticket);
            const bool waits = k.now == role::waits && is_older(k.node->ticket, c.ticket);
            if (holds || waits) {
                violated(invariant::graph, "#%lld has something, and waits for #%lld, which is older", id(c),
                         id(*k.node));
            }
        }
    }

    /// A transaction keeps its age, hears of its wounds while it waits, and is not wounded when it is the oldest.
    void check_owner(const known_claim& k) {
        const auto* t = k.node->transaction;
        const auto counts = [](role r) { return r == role::waits || r == role::holds; };
        if (t == nullptr || !(counts(k.now) || (k.now == role::failed && counts(k.was)))) {
            return;
        } // else it has no name
        known_transaction& known = transaction_of(k);
        if (known.ticket != t->ticket) {
            if (known.id >= 0) { violated(invariant::ticket, "#%lld is not as old as it was", id(*k.node)); }
            known = {known.id, t, t->ticket, false}; // another one, where that one was
        }
        const bool fenced = k.node->state.load() == phase::fenced;
        if (t->is_wounded() && (k.now == role::waits || fenced)) {
            violated(invariant::outcome, "#%lld has been wounded, and still waits", id(*k.node));
        }
        if (!std::exchange(known.wounded, t->is_wounded()) && t->is_wounded()) {
            ++(wait_die_ ? seen.deaths : seen.wounds);
            if (is_oldest(*t)) { violated(invariant::complete, "#%lld was wounded, and is the oldest", id(*k.node)); }
        }
    }

    [[nodiscard]] bool is_oldest(const dmasync::detail::transaction_node& t) const {
        for (const known_claim& k : claims_) {
            const claim& c = *k.node;
            const bool counts =
                k.now == role::waits || (k.now == role::holds && (k.was == role::waits || c.transaction != nullptr));
            const std::uint64_t age = c.transaction == nullptr ? c.ticket : c.transaction->ticket;
            if (counts && is_older(age, t.ticket)) { return false; }
        }
        return true;
    }

    struct known_transaction {
        long long id;
        const dmasync::detail::transaction_node* where;
        std::uint64_t ticket;
        bool wounded;
    };

    known_transaction& transaction_of(const known_claim& k) {
        for (known_transaction& t : transactions_) {
            if (t.id == id(*k.node) && (t.id >= 0 || t.where == k.node->transaction)) { return t; }
        }
        transactions_.push_back({id(*k.node), k.node->transaction, k.node->transaction->ticket, false});
        return transactions_.back();
    }

    /// What is in the pool, or prepared, is in no list.
    static void check_idle(const claim& c) {
        if (c.state.load() != phase::idle) { return; }
        if (is_in_book(c) || inspector::is_watched_for_stuck(c) || dmasync::detail::ready_list::is_linked(c)) {
            violated(invariant::leaks, "a record that is not in use is in a list");
        }
    }

    // ---- graph -------------------------------------------------------------------------------------------------------

    [[nodiscard]] bool has_obstacle(const claim& c) const {
        for (const known_claim& k : claims_) {
            const bool counts = k.now == role::holds || (k.now == role::waits && is_older(k.node->ticket, c.ticket));
            if (k.node != &c && counts && conflicts(c, *k.node)) { return true; }
        }
        return false;
    }

    [[nodiscard]] static bool conflicts(const claim& a, const claim& b) {
        for (const entry& y : b.set()) {
            if (conflicts(a, y)) { return true; }
        }
        return false;
    }

    // ---- what a step has done ----------------------------------------------------------------------------------------

    void check_step_of(known_claim& k) {
        const claim& c = *k.node;
        if (k.was != role::waits && k.now == role::waits) { ++seen.waits; }
        if (k.was == role::holds && k.now == role::waits) { violated(invariant::complete, "#%lld waits again", id(c)); }
        if (k.was == role::over && k.now == role::holds) {
            violated(invariant::token, "#%lld is back from expiry", id(c));
        }
        if (k.now == role::holds) { check_holder(k); }
        if (k.was != role::failed && k.now == role::failed) {
            seen.timeouts += c.why == dmasync::errc::timed_out || c.why == dmasync::errc::fence_timed_out ? 1U : 0U;
            seen.cancellations += c.why == dmasync::errc::cancelled ? 1U : 0U;
        }
    }

    void check_holder(known_claim& k) {
        const claim& c = *k.node;
        for (const entry& e : c.set()) {
            if (e.buffer == nullptr) { continue; }
            const place* before = k.was == role::holds ? place_of(k, e.buffer) : nullptr;
            if (before != nullptr) {
                check_change(*before, e, c);
            } else if (!was_moved_to(c, e)) {
                check_grant(k, e);
                k.uncounted = true;
            }
        }
        if (c.state.load() == phase::held && std::exchange(k.uncounted, false)) { ++seen.grants; }
        if (k.handed_over && is_handed_over(c) && !c.flags.has(dmasync::detail::claim_flags::overdue)) {
            check_renewal(k);
        }
    }

    [[nodiscard]] static bool is_handed_over(const claim& c) {
        return c.state.load() == phase::held || c.state.load() == phase::lent;
    }

    [[nodiscard]] static const place* place_of(const known_claim& k, const node* b) {
        for (const place& p : k.held) {
            if (p.buffer == b) { return &p; }
        }
        return nullptr;
    }

    /// A hold of a buffer has become another: a reader may only become a writer when nothing is in the way (R4).
    void check_change(const place& before, const entry& e, const claim& c) {
        if (dmasync::is_write(before.mode) || !dmasync::is_write(e.mode)) { return; }
        for (const known_claim* w : waiting_) {
            if (waits_for(*w->node, e.buffer)) {
                violated(invariant::order, "#%lld was upgraded past #%lld", id(c), id(*w->node));
            }
        }
        check_token(known(e.buffer), e);
    }

    /// What was split off, or joined to the rest of a transaction: the hold it is from had the buffer until this step.
    [[nodiscard]] bool was_moved_to(const claim& c, const entry& e) const {
        for (const known_claim& k : claims_) {
            const bool same =
                id(c) >= 0 ? k.node->user == c.user : c.transaction != nullptr && k.owner == c.transaction;
            if (k.node == &c || k.was != role::holds || !same) { continue; }
            const place* p = place_of(k, e.buffer);
            if (p != nullptr && p->mode == e.mode && !holds_now(k, e.buffer)) { return true; }
        }
        return false;
    }

    [[nodiscard]] static bool holds_now(const known_claim& k, const node* b) {
        if (k.now != role::holds) { return false; }
        for (const entry& e : k.node->set()) {
            if (e.buffer == b) { return true; }
        }
        return false;
    }

    /// R2: no older waiter is passed. A set that has not waited is the youngest; a transaction is as old as it is.
    void check_grant(const known_claim& k, const entry& e) {
        const claim& c = *k.node;
        for (const known_claim* w : waiting_) {
            const bool is_younger = c.transaction != nullptr ? is_older(c.transaction->ticket, w->node->ticket)
                                    : k.was == role::waits   ? is_older(c.ticket, w->node->ticket)
                                                             : false;
            if (!is_younger && conflicts(*w->node, e)) {
                violated(invariant::order, "#%lld was granted, and has overtaken #%lld", id(c), id(*w->node));
            }
        }
        check_token(known(e.buffer), e);
    }

    [[nodiscard]] static bool conflicts(const claim& a, const entry& y) {
        for (const entry& x : a.set()) {
            if (x.buffer == y.buffer && x.buffer != nullptr && dmasync::conflict(x.mode, y.mode)) { return true; }
        }
        return false;
    }

    void check_token(known_node& n, const entry& e) {
        const std::uint64_t t = e.buffer->token();
        const bool writes = dmasync::is_write(e.mode);
        if ((n.ever_written && t <= n.writer_token) || (n.ever_revoked && t <= n.revoked_token) ||
            (writes && n.ever_read && t <= n.reader_token)) {
            violated(invariant::token, "a grant has not grown the token of its buffer");
        }
        (writes ? n.ever_written : n.ever_read) = true;
        (writes ? n.writer_token : n.reader_token) = t;
    }

    /// A renewal must not make the oldest waiter wait for longer than one lease of the hold.
    void check_renewal(const known_claim& k) {
        const claim& c = *k.node;
        if (ns(c.until) < k.until) { violated(invariant::lease, "the lease of #%lld has become shorter", id(c)); }
        if (ns(c.until) == k.until) { return; }
        for (const known_claim* w : waiting_) {
            if (!shares(c, *w->node) || !is_oldest_for_one(c, *w)) { continue; }
            if (w->node->since + c.lease < c.until) {
                violated(invariant::lease, "#%lld was renewed for too long: #%lld waits", id(c), id(*w->node));
            }
        }
    }

    [[nodiscard]] static bool shares(const claim& a, const claim& b) {
        for (const entry& x : a.set()) {
            for (const entry& y : b.set()) {
                if (x.buffer == y.buffer && x.buffer != nullptr) { return true; }
            }
        }
        return false;
    }

    /// Whether `w` has waited for the longest for one of the buffers of `c`.
    [[nodiscard]] bool is_oldest_for_one(const claim& c, const known_claim& w) const {
        for (const entry& e : c.set()) {
            if (e.buffer == nullptr || !waits_for(*w.node, e.buffer)) { continue; }
            bool oldest = true;
            for (const known_claim* other : waiting_) {
                oldest &= !waits_for(*other->node, e.buffer) || !is_older(other->node->ticket, w.node->ticket);
            }
            if (oldest) { return true; }
        }
        return false;
    }

    [[nodiscard]] static bool waits_for(const claim& c, const node* b) {
        for (const entry& e : c.set()) {
            if (e.buffer == b) { return true; }
        }
        return false;
    }

    void check_expiry(const known_claim& k) {
        const claim& c = *k.node;
        ++seen.expirations;
        if (k.was != role::holds) { violated(invariant::lease, "#%lld has expired without having been a hold", id(c)); }
        if (time_of_notes < k.until) { violated(invariant::lease, "#%lld has expired before its time", id(c)); }
        for (const place& p : k.held) {
            for (known_node& n : nodes_) {
                if (n.buffer != p.buffer) { continue; }
                const std::uint64_t token = dmasync::is_write(p.mode) ? n.writer_token : n.reader_token;
                n.revoked_token = n.ever_revoked && n.revoked_token > token ? n.revoked_token : token;
                n.ever_revoked = true;
                if (n.buffer->token() <= token) {
                    violated(invariant::token, "the token did not grow when #%lld expired", id(c));
                }
            }
        }
    }

    // ---- time --------------------------------------------------------------------------------------------------------

    void check_clock() {
        if (!inspector::is_owned(*state_)) { return; }
        if (inspector::dates_later(*state_)) { return; } // the end of the turn sets the timer
        if (inspector::timer_is_late(*state_)) { violated(invariant::lease, "the timer is not set"); }
        const auto horizon = inspector::horizon(*state_);
        check_blocked_threads(horizon);
        for (const known_claim& k : claims_) {
            const phase p = k.node->state.load();
            check_keeper(*k.node, horizon);
            check_patience(*k.node, horizon);
            if (k.now != role::waits && (k.now != role::holds || p == phase::entering)) { continue; }
            if (!is_in_book(*k.node) && !may_be_endless(*k.node, p)) {
                violated(invariant::lease, "#%lld lasts for ever in phase %d", id(*k.node), static_cast<int>(p));
            }
            if (k.node->until < horizon) {
                violated(invariant::lease, "nothing will look when #%lld ends", id(*k.node));
            }
        }
    }

    /// Each claim that waits is looked after where it waits.
    void check_keeper(const claim& c, event_loop::time_point horizon) const {
        const phase p = c.state.load();
        if (p != phase::waiting && p != phase::fenced) { return; }
        if (c.is_blocking() || c.flags.has(dmasync::detail::claim_flags::disowned)) { return; }
        const bool at_home = c.loop == &state_->loop;
        if (!at_home && c.elsewhere == nullptr) {
            violated(invariant::lease, "#%lld waits on a loop that is not known", id(c));
        }
        const auto& w = at_home ? state_->home : *c.elsewhere;
        if (&w.loop != c.loop || (w.sleeps_to > horizon && !w.called)) {
            violated(invariant::lease, "#%lld waits on a loop that sleeps for too long", id(c));
        }
    }

    /// So is each of a thread that blocks.
    void check_blocked_threads(event_loop::time_point horizon) const {
        using dmasync::detail::blocked_thread;
        for (auto* t = state_->blocked.front(); t != nullptr; t = state_->blocked.next(*t)) {
            const bool sleeps = static_cast<const blocked_thread&>(*t).word.peek() == blocked_thread::asleep;
            if (sleeps && t->sleeps_to > horizon) { violated(invariant::lease, "a thread sleeps for too long"); }
        }
    }

    /// A lock that waits for too long is found by the next look at the clock, but for the pause after a report; and what waits no
    /// longer is not looked for.
    void check_patience(const claim& c, event_loop::time_point horizon) const {
        const auto after = state_->options.stuck.after;
        const bool waits = c.state.load() == phase::waiting;
        const bool is_stuck = c.flags.has(dmasync::detail::claim_flags::stuck);
        const bool is_watched = inspector::is_watched_for_stuck(c);
        if (is_watched && (!waits || is_stuck || after == dmasync::no_lease)) {
            violated(invariant::lease, "#%lld does not wait, and is watched", id(c));
        }
        if (waits && after != dmasync::no_lease && !is_stuck && !is_watched) {
            violated(invariant::lease, "#%lld waits, and is not watched", id(c));
        }
        const auto due = std::max(event_loop::later(c.since, after), inspector::next_stuck_report(*state_));
        if (is_watched && due < horizon) { violated(invariant::lease, "nothing will look when #%lld is stuck", id(c)); }
    }

    [[nodiscard]] bool may_be_endless(const claim& c, phase p) const {
        constexpr auto never = dmasync::event_loop::time_point::max();
        if (c.until != never) { return false; }
        if (p == phase::fenced) { return c.fence_timeout == dmasync::no_lease && c.deadline == never; }
        const bool device_may = state_->options.overdue_limit == dmasync::no_lease; // and then the guard goes on
        return p == phase::waiting || c.lease == dmasync::no_lease || device_may;
    }

    [[nodiscard]] static bool is_in_book(const claim& c) {
        return static_cast<const dmasync::detail::list_hook<dmasync::detail::timed_tag>&>(c).next != nullptr;
    }

    void remember() {
        const known_claim* oldest = nullptr;
        for (known_claim& k : claims_) {
            k.was = k.now;
            if (k.now == role::none) { k.uncounted = false; }
            k.held = {};
            k.owner = k.node->transaction;
            k.ticket = k.node->ticket;
            k.until = ns(k.node->until);
            k.handed_over = k.now == role::holds && is_handed_over(*k.node) && !inspector::dates_later(*state_);
            if (k.now == role::holds) { remember_places(k); }
            if (k.now == role::waits && (oldest == nullptr || is_older(k.ticket, oldest->ticket))) { oldest = &k; }
        }
        follow_oldest(oldest);
    }

    static void remember_places(known_claim& k) {
        for (std::size_t i = 0; i < k.node->size && i < k.held.size(); ++i) {
            k.held.at(i) = {k.node->entries[i].buffer, k.node->entries[i].mode};
        }
    }

    void follow_oldest(const known_claim* k) {
        const std::uint64_t ticket = k == nullptr ? no_ticket : k->ticket;
        if (ticket != oldest_) {
            oldest_ = ticket;
            oldest_since_ = time_of_notes;
        } else if (k != nullptr && time_of_notes - oldest_since_ > seen.longest_wait_of_oldest) {
            seen.longest_wait_of_oldest = time_of_notes - oldest_since_;
        }
    }

    dmasync::detail::domain_state* state_ = nullptr;
    inspector::claims known_;
    std::vector<known_claim> claims_;
    std::vector<known_claim*> waiting_;
    std::vector<known_node> nodes_;
    std::vector<known_transaction> transactions_;
    bool wait_die_ = false;
    std::uint64_t oldest_ = no_ticket;
    std::int64_t oldest_since_ = 0;
};

} // namespace sim
