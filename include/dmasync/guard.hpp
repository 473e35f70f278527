// SPDX-License-Identifier: MIT
#pragma once
/// \file guard.hpp  What a lock gives: the right to use its buffers, until it is given back or its lease runs out.

#include <dmasync/buffer.hpp>
#include <dmasync/detail/base/lifetimebound.hpp>
#include <dmasync/detail/domain/claim.hpp>
#include <dmasync/detail/domain/core.hpp>
#include <dmasync/detail/domain/holds.hpp>
#include <dmasync/detail/domain/leases.hpp>
#include <dmasync/detail/domain/loans.hpp>
#include <dmasync/detail/loop/detached.hpp>
#include <dmasync/fence.hpp>
#include <dmasync/unique_fd.hpp>
#include <dmasync/version.hpp>

#include <array>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <span>
#include <stop_token>
#include <system_error>
#include <type_traits>
#include <utility>

namespace dmasync::inline DMASYNC_ABI {

/// Holds the buffers of a set; unlocks them when it is destroyed. Move-only; empty after a move and after `unlock`.
///
/// When the lease runs out the guard turns `expired`: its buffers have been given to others. It then does no harm any
/// more, and says so. One thing it cannot undo: the CPU can go on writing through a span that was taken before. So after
/// every wait, look at `expired()`, or take the bytes anew, before touching the memory again.
/// Threads: one at a time; it may be moved to another thread and unlocked there.
class guard {
public:
    guard() noexcept = default;
    guard(guard&& other) noexcept : claim_{std::exchange(other.claim_, nullptr)}, error_{other.error_} {}
    guard& operator=(guard&& other) noexcept {
        if (this != &other) {
            give_back();
            claim_ = std::exchange(other.claim_, nullptr);
            error_ = other.error_;
        }
        return *this;
    }
    ~guard() {
        if (claim_ != nullptr) { detail::holds::unlock(*claim_); }
    }

    /// Whether there is a hold. An expired one counts: it was a hold, and the guard still answers for it.
    [[nodiscard]] explicit operator bool() const noexcept { return claim_ != nullptr; }

    /// Why a guard is empty: the failure of the lock that made it, else `errc::not_locked`. No error while it holds.
    [[nodiscard]] std::error_code error() const noexcept {
        return claim_ == nullptr ? error_.code() : std::error_code{};
    }

    /// Whether the lease has run out and the buffers have been given away.
    [[nodiscard]] bool expired() const noexcept {
        // acquire, with expire: what follows comes after the buffers were given away
        return claim_ != nullptr && claim_->state.load(std::memory_order_acquire) == detail::phase::expired;
    }

    /// Gives the buffers back and empties the guard. Never blocks, never throws; resumes no coroutine in place.
    /// Returns: nothing; `errc::lease_expired` when they had been given away before, `errc::not_locked` when empty; with
    /// `cpu_access::always` what the kernel says at the end of a bracket (the buffers are given back all the same).
    std::error_code unlock() noexcept {
        error_ = errc::not_locked;
        return give_back().code();
    }

    /// Gives one buffer back before the others.
    /// Errors: `errc::not_in_set`, also when it was released before; `errc::lease_expired`, `errc::not_locked`;
    /// `errc::invalid_access` while a device is at work.
    void release(const buffer& b) { deliver(change(detail::holds::release, b), nullptr); }
    void release(const buffer& b, std::error_code& ec) noexcept { deliver(change(detail::holds::release, b), &ec); }

    /// Goes on as a reader of a buffer that was locked for writing, without a moment in between. Other readers may join;
    /// a writable span taken before must not be used any more. Nothing happens to a buffer locked for reading.
    /// Errors: as `release`.
    void downgrade(const buffer& b) { deliver(change(detail::holds::downgrade, b), nullptr); }
    void downgrade(const buffer& b, std::error_code& ec) noexcept { deliver(change(detail::holds::downgrade, b), &ec); }

    /// Goes on as a writer of a buffer that was locked for reading, if that can be done at once: no other guard holds it,
    /// nothing waits for it, and no device is still reading it. It never waits: two readers that wait to become writers
    /// wait for each other. Nothing happens to a buffer locked for writing.
    /// Returns: whether the hold is a writer's now. When not, `errc::would_block` is set in a trailing error code.
    /// Errors:  else as `release`; with a dma-buf what the kernel says; thrown, or set.
    /// Source:  rule R4 of docs/design.md.
    [[nodiscard]] bool try_upgrade(const buffer& b) { return try_upgrade(b, nullptr); }
    [[nodiscard]] bool try_upgrade(const buffer& b, std::error_code& ec) noexcept { return try_upgrade(b, &ec); }

