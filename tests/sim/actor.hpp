// SPDX-License-Identifier: MIT
#pragma once
/// \file actor.hpp  One acquisition of a run, and what it gets.

#include <dmasync/guard.hpp>
#include <dmasync/lock.hpp>
#include <dmasync/lock_set.hpp>
#include <dmasync/transaction.hpp>

#include <sim/program.hpp>

#include <support/probe.hpp>

#include <algorithm>
#include <array>
#include <coroutine>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <stop_token>
#include <system_error>

namespace sim {

/// A guard, and what it is known to hold.
struct part {
    dmasync::guard held;
    std::int64_t ends = 0; // no lease is to end earlier
    bool lent = false;
    std::stop_token watched;
    bool downgraded = false;
    bool expired = false; // its unlock has said so
};

struct actor {
    const operation* asked = nullptr;
    int id = nothing;
    std::array<dmasync::buffer, 6> handles; // while it waits
    std::array<dmasync::detail::request, 6> wants{};
    std::array<dmasync::detail::request, 6> wishes{}; // what a transaction begins with
    std::size_t size = 0;
    std::optional<std::stop_source> stop;
    std::stop_token token;
    dmasync::lock_options options;
    bool bare = false; // asks without options
    std::unique_ptr<dmasync::lock_set> own_set;
    dmasync::lock_set* set = nullptr;
    std::error_code ec;
    probe coroutine;
    bool begun = false;            // the coroutine has suspended, or is done
    bool done = false;             // there is an outcome
    bool destroyed = false;        // there will be none
    std::uint64_t uses_before = 0; // by devices, when it asked
    bool empty_handle = false;     // one of the buffers was dropped before
    bool gone_to_device = false;
    bool pausing = false;      // in a turn that cannot be taken back
    int attempts = 0;          // of a transaction
    bool wounded = false;      // the last of them was
    std::array<bool, 6> has{}; // of its buffers
    bool busy = false;         // a thread is at work on its guards
    std::array<part, 4> parts; // the first is what was locked, the others were split off

    [[nodiscard]] bool waits() const { return asked != nullptr && !done && !destroyed; }
};

/// What `dmasync::lock` would be asked for, where the set is known at run time only.
class wanted {
public:
    using guard_type = dmasync::guard;
    using error_code_type = std::error_code*;

    explicit wanted(const actor& a) noexcept : set_{a.wants.data(), a.size}, options_{a.options}, bare_{a.bare} {
        for (const dmasync::detail::request& r : set_) { nodes_.at(size_++) = r.buffer; }
    }

    /// The ways of nearly all are there for accesses that the compiler knows: of small sets there is one for each.
    [[nodiscard]] dmasync::detail::claim* acquire_fast(dmasync::call_site) const noexcept {
        return options_.stop.requested() ? nullptr : acquire_as<>();
    }
    [[nodiscard]] bool wait_fast(dmasync::call_site where, std::coroutine_handle<> waiter,
                                 dmasync::detail::claim*& mine) const noexcept {
        return bare_ && size_ == 1 &&
               dmasync::detail::acquire::wait_fast(*domain(), *nodes_[0], set_[0].mode, where, waiter, mine);
    }
    void begin(std::optional<dmasync::lock_operation>& o, std::error_code* ec,
               dmasync::call_site where) const noexcept {
        o.emplace(domain(), set_, bare_ ? dmasync::detail::no_lock_options : options_,
                  bare_ ? dmasync::detail::id_of_no_options : dmasync::detail::unidentified, ec, where);
    }

private:
    [[nodiscard]] dmasync::detail::domain_state* domain() const noexcept {
        return static_cast<dmasync::detail::buffer_state*>(nodes_[0])->domain;
    }

    template <dmasync::access_mode... Modes>
    [[nodiscard]] dmasync::detail::claim* acquire_as() const noexcept {
        constexpr std::size_t n = sizeof...(Modes);
        if constexpr (n != 0) {
            if (n == size_) {
                dmasync::detail::listed_set<Modes...> set;
                std::copy_n(nodes_.begin(), n, set.nodes.begin());
                if (bare_) {
                    return dmasync::detail::acquire::fast(*domain(), set, dmasync::detail::id_of_no_options, {});
                }
                const dmasync::detail::listed_set_with_options<Modes...> with{set, options_};
                return dmasync::detail::acquire::fast(*domain(), with, dmasync::detail::unidentified, {});
            }
        }
        using dmasync::access_mode;
        if constexpr (n < 3) {
            switch (set_[n].mode) {
            case access_mode::read: return acquire_as<Modes..., access_mode::read>();
            case access_mode::write: return acquire_as<Modes..., access_mode::write>();
            default: break;
            }
        }
        if constexpr (n == 0) {
            switch (set_[n].mode) {
            case access_mode::read_write: return acquire_as<access_mode::read_write>();
            case access_mode::dma_read: return acquire_as<access_mode::dma_read>();
            case access_mode::dma_write: return acquire_as<access_mode::dma_write>();
            case access_mode::dma_read_write: return acquire_as<access_mode::dma_read_write>();
            default: break;
            }
        }
        return nullptr;
    }

    std::span<const dmasync::detail::request> set_;
    const dmasync::lock_options& options_;
    const bool bare_;
    std::array<dmasync::detail::buffer_node*, 6> nodes_{};
    std::size_t size_ = 0;
};

/// `dmasync::lock` of that.
struct any_lock : dmasync::lock_awaitable<wanted> {
    explicit any_lock(actor& a) noexcept : lock_awaitable{&a.ec, {}, a} {}
};

} // namespace sim
