// SPDX-License-Identifier: MIT
#pragma once
/// \file snapshot_builder.hpp  Copies a domain's state at one moment, and makes a snapshot of the copy.

#include <dmasync/detail/domain/buffer_state.hpp>
#include <dmasync/detail/domain/claim.hpp>
#include <dmasync/detail/domain/core.hpp>
#include <dmasync/detail/domain/critical_section.hpp>
#include <dmasync/detail/domain/state.hpp>
#include <dmasync/detail/observe/wait_graph.hpp>
#include <dmasync/dma_buf.hpp>
#include <dmasync/event_loop.hpp>
#include <dmasync/fence.hpp>
#include <dmasync/observe/domain_snapshot.hpp>
#include <dmasync/version.hpp>

#include <algorithm>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <map>
#include <mutex>
#include <span>
#include <system_error>
#include <tuple>
#include <utility>
#include <vector>

namespace dmasync::inline DMASYNC_ABI::detail {

/// Looks at a domain once.
///
/// Under the domain's lock records are copied to memory that is there already, and nothing else is done. When that was not
/// enough more is taken after unlocking, and all is copied anew. Names are looked up, records are sorted and the kernel is
/// asked for fences afterwards; the dma-bufs are kept alive until then.
class snapshot_builder {
public:
    explicit snapshot_builder(domain_state& d) noexcept : domain_{d} {}
    snapshot_builder(const snapshot_builder&) = delete;
    snapshot_builder& operator=(const snapshot_builder&) = delete;
    ~snapshot_builder() { unpin(); }

    [[nodiscard]] domain_snapshot look() { return look(false); }

    /// The same, for the report of those that are stuck.
    [[nodiscard]] domain_snapshot look_for_stuck() { return look(true); }

    /// Those that are stuck, of the snapshot: each is seen here once.
    [[nodiscard]] const std::vector<std::size_t>& stuck() const noexcept { return stuck_; }

private:
    [[nodiscard]] domain_snapshot look(bool for_stuck) {
        while (!copy(for_stuck)) {}
        sort();
        domain_snapshot s;
        s.domain = domain_.options.name;
        s.counters = counters_;
        s.buffers.reserve(buffers_.size());
        for (const buffer_record& b : buffers_) { s.buffers.push_back(seen(b)); }
        s.acquisitions.reserve(claims_.size());
        for (const claim_record& c : claims_) { add(c, s); }
        find_obstacles(s);
        return s;
    }

    struct buffer_record {
        buffer_state* id;
        std::uint32_t state;
        access_mode last;
        std::uint64_t token;
    };

    struct claim_record {
        const claim* id;
        const transaction_node* transaction;
        phase state;
        bool wounded;
        bool blocking;
        bool stuck;
        bool stuck_unreported;
        name label;
        std::uint64_t ticket;
        domain_state::time_point since;
        domain_state::time_point until;
        std::chrono::nanoseconds lease;
        call_site place;
        void* user;
        std::size_t first; // of its entries
        std::size_t size;
    };

    struct entry_record {
        const buffer_node* buffer;
        access_mode mode;
    };

    // ---- under the lock ----------------------------------------------------------------------------------------------

    /// Returns: whether there was room for everything; there is more of it now otherwise.
    [[nodiscard]] bool copy(bool for_stuck) {
        std::size_t buffers = 0;
        std::size_t claims = 0;
        std::size_t entries = 0;
        clear();
        {
            const critical_section s{domain_};
            buffers = s->buffer_count;
            s->pool.for_each_begun([&](const claim& c) {
                if (!is_shown(c)) { return; }
                ++claims;
                entries += c.size;
                if (entries <= entries_.capacity() && claims <= claims_.capacity()) { copy(c); }
            });
            if (buffers <= buffers_.capacity() && claims_.size() == claims) {
                copy_buffers(s);
                if (for_stuck) {
                    pauses_reports_ = true;
                    s->pool.for_each_begun([](claim& c) { c.flags.clear(claim_flags::stuck_unreported); });
                }
                return true;
            }
        }
        reserve(buffers_, buffers);
        reserve(claims_, claims);
        reserve(entries_, entries);
        return false;
    }

    [[nodiscard]] static bool is_shown(const claim& c) noexcept {
        return c.state_now() != phase::failed && !c.flags.has(claim_flags::disowned);
    }

    void copy(const claim& c) noexcept {
        const std::size_t first = entries_.size();
        for (const entry& e : c.set()) {
            if (e.buffer != nullptr) { entries_.push_back({e.buffer, e.mode}); }
        }
        claims_.push_back({&c, c.transaction, c.state_now(), c.transaction != nullptr && c.transaction->is_wounded(),
                           c.is_blocking(), c.flags.has(claim_flags::stuck), c.flags.has(claim_flags::stuck_unreported),
                           c.label, c.ticket, c.since, c.until, c.lease, c.place, c.user, first,
                           entries_.size() - first});
    }

    void copy_buffers(locked d) noexcept {
        for (buffer_state* b = d->all_buffers.front(); b != nullptr; b = d->all_buffers.next(*b)) {
            ++b->pins; // also for its name and memory, which are looked at later
            buffers_.push_back({b, b->state, b->last, b->token()});
        }
        counters_ = d->counters;
        now_ = d->loop.now();
    }

    /// In steps of the domain's, for a buffer may have lost all others that kept it alive.
    void unpin() noexcept {
        if (buffers_.empty()) { return; }
        critical_section s{domain_};
        if (pauses_reports_ && s->open) { pause_reports(s); }
        for (const buffer_record& b : buffers_) {
            --b.id->pins;
            core::bury_if_dead(s, *b.id);
        }
    }

