// SPDX-License-Identifier: MIT
#pragma once
/// \file critical_section.hpp  One change of a domain's state: what is done under its lock, and what follows from it.

#include <dmasync/detail/base/assertion.hpp>
#include <dmasync/detail/domain/buffer_state.hpp>
#include <dmasync/detail/domain/clock.hpp>
#include <dmasync/detail/domain/state.hpp>
#include <dmasync/detail/policy/nodes.hpp>
#include <dmasync/version.hpp>

#include <mutex>
#include <stop_token>

namespace dmasync::inline DMASYNC_ABI::detail {

/// Locks a domain. Plain data is changed under the lock; what has to follow is collected here, and done after unlocking:
/// waiters are notified, records are freed, the state itself is when nothing refers to it any more. None begins inside another.
class critical_section {
public:
    explicit critical_section(domain_state& d) noexcept : domain_{d} { enter(); }
    critical_section(locked d, std::adopt_lock_t) noexcept : domain_{*d} {}
    critical_section(const critical_section&) = delete;
    critical_section& operator=(const critical_section&) = delete;
    ~critical_section() { leave(); }

    [[nodiscard]] domain_state* operator->() const noexcept { return &domain_; }
    [[nodiscard]] domain_state& domain() const noexcept { return domain_; }
    operator locked() const noexcept { return locked{domain_}; } // NOLINT(google-explicit-constructor): it is the proof

    decisions out;                              // of the policy
    buffer_state* dead = nullptr;               // to be freed
    std::stop_source retired{std::nostopstate}; // to be freed

private:
    friend class kernel_section;

    void enter() noexcept {
        domain_.lock.lock();
        clock::date_holds(locked{domain_});
    }
    void leave() noexcept {
        if (out.ready.empty() && out.wounded.empty() && dead == nullptr && !domain_.sleepers_are_late && domain_.open) {
            domain_.lock.unlock();
        } else {
            finish();
        }
    }

    /// Ends the critical section where something has to follow. Defined in core.hpp: it carries out what was decided.
    void finish() noexcept;

    domain_state& domain_;
};

} // namespace dmasync::inline DMASYNC_ABI::detail
