// SPDX-License-Identifier: MIT
#pragma once
/// \file inspector.hpp  Looks into the state of a domain, which is private: for tests of what must be true inside.
///
/// Threads: while no thread is in a step of the domain's.

#include <dmasync/detail/domain/buffers.hpp>
#include <dmasync/detail/domain/callbacks.hpp>
#include <dmasync/detail/domain/claim_pool.hpp>
#include <dmasync/detail/domain/state.hpp>
#include <dmasync/domain.hpp>
#include <dmasync/version.hpp>

#include <cstddef>
#include <cstdint>
#include <utility>
#include <vector>

namespace dmasync::inline DMASYNC_ABI::detail {

struct inspector {
    [[nodiscard]] static domain_state& state_of(domain& d) noexcept { return *d.state_; }

    /// Has a fresh domain count its tickets from `first`: near their wrap, say.
    static void restart(domain& d, event_loop& loop, domain_options options, std::uint64_t first) {
        buffers::close_all(*std::exchange(d.state_, callbacks::make_domain(loop, std::move(options), first)));
    }

    /// Appends the claims that have been made since `known` was filled last.
    class claims {
    public:
        template <class Found>
        void update(domain_state& s, Found found) {
            claim_pool& pool = s.pool;
            for (claim_pool::chunk* c = pool.chunks_; c != newest_; c = c->next) {
                for (std::size_t i = 0; i < c->count; ++i) { found(*claim_pool::claim_in(*c, i)); }
            }
            newest_ = pool.chunks_;
        }

    private:
        const claim_pool::chunk* newest_ = nullptr;
    };

    [[nodiscard]] static std::size_t taken(domain_state& s) noexcept { return s.pool.taken(); }
    [[nodiscard]] static const buffer_registry& registry(domain_state& s) noexcept { return s.registry; }
    [[nodiscard]] static const domain_counters& counters(domain_state& s) noexcept { return s.counters; }
    [[nodiscard]] static const biased_lock& lock_of(domain_state& s) noexcept { return s.lock; }
    /// Whether no thread is inside; one may be about to be, or to take the bias away. Where the atomics can be looked at without being used.
    [[nodiscard]] static bool is_free(const biased_lock& l) noexcept {
        return l.biased_ ? l.inside_.peek() == 0 : l.shared_.word_.peek() == 0;
    }
    /// As if no thread had used the lock yet: the next may be given the bias. While no other is there.
    static void forget_users(domain_state& s) noexcept {
        biased_lock& l = s.lock;
        l.owner_.store({}, std::memory_order_relaxed);
        l.last_user_ = l.candidate_ = {};
        l.biased_ = false;
        l.uses_ = 0;
    }
    [[nodiscard]] static bool is_watched_for_stuck(const claim& c) noexcept { return patience_list::is_linked(c); }
    [[nodiscard]] static bool is_owned(domain_state& s) noexcept { return s.open; }
    [[nodiscard]] static bool timer_is_late(domain_state& s) noexcept { return s.sleepers_are_late; }
    /// Whether there are holds that have no time yet: their `since` and `until` say nothing.
    [[nodiscard]] static bool dates_later(domain_state& s) noexcept { return s.lazy_timestamps; }
    [[nodiscard]] static event_loop::time_point horizon(domain_state& s) noexcept { return s.horizon; }
    [[nodiscard]] static event_loop::time_point next_stuck_report(domain_state& s) noexcept {
        return s.next_stuck_report;
    }

    /// Whether the state ends with the step that is under way.
    [[nodiscard]] static bool is_last(domain_state& s) noexcept { return !s.open && s.is_unused(); }
};

} // namespace dmasync::inline DMASYNC_ABI::detail