    /// A report looks at the whole domain. A pause of many times what it took follows, so that reports have a bounded share of
    /// the time however many claims wait, and those that come due meanwhile are reported together.
    void pause_reports(locked d) const noexcept {
        constexpr int times = 31;
        const auto now = d->loop.now();
        d->next_stuck_report = std::max(d->next_stuck_report, event_loop::later(now, (now - now_) * times));
    }

    // ---- after it ----------------------------------------------------------------------------------------------------

    void clear() noexcept {
        buffers_.clear();
        claims_.clear();
        entries_.clear();
    }

    /// A little more than it was a moment ago.
    template <class T>
    static void reserve(std::vector<T>& v, std::size_t size) {
        v.reserve(size + size / 4 + 16);
    }

    /// Holds come first, in order of time; then waits, in order of age.
    void sort() {
        std::sort(claims_.begin(), claims_.end(), [](const claim_record& a, const claim_record& b) {
            const bool a_waits = a.state == phase::waiting;
            const bool b_waits = b.state == phase::waiting;
            if (a_waits && b_waits) { return older(a.ticket, b.ticket); }
            return std::tuple{a_waits, a.since, a.id} < std::tuple{b_waits, b.since, b.id};
        });
        for (std::size_t i = 0; i < buffers_.size(); ++i) { places_.emplace_back(buffers_[i].id, i); }
        std::sort(places_.begin(), places_.end());
    }

    [[nodiscard]] std::size_t place_of(const buffer_node* b) const {
        return std::lower_bound(places_.begin(), places_.end(), std::pair{b, std::size_t{0}})->second;
    }

    [[nodiscard]] static domain_snapshot::buffer seen(const buffer_record& r) {
        const buffer_state& b = *r.id;
        domain_snapshot::buffer v;
        v.name = b.label;
        v.size = b.memory.size;
        v.memory = b.memory.kind;
        v.device = b.memory.identity.device;
        v.inode = b.memory.identity.inode;
        v.token = r.token;
        if (is_valid(r.last)) { v.last_access = r.last; }
        v.closed = (r.state & buffer_node::closed) != 0;
        if (b.is_dma_buf()) {
            v.fences_before_read = pending_fences(b.memory.fd.get(), access_mode::read);
            v.fences_before_write = pending_fences(b.memory.fd.get(), access_mode::write);
        }
        return v;
    }

    [[nodiscard]] static std::size_t pending_fences(int fd, access_mode a) {
        if (dma_buf::is_idle(fd, a)) { return 0; }
        std::error_code ec;
        const fence all = dma_buf::export_fence(fd, a, ec);
        fence_points points;
        if (ec || points.read(all.fd())) { return 1; }
        const auto is_pending = [](const sync_fence_info& p) { return p.status == 0; };
        return static_cast<std::size_t>(std::count_if(points.points().begin(), points.points().end(), is_pending));
    }

    void add(const claim_record& r, domain_snapshot& s) {
        const std::size_t number = s.acquisitions.size();
        domain_snapshot::acquisition& a = s.acquisitions.emplace_back();
        a.set = r.label;
        a.state = state_of(r.state);
        if (r.since != domain_state::time_point{}) { a.age = std::max(now_ - r.since, {}); }
        a.lease = r.lease;
        const bool holds = r.state == phase::held || r.state == phase::lent;
        if (holds && r.until != domain_state::time_point::max()) { a.lease_left = r.until - now_; }
        if (r.state == phase::waiting) { a.ticket = r.ticket; }
        if (r.transaction != nullptr) { a.transaction = number_of(r.transaction); }
        a.wounded = r.wounded;
        a.stuck = r.stuck;
        if (r.stuck_unreported) { stuck_.push_back(number); }
        a.blocks_thread = r.blocking && r.state == phase::waiting;
        a.place = r.place;
        a.user = r.user;
        for (const entry_record& e : std::span{entries_}.subspan(r.first, r.size)) {
            const std::size_t b = place_of(e.buffer);
            a.parts.push_back({b, e.mode});
            users(s.buffers[b], a.state).push_back({number, e.mode});
        }
    }

    [[nodiscard]] static std::vector<domain_snapshot::use>& users(domain_snapshot::buffer& b, acquisition_state s) {
        if (s == acquisition_state::waiting) { return b.waiters; }
        return s == acquisition_state::expired ? b.losers : b.holders;
    }

    [[nodiscard]] std::size_t number_of(const transaction_node* t) {
        return transactions_.emplace(t, transactions_.size()).first->second;
    }

    [[nodiscard]] static acquisition_state state_of(phase p) noexcept {
        switch (p) {
        case phase::waiting: return acquisition_state::waiting;
        case phase::fenced: return acquisition_state::fenced;
        case phase::entering: return acquisition_state::entering;
        case phase::lent: return acquisition_state::lent;
        case phase::expired: return acquisition_state::expired;
        default: return acquisition_state::held;
        }
    }

    domain_state& domain_;
    std::vector<buffer_record> buffers_; // invariant: each is pinned once
    std::vector<claim_record> claims_;
    std::vector<entry_record> entries_;
    domain_counters counters_;
    domain_state::time_point now_{};
    std::vector<std::pair<const buffer_node*, std::size_t>> places_; // of buffers, in order of address
    std::map<const transaction_node*, std::size_t> transactions_;
    std::vector<std::size_t> stuck_;
    bool pauses_reports_ = false; // when it is destroyed, which is after the report
};

} // namespace dmasync::inline DMASYNC_ABI::detail
