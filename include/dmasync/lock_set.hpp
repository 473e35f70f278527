// SPDX-License-Identifier: MIT
#pragma once
/// \file lock_set.hpp  A set of buffers that is made once and locked many times.

#include <dmasync/buffer.hpp>
#include <dmasync/call_site.hpp>
#include <dmasync/detail/base/lifetimebound.hpp>
#include <dmasync/detail/base/position_index.hpp>
#include <dmasync/domain.hpp>
#include <dmasync/guard.hpp>
#include <dmasync/lock.hpp>
#include <dmasync/lock_options.hpp>
#include <dmasync/version.hpp>

#include <coroutine>
#include <cstddef>
#include <optional>
#include <string_view>
#include <system_error>
#include <utility>
#include <vector>

namespace dmasync::inline DMASYNC_ABI {

/// A named set of buffers with their accesses, locked every frame, say. It keeps its buffers alive.
///
/// Locked by one acquisition at a time: while that waits or holds, the set can be neither locked again nor changed.
/// Destroying the set leaves what it has locked, and what waits for it, as they are. It may outlive its domain.
/// Threads: one at a time; its guards are independent of it.
/// Source:  S1, S2 (the sync object of the proposal).
class lock_set {
public:
    /// `defaults` hold for every lock that does not say otherwise; its stop token and deadline are not kept.
    explicit lock_set(domain& d, dmasync::name name = {}, const lock_options& defaults = {}) noexcept
        : state_{d.state_}, options_id_{detail::buffers::add_set(*d.state_)}, defaults_{defaults} {
        defaults_.name = name;
        defaults_.stop = {};
        defaults_.deadline = event_loop::time_point::max();
    }
    lock_set(const lock_set&) = delete;
    lock_set& operator=(const lock_set&) = delete;
    ~lock_set() { detail::buffers::remove_set(*state_, live_); }

    /// Puts a buffer into the set.
    /// Errors: `errc::duplicate_buffer`, `wrong_domain`, `invalid_access`, `already_locked`, `out_of_memory`; the set
    /// is as it was then.
    void add(const buffer& b, access_mode mode) { add(b, mode, nullptr); }
    void add(const buffer& b, access_mode mode, std::error_code& ec) { add(b, mode, &ec); }

    /// Takes a buffer out of the set. The last one of the set takes its place.
    /// Errors: `errc::not_in_set`, `already_locked`.
    void remove(const buffer& b) { remove(b, nullptr); }
    void remove(const buffer& b, std::error_code& ec) { remove(b, &ec); }

    /// Takes all of them out.
    /// Errors: `errc::already_locked`.
    void clear() { clear(nullptr); }
    void clear(std::error_code& ec) { clear(&ec); }

    [[nodiscard]] std::size_t size() const noexcept { return buffers_.size(); }
    [[nodiscard]] std::string_view name() const noexcept DMASYNC_LIFETIMEBOUND { return defaults_.name.view(); }

private:
    /// What a lock of the set asks for.
    struct asked {
        using guard_type = guard;
        using error_code_type = std::error_code*;

        explicit asked(lock_set& s) noexcept : set{s} {}
        asked(lock_set& s, const lock_options& o) noexcept : set{s}, own_options{s.with_defaults(o)} {}

        /// As `acquire::fast`.
        [[nodiscard, gnu::always_inline]] detail::claim* acquire_fast(call_site place) const noexcept {
            const detail::registered_set whole{set.requests_, set.live_, options()};
            if (!own_options) [[likely]] { return detail::acquire::fast(*set.state_, whole, set.options_id_, place); }
            if (own_options->stop.requested()) { return nullptr; }
            return detail::acquire::fast(*set.state_, whole, detail::unidentified, place);
        }

        [[nodiscard]] static bool wait_fast(call_site, std::coroutine_handle<>, detail::claim*&) noexcept {
            return false;
        }

        void begin(std::optional<lock_operation>& o, std::error_code* ec, call_site place) const noexcept {
            o.emplace(set.state_, set.requests_, options(), own_options ? detail::unidentified : set.options_id_, ec,
                      place, &set.live_);
        }

        [[nodiscard]] const lock_options& options() const noexcept {
            return own_options ? *own_options : set.defaults_;
        }

        lock_set& set;
        std::optional<lock_options> own_options; // none: the set's are used as they are
    };

public:
    /// A lock of the set that is being waited for. Awaitable once, in any coroutine.
    using awaitable = lock_awaitable<asked>;

    /// Locks the whole set: `co_await set.lock()`. Guarantee, errors and threads as `dmasync::lock`; further errors:
    /// `errc::empty_set`, `already_locked`. A reused set locks without allocating.
    [[nodiscard]] awaitable lock(call_site::address where = call_site::here()) noexcept {
        return awaitable{nullptr, where, *this};
    }
    [[nodiscard]] awaitable lock(const lock_options& o, call_site::address where = call_site::here()) noexcept {
        return awaitable{nullptr, where, *this, o};
    }
    [[nodiscard]] awaitable lock(const lock_options& o, std::error_code& ec,
                                 call_site::address where = call_site::here()) noexcept {
        return awaitable{&ec, where, *this, o};
    }
    [[nodiscard]] awaitable lock(std::error_code& ec, call_site::address where = call_site::here()) noexcept {
        return awaitable{&ec, where, *this};
    }

