// SPDX-License-Identifier: MIT
#pragma once
/// \file brackets.hpp  Tells the kernel, outside of the lock, that the CPU begins and ends to use the dma-bufs of a claim.

#include <dmasync/access_mode.hpp>
#include <dmasync/detail/base/assertion.hpp>
#include <dmasync/detail/base/failure.hpp>
#include <dmasync/detail/domain/buffer_state.hpp>
#include <dmasync/detail/domain/claim.hpp>
#include <dmasync/detail/domain/clock.hpp>
#include <dmasync/detail/domain/core.hpp>
#include <dmasync/detail/domain/critical_section.hpp>
#include <dmasync/detail/kernel/cpu_bracket.hpp>
#include <dmasync/lock_options.hpp>
#include <dmasync/version.hpp>

#include <cstdint>
#include <system_error>

namespace dmasync::inline DMASYNC_ABI::detail {

/// Leaves a critical section for as long as it exists, to call the kernel for a claim, and comes back.
///
/// The claim is `entering` meanwhile, and time stands still for it: it can neither be given up nor expire.
class kernel_section {
public:
    kernel_section(critical_section& s, claim& c) noexcept : section_{s} {
        clock::leave(c);
        set_phase(c, phase::entering);
        section_.leave();
    }
    kernel_section(const kernel_section&) = delete;
    kernel_section& operator=(const kernel_section&) = delete;
    ~kernel_section() { section_.enter(); }

    /// A hold that was in the kernel is a hold as before, with the same end.
    static void put_back(locked d, claim& c) noexcept {
        DMASYNC_ASSERT(c.state_now() == phase::entering);
        set_phase(c, phase::held);
        clock::reenter(d, c, clock::coarse_now(d), c.until);
    }

private:
    critical_section& section_;
};

class brackets {
public:
    /// What the grant of one set came to, in requests to the kernel.
    struct count {
        std::uint64_t made = 0;
        std::uint64_t naive = 0; // without knowledge of the previous access
    };

    /// Whether the hold itself tells the kernel what the CPU does with this buffer. Threads: the claim's owner.
    [[nodiscard]] static bool wants_own(const claim& c, const entry& e) noexcept {
        return may_have_own(c) && !is_dma(e.mode) && core::state_of(e).is_dma_buf();
    }
    [[nodiscard]] static bool may_have_own(const claim& c) noexcept {
        return c.brackets == cpu_access::always && c.has_dma_buf();
    }

    [[nodiscard]] static std::error_code open_own(entry& e) noexcept {
        DMASYNC_ASSERT(!is_dma(e.mode));
        const std::error_code ec = cpu_bracket::enter_always(core::state_of(e).memory.fd.get(), e.mode);
        e.own_bracket = !ec;
        return ec;
    }

    /// What the kernel refuses to end is left to the next device.
    static std::error_code close_own(entry& e) noexcept {
        DMASYNC_ASSERT(e.own_bracket);
        const std::error_code ec = cpu_bracket::leave_always(core::state_of(e).memory.fd.get(), e.mode);
        if (ec) { core::state_of(e).bracket.inherit(e.mode); }
        e.own_bracket = false;
        return ec;
    }

    /// Opens what a granted set needs. Returns: what the kernel refuses; what was opened is closed again then.
    [[nodiscard]] static failure open(const claim& c, count& n) noexcept {
        DMASYNC_ASSERT(c.state_now() == phase::entering);
        for (entry& e : c.set()) {
            buffer_state& b = core::state_of(e);
            if (!b.is_dma_buf()) { continue; }
            const bool own = wants_own(c, e);
            n.made += own ? 1U : 0U;
            n.naive += is_dma(e.mode) ? 0U : 2U;
            const std::error_code ec = own ? open_own(e) : b.bracket.enter(b.memory.fd.get(), e.mode, n.made);
            if (ec) {
                close(c, nullptr, n.made);
                return failure::from(ec);
            }
        }
        return {};
    }

    /// Closes what a hold has opened for itself, in all its entries or in `only` that one.
    /// Returns: the first refusal of the kernel.
    static failure close(const claim& c, const entry* only, std::uint64_t& made) noexcept {
        failure f;
        for (entry& e : c.set()) {
            if (!e.own_bracket || (only != nullptr && only != &e)) { continue; }
            ++made;
            const std::error_code ec = close_own(e);
            if (ec && !f) { f = failure::from(ec); }
        }
        return f;
    }

    /// Closes, outside of the lock, all that a hold has opened for itself. The claim is `entering` afterwards.
    static failure close_all(critical_section& s, claim& c) noexcept {
        failure f;
        std::uint64_t made = 0;
        {
            const kernel_section outside{s, c};
            f = close(c, nullptr, made);
        }
        s->counters.brackets_told += made;
        return f;
    }
};

} // namespace dmasync::inline DMASYNC_ABI::detail