    /// Makes one buffer of the set a hold of its own, with the same end: the parts are unlocked one by one, or given to
    /// different devices.
    /// Returns: its guard; an empty one on failure.
    /// Errors:  as `release`; `errc::out_of_memory`.
    [[nodiscard]] guard split(const buffer& b) { return split(b, nullptr); }
    [[nodiscard]] guard split(const buffer& b, std::error_code& ec) noexcept { return split(b, &ec); }

    /// Says that a device is at work on the buffers, for as long as this guard holds them. When the lease ends they are
    /// not given away but reported overdue, until `unlock` or `domain_options::overdue_limit`. There are no bytes
    /// meanwhile. For drivers that say in their own way when they have finished (V4L2: DQBUF).
    /// Errors: `errc::lease_expired`, `errc::not_locked`.
    /// Source: S17.
    void hand_to_device() { deliver(lend(), nullptr); }
    void hand_to_device(std::error_code& ec) noexcept { deliver(lend(), &ec); }

    /// Gives the hold to a device, and empties the guard: the buffers are unlocked when `done` has ended, on the domain's
    /// loop. Until then as `hand_to_device`. A fence that ends with an error, or cannot be waited for, unlocks as well; it
    /// is reported (`lease_event::device_failed`) and counted. An empty fence has ended.
    /// Errors: as `hand_to_device`; nothing is unlocked then.
    /// Source: S12, S17.
    void release_on(fence done) { deliver(lend_until(done.release()), nullptr); }
    void release_on(fence done, std::error_code& ec) noexcept { deliver(lend_until(done.release()), &ec); }

    /// The same for one buffer of the set; the guard keeps the others.
    /// Errors: as `split`.
    void release_on(const buffer& b, fence done) { release_on(b, std::move(done), nullptr); }
    void release_on(const buffer& b, fence done, std::error_code& ec) noexcept { release_on(b, std::move(done), &ec); }

    /// The same with a descriptor that becomes readable when the device has finished, of a driver without fences.
    void release_on(unique_fd readable) { deliver(lend_until(std::move(readable)), nullptr); }
    void release_on(unique_fd readable, std::error_code& ec) noexcept { deliver(lend_until(std::move(readable)), &ec); }

    /// The same with anything else that can be moved and awaited, a `task<>` that waits for DQBUF, say. It is awaited at
    /// once; the buffers are unlocked where it resumes. An exception that leaves it counts as an error of the device.
    template <class Awaitable>
    void release_on(Awaitable done) {
        if (const errc e = lend(); e != errc{}) {
            deliver(e, nullptr);
            return;
        }
        unlock_after(std::move(*this), std::move(done));
    }

    /// Puts a fence on a dma-buf that is held, so that drivers and programs that know nothing of this library wait for
    /// it: as that of a writer when the buffer was locked for writing, else of a reader.
    /// Errors: `errc::not_a_dma_buf`, `errc::not_in_set`, `errc::lease_expired`, `errc::not_locked`; what the kernel says
    /// (ENOTTY before Linux 6.0).
    /// Source: S12; DMA_BUF_IOCTL_IMPORT_SYNC_FILE.
    void publish(const buffer& b, const fence& f) { publish(b, f, nullptr); }
    void publish(const buffer& b, const fence& f, std::error_code& ec) noexcept { publish(b, f, &ec); }

    /// Makes the lease end `lease` from now. While a lock waits for one of the buffers it is capped, so that it waits
    /// for no longer than one original lease; it never gets shorter.
    /// Returns: when the lease ends now.
    /// Errors:  `errc::lease_expired` when it is too late, `errc::invalid_lease`, `errc::not_locked`.
    event_loop::time_point renew(std::chrono::nanoseconds lease) { return renew(lease, nullptr); }
    event_loop::time_point renew(std::chrono::nanoseconds lease, std::error_code& ec) noexcept {
        return renew(lease, &ec);
    }

    /// When the lease ends, or ended; the clock's maximum for `no_lease` and for an empty guard.
    [[nodiscard]] event_loop::time_point expires_at() const noexcept {
        return claim_ == nullptr ? event_loop::time_point::max() : detail::leases::expires_at(*claim_);
    }

    /// The fencing token of this hold of the buffer; see `buffer::token`. After expiry it is smaller than the buffer's.
    /// Errors: `errc::not_in_set`, `errc::not_locked`; the token is 0 then.
    [[nodiscard]] std::uint64_t token(const buffer& b) const { return token(b, nullptr); }
    [[nodiscard]] std::uint64_t token(const buffer& b, std::error_code& ec) const noexcept { return token(b, &ec); }

    /// A token that is stopped when the lease runs out: its callbacks run on the thread that finds out, usually the
    /// domain's loop. Allocates when first called. An empty guard gives a token that never stops.
    [[nodiscard]] std::stop_token stop_token() const {
        return claim_ == nullptr ? std::stop_token{} : detail::leases::stop_token(*claim_);
    }