    /// As `dmasync::try_lock`.
    [[nodiscard]] guard try_lock(const lock_options& o = {}, call_site::address where = call_site::here()) {
        return lock(o, where).try_and_take();
    }
    [[nodiscard]] guard try_lock(const lock_options& o, std::error_code& ec,
                                 call_site::address where = call_site::here()) {
        return lock(o, ec, where).try_and_take();
    }
    [[nodiscard]] guard try_lock(std::error_code& ec, call_site::address where = call_site::here()) {
        return lock(ec, where).try_and_take();
    }

    /// As `dmasync::blocking_lock`.
    [[nodiscard]] guard blocking_lock(const lock_options& o = {}, call_site::address where = call_site::here()) {
        return lock(o, where).block_and_take();
    }
    [[nodiscard]] guard blocking_lock(const lock_options& o, std::error_code& ec,
                                      call_site::address where = call_site::here()) {
        return lock(o, ec, where).block_and_take();
    }
    [[nodiscard]] guard blocking_lock(std::error_code& ec, call_site::address where = call_site::here()) {
        return lock(ec, where).block_and_take();
    }

private:
    [[nodiscard]] lock_options with_defaults(lock_options o) const noexcept {
        if (!o.lease) { o.lease = defaults_.lease; }
        if (!o.fence_timeout) { o.fence_timeout = defaults_.fence_timeout; }
        if (!o.fences) { o.fences = defaults_.fences; }
        if (!o.cpu_access) { o.cpu_access = defaults_.cpu_access; }
        if (o.on == nullptr) { o.on = defaults_.on; }
        if (o.name.empty()) { o.name = defaults_.name; }
        if (o.user == nullptr) { o.user = defaults_.user; }
        return o;
    }

    /// What the index looks at.
    [[nodiscard]] auto buffer_at() const noexcept {
        return [this](std::size_t i) -> const void* { return buffers_[i].state_; };
    }

    /// `size()` when it is not in the set.
    [[nodiscard]] std::size_t index_of(const buffer& b) const noexcept {
        return index_.find(b.state_, buffers_.size(), buffer_at());
    }

    [[nodiscard]] bool contains(const buffer& b) const noexcept { return index_of(b) != buffers_.size(); }

    [[nodiscard]] errc refuse_change() const noexcept {
        return detail::buffers::is_in_use(*state_, live_) ? errc::already_locked : errc{};
    }

    [[nodiscard]] errc refuse_add(const buffer& b, access_mode mode) const noexcept {
        if (!is_valid(mode)) { return errc::invalid_access; }
        if (!b || b.state_->domain != state_) { return errc::wrong_domain; }
        return contains(b) ? errc::duplicate_buffer : refuse_change();
    }

    /// Returns: whether there is nothing against it; otherwise the reason has been delivered.
    [[nodiscard]] static bool accept(errc refusal, std::error_code* ec, const char* what) {
        detail::deliver(refusal, ec, what);
        return refusal == errc{};
    }

    /// For one more buffer, so that adding it cannot fail half-way; for many more at once, so that each is moved seldom.
    void make_room() {
        if (requests_.size() == requests_.capacity()) { requests_.reserve(2 * requests_.size() + 4); }
        buffers_.reserve(requests_.capacity());
        index_.make_room(buffers_.size(), buffer_at());
    }

    void add(const buffer& b, access_mode mode, std::error_code* ec) {
        errc refusal = refuse_add(b, mode);
        if (refusal == errc{}) {
            refusal = detail::try_allocating([this] { make_room(); });
        }
        if (!accept(refusal, ec, "dmasync: lock_set::add")) { return; }
        index_.insert(b.state_, buffers_.size());
        buffers_.push_back(b);
        requests_.push_back({b.state_, mode});
    }

    void remove(const buffer& b, std::error_code* ec) {
        const std::size_t i = index_of(b);
        const errc refusal = i != buffers_.size() ? refuse_change() : errc::not_in_set;
        if (!accept(refusal, ec, "dmasync: lock_set::remove")) { return; }
        index_.remove(i, buffers_.size() - 1, buffer_at());
        requests_[i] = requests_.back();
        requests_.pop_back();
        std::swap(buffers_[i], buffers_.back());
        buffers_.pop_back();
    }

    void clear(std::error_code* ec) {
        if (!accept(refuse_change(), ec, "dmasync: lock_set::clear")) { return; }
        index_.clear();
        buffers_.clear();
        requests_.clear();
    }

    detail::domain_state* state_; // kept alive by being registered there
    const detail::options_id options_id_;
    std::vector<buffer> buffers_;
    std::vector<detail::request> requests_; // invariant: one for each of buffers_, in the same order
    detail::position_index index_;          // of buffers_
    detail::claim* live_ = nullptr;         // the acquisition that is going on; changed under the domain's lock
    lock_options defaults_;
};

} // namespace dmasync::inline DMASYNC_ABI