    /// The bytes of a buffer that was locked for CPU access.
    /// Errors: `errc::invalid_access` for a DMA access, and while a device is at work; `errc::no_cpu_access` when the memory cannot be mapped;
    /// `errc::not_in_set`, `errc::lease_expired`, `errc::not_locked`. The span is empty then.
    [[nodiscard]] std::span<const std::byte> bytes(const buffer& b) const DMASYNC_LIFETIMEBOUND {
        return bytes(entry_of(b), false, nullptr);
    }
    [[nodiscard]] std::span<const std::byte> bytes(const buffer& b,
                                                   std::error_code& ec) const noexcept DMASYNC_LIFETIMEBOUND {
        return bytes(entry_of(b), false, &ec);
    }

    /// The same, for a buffer that was locked for writing. Further error: `errc::invalid_access` for a reader.
    [[nodiscard]] std::span<std::byte> writable_bytes(const buffer& b) const DMASYNC_LIFETIMEBOUND {
        return bytes(entry_of(b), true, nullptr);
    }
    [[nodiscard]] std::span<std::byte> writable_bytes(const buffer& b,
                                                      std::error_code& ec) const noexcept DMASYNC_LIFETIMEBOUND {
        return bytes(entry_of(b), true, &ec);
    }

protected:
    /// The bytes of the buffer that was asked for as number `index`; the access is known to allow it, or was before a
    /// downgrade.
    [[nodiscard]] std::span<std::byte> bytes_at(std::size_t index, bool writing, std::error_code* ec) const {
        return bytes(claim_ == nullptr ? nullptr : &claim_->entries[index], writing, ec);
    }

    explicit guard(detail::claim& held) noexcept : claim_{&held} {}
    explicit guard(detail::failure why) noexcept : error_{why} {}

private:
    friend class lock_operation;
    template <class>
    friend class lock_awaitable;
    friend class transaction;

    detail::failure give_back() noexcept {
        if (claim_ == nullptr) { return errc::not_locked; }
        detail::claim& c = *std::exchange(claim_, nullptr);
        return detail::holds::unlock(c);
    }

    static void deliver(detail::failure f, std::error_code* ec) { detail::deliver(f.code(), ec, "dmasync: guard"); }

    using change_function = detail::failure(detail::claim&, const detail::buffer_state*) noexcept;

    [[nodiscard]] detail::failure change(change_function& f, const buffer& b) noexcept {
        return claim_ == nullptr ? errc::not_locked : f(*claim_, b.state_);
    }

    [[nodiscard]] bool try_upgrade(const buffer& b, std::error_code* ec) {
        const detail::failure f = change(detail::holds::try_upgrade, b);
        if (f != errc::would_block || ec != nullptr) { deliver(f, ec); }
        return !f;
    }

    [[nodiscard]] guard split(const buffer& b, std::error_code* ec) {
        detail::failure why = errc::not_locked;
        detail::claim* part = claim_ == nullptr ? nullptr : detail::holds::split(*claim_, b.state_, why);
        if (part != nullptr) {
            if (ec != nullptr) { ec->clear(); }
            return guard{*part};
        }
        deliver(why, ec);
        return guard{why};
    }

    [[nodiscard]] errc lend() noexcept { return claim_ == nullptr ? errc::not_locked : detail::holds::lend(*claim_); }

    [[nodiscard]] errc lend_until(unique_fd done) noexcept {
        const errc e = claim_ == nullptr ? errc::not_locked : detail::holds::lend_until(*claim_, std::move(done));
        if (e == errc{}) {
            claim_ = nullptr;
            error_ = errc::not_locked;
        }
        return e;
    }

    void release_on(const buffer& b, fence done, std::error_code* ec) {
        guard part = split(b, ec);
        if (part) { deliver(part.lend_until(done.release()), ec); }
    }

    template <class Awaitable>
    static detail::detached unlock_after(guard held, Awaitable done) {
        std::error_code failure;
#if defined(__cpp_exceptions)
        try {
#endif
            static_cast<void>(co_await std::move(done));
#if defined(__cpp_exceptions)
        } catch (const std::system_error& e) { failure = e.code(); } catch (...) {
            failure = errc::fence_failed;
        }
#endif
        detail::claim& c = *std::exchange(held.claim_, nullptr);
        detail::loans::end(c, failure);
    }

    void publish(const buffer& b, const fence& f, std::error_code* ec) {
        deliver(claim_ == nullptr ? detail::failure{errc::not_locked} : detail::holds::publish(*claim_, b.state_, f),
                ec);
    }

    event_loop::time_point renew(std::chrono::nanoseconds lease, std::error_code* ec) {
        event_loop::time_point until{};
        deliver(claim_ == nullptr ? errc::not_locked : detail::leases::renew(*claim_, lease, until), ec);
        return until;
    }

    [[nodiscard]] std::uint64_t token(const buffer& b, std::error_code* ec) const {
        std::uint64_t value = 0;
        deliver(claim_ == nullptr ? errc::not_locked : detail::holds::token(*claim_, b.state_, value), ec);
        return value;
    }

    [[nodiscard]] const detail::entry* entry_of(const buffer& b) const noexcept {
        if (claim_ == nullptr) { return nullptr; }
        detail::core::index(*claim_);
        return detail::core::find(*claim_, b.state_);
    }

    [[nodiscard]] std::span<std::byte> bytes(const detail::entry* e, bool writing, std::error_code* ec) const {
        const errc refusal = refuse_bytes(e, writing);
        deliver(refusal, ec);
        return refusal == errc{} ? detail::core::state_of(*e).memory.cpu.bytes() : std::span<std::byte>{};
    }

    [[nodiscard]] errc refuse_bytes(const detail::entry* e, bool writing) const noexcept {
        if (claim_ == nullptr) { return errc::not_locked; }
        const detail::phase p = claim_->state.load(std::memory_order_acquire); // with expire
        if (p == detail::phase::expired) { return errc::lease_expired; }
        if (p == detail::phase::lent) { return errc::invalid_access; }
        if (e == nullptr || e->buffer == nullptr) { return errc::not_in_set; }
        if (is_dma(e->mode) || (writing && !is_write(e->mode))) { return errc::invalid_access; }
        const mapping& cpu = detail::core::state_of(*e).memory.cpu;
        return cpu.bytes().empty() || (writing && !cpu.writable()) ? errc::no_cpu_access : errc{};
    }

    detail::claim* claim_ = nullptr; // owned: a held or expired claim
    detail::failure error_ = errc::not_locked;
};

/// A guard whose accesses are known to the compiler, in the order in which `lock` was given them: `bytes<0>()` is const
/// for a reader, mutable for a writer, and does not compile for DMA (S14).
template <access_mode... Accesses>
class guard_of : public guard {
    static constexpr std::array modes{Accesses...};
    static constexpr bool has_cpu = (... || !is_dma(Accesses));
    static constexpr bool has_cpu_write = (... || (!is_dma(Accesses) && is_write(Accesses)));

    template <std::size_t Index>
    [[nodiscard]] static consteval bool is_cpu() {
        if constexpr (Index < modes.size()) { return !is_dma(modes[Index]); }
        return false;
    }

public:
    guard_of() noexcept = default;
    explicit guard_of(guard g) noexcept : guard{std::move(g)} {}

private:
    friend class lock_operation;
    template <class>
    friend class lock_awaitable;

    explicit guard_of(detail::claim& held) noexcept : guard{held} {}
    explicit guard_of(detail::failure why) noexcept : guard{why} {}

public:
    /// The bytes of the buffer that was given as number `Index`: const for a reader, mutable for a writer.
    /// Errors: as `guard::bytes`.
    template <std::size_t Index>
        requires(is_cpu<Index>())
    [[nodiscard]] auto bytes() const DMASYNC_LIFETIMEBOUND { return typed<Index>(nullptr); }
    template <std::size_t Index>
        requires(is_cpu<Index>())
    [[nodiscard]] auto bytes(std::error_code& ec) const noexcept DMASYNC_LIFETIMEBOUND { return typed<Index>(&ec); }

    // As in guard, where at least one of the buffers can give them.
    [[nodiscard]] std::span<const std::byte> bytes(const buffer& b) const DMASYNC_LIFETIMEBOUND requires(has_cpu) {
        return guard::bytes(b);
    }
    [[nodiscard]] std::span<const std::byte> bytes(const buffer& b,
                                                   std::error_code& ec) const noexcept DMASYNC_LIFETIMEBOUND
        requires(has_cpu) {
        return guard::bytes(b, ec);
    }
    [[nodiscard]] std::span<std::byte> writable_bytes(const buffer& b) const DMASYNC_LIFETIMEBOUND
        requires(has_cpu_write) {
        return guard::writable_bytes(b);
    }
    [[nodiscard]] std::span<std::byte> writable_bytes(const buffer& b,
                                                      std::error_code& ec) const noexcept DMASYNC_LIFETIMEBOUND
        requires(has_cpu_write) {
        return guard::writable_bytes(b, ec);
    }

private:
    template <std::size_t Index>
    [[nodiscard]] auto typed(std::error_code* ec) const {
        constexpr bool writing = is_write(modes[Index]);
        using byte = std::conditional_t<writing, std::byte, const std::byte>;
        return std::span<byte>{this->bytes_at(Index, writing, ec)};
    }
};

} // namespace dmasync::inline DMASYNC_ABI
