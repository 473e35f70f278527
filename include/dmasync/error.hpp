// SPDX-License-Identifier: MIT
#pragma once
/// \file error.hpp  What can go wrong, as values of one `std::error_code` category.

#include <dmasync/detail/kernel/standard_error.hpp>
#include <dmasync/version.hpp>

#include <cerrno>
#include <cstdlib>
#include <cstring>
#include <new>
#include <string>
#include <system_error>

namespace dmasync::inline DMASYNC_ABI {

/// Every way in which a call of this library can fail by its own judgement. What the kernel answers is passed on
/// unchanged, as `std::system_category`. docs/errors.md says for each what to do about it.
enum class errc {
    empty_set = 1,    ///< a lock of no buffers
    duplicate_buffer, ///< one buffer twice in a set, be it by two file descriptors
    wrong_domain,     ///< buffers of different domains in one set, or an empty buffer handle
    invalid_access,   ///< flags that are no access type, or bytes asked for in a way the hold does not allow
    invalid_lease,    ///< a lease of no or negative length
    would_block,      ///< a try_lock that would have had to wait
    timed_out,        ///< the deadline passed before the set was granted, or the fence ended
    cancelled,        ///< stop was requested before the set was granted, or the fence ended
    wounded,          ///< an older acquisition wants what this transaction has: it gives all back and tries again
    transaction_done, ///< a transaction that is complete is extended, completed or restarted
    lease_expired,    ///< the hold lasted longer than its lease: its buffers have been given away
    not_locked,       ///< unlock, renew, ... of a guard that holds nothing (any more)
    not_in_set,       ///< a buffer that this guard or set does not contain
    already_locked,   ///< a lock_set that is locked or being locked is locked again, or changed; a transaction has it
    would_deadlock,   ///< a blocking lock that would have to wait on a thread that is running an event loop
    closed,           ///< the buffer, its domain, or the event loop has been closed
    not_a_buffer,     ///< import of a file descriptor that is no shareable memory
    not_sealed,       ///< import of a memory file that can be made shorter, where that was to be refused
    size_changed,     ///< import of memory that there is a buffer of, but of another size: the file was resized
    overlaps_buffer,  ///< adoption of memory of which another buffer has a part
    no_cpu_access,    ///< the memory behind the buffer has no CPU mapping
    not_a_fence,      ///< a file descriptor that is no sync_file
    not_a_dma_buf,    ///< a file descriptor that is no dma-buf
    fence_failed,     ///< a device reported an error by the fence of its work
    fence_timed_out,  ///< a device did not end its work in time
    out_of_memory,    ///< no memory for one more acquisition or buffer
    forked,           ///< the event loop is the parent process's, and this one its child
};

} // namespace dmasync::inline DMASYNC_ABI

template <>
struct std::is_error_code_enum<dmasync::errc> : std::true_type {};

namespace dmasync::inline DMASYNC_ABI {

namespace detail {

/// Whether it is the category of `errc`: this shared object's, or another one's. A plug-in that hides its symbols has a
/// category object of its own, so an address does not tell.
[[nodiscard]] inline bool is_category_of_errc(const std::error_category& c) noexcept {
    return std::strcmp(c.name(), "dmasync") == 0;
}

class error_category final : public std::error_category {
public:
    [[nodiscard]] const char* name() const noexcept override { return "dmasync"; }

    [[nodiscard]] std::string message(int value) const override { return text(static_cast<errc>(value)); }

    [[nodiscard]] std::error_condition default_error_condition(int value) const noexcept override {
        switch (static_cast<errc>(value)) {
        case errc::empty_set:
        case errc::duplicate_buffer:
        case errc::wrong_domain:
        case errc::invalid_access:
        case errc::invalid_lease:
        case errc::not_in_set:
        case errc::overlaps_buffer:
        case errc::not_a_fence:
        case errc::not_a_dma_buf: return std::errc::invalid_argument;
        case errc::would_block: return std::errc::resource_unavailable_try_again;
        case errc::timed_out:
        case errc::fence_timed_out: return std::errc::timed_out;
        case errc::cancelled: return std::errc::operation_canceled;
        case errc::wounded:
        case errc::would_deadlock: return std::errc::resource_deadlock_would_occur;
        case errc::transaction_done:
        case errc::not_sealed:
        case errc::forked:
        case errc::not_locked: return std::errc::operation_not_permitted;
        case errc::already_locked: return std::errc::device_or_resource_busy;
        case errc::closed: return std::errc::bad_file_descriptor;
        case errc::not_a_buffer:
        case errc::no_cpu_access: return std::errc::not_supported;
        case errc::fence_failed: return std::errc::io_error;
        case errc::out_of_memory: return std::errc::not_enough_memory;
        case errc::lease_expired: // no standard condition says "yours no longer"
        case errc::size_changed: break;
        }
        return {value, *this};
    }

    using std::error_category::equivalent;
    [[nodiscard]] bool equivalent(const std::error_code& code, int condition) const noexcept override {
        return is_category_of_errc(code.category()) && code.value() == condition;
    }

private:
    [[nodiscard]] static const char* text(errc e) noexcept {
        switch (e) {
        case errc::empty_set: return "the set of buffers to lock is empty";
        case errc::duplicate_buffer: return "a buffer is twice in the set";
        case errc::wrong_domain: return "the buffers of a set belong to different domains, or to none";
        case errc::invalid_access: return "the access is none of the six, or does not allow this use of the buffer";
        case errc::invalid_lease: return "a lease must be longer than nothing";
        case errc::would_block: return "the set cannot be locked at once";
        case errc::timed_out: return "the deadline passed first";
        case errc::cancelled: return "stop was requested first";
        case errc::wounded: return "an older acquisition wants the buffers: give all back and try again";
        case errc::transaction_done: return "the transaction is complete";
        case errc::lease_expired: return "the lease ran out and the buffers were given away";
        case errc::not_locked: return "nothing is held";
        case errc::not_in_set: return "the buffer is not in the set";
        case errc::already_locked: return "it is locked, or being locked, already";
        case errc::would_deadlock: return "a blocking lock would stop the event loop that runs on this thread";
        case errc::closed: return "the buffer, its domain or the event loop is closed";
        case errc::not_a_buffer: return "the file descriptor is not memory that can be shared";
        case errc::not_sealed: return "the memory file is not sealed against being made shorter";
        case errc::size_changed: return "the memory file was resized since it became a buffer";
        case errc::overlaps_buffer: return "another buffer has a part of the memory";
        case errc::no_cpu_access: return "the buffer cannot be mapped for the CPU";
        case errc::not_a_fence: return "the file descriptor is not a fence";
        case errc::not_a_dma_buf: return "the file descriptor is not a dma-buf";
        case errc::fence_failed: return "a device reported an error: its fence failed";
        case errc::fence_timed_out: return "the fence of a device did not end in time";
        case errc::out_of_memory: return "out of memory";
        case errc::forked: return "the event loop belongs to the parent process: make another one after the fork";
        }
        return "unknown error";
    }
};

} // namespace detail

/// The category of `errc`. Every shared object that hides its symbols has one of its own. Threads: any.
[[nodiscard]] inline const std::error_category& error_category() noexcept {
    static const detail::error_category instance;
    return instance;
}

/// Lets an `errc` stand wherever a `std::error_code` is expected.
[[nodiscard]] inline std::error_code make_error_code(errc e) noexcept {
    return {static_cast<int>(e), error_category()};
}

/// Whether a code is this error, in whichever shared object of the process it was made.
/// Two stored codes of different shared objects are unequal all the same: the standard library compares addresses.
[[nodiscard]] inline bool operator==(const std::error_code& code, errc e) noexcept {
    return code.value() == static_cast<int>(e) && detail::is_category_of_errc(code.category());
}

namespace detail {

#if defined(__cpp_exceptions)
inline constexpr bool has_exceptions = true;
#else
inline constexpr bool has_exceptions = false;
#endif

/// Hands a result to the caller: into `*ec` where the caller gave one, else thrown when it is a failure. Without
/// exceptions the caller of a throwing form gets an empty value instead.
inline void deliver(std::error_code result, std::error_code* ec, [[maybe_unused]] const char* what) {
    if (ec != nullptr) {
        *ec = result;
        return;
    }
#if defined(__cpp_exceptions)
    if (result) { throw std::system_error(result, what); }
#endif
}

/// No error for `errc{}`.
[[nodiscard]] inline std::error_code code_of(errc e) noexcept {
    return e == errc{} ? std::error_code{} : make_error_code(e);
}

inline void deliver(errc result, std::error_code* ec, const char* what) { deliver(code_of(result), ec, what); }

/// Does what may need memory.
/// Returns: `out_of_memory` when there was none. Without exceptions the program ends then, as the language has it.
template <class Allocating>
[[nodiscard]] errc try_allocating(Allocating f) noexcept {
#if defined(__cpp_exceptions)
    try {
#endif
        f();
        return errc{};
#if defined(__cpp_exceptions)
    } catch (const std::bad_alloc&) { return errc::out_of_memory; }
#endif
}

/// A broken contract that leaves no safe way on (an object destroyed under its users, say): says which, and stops.
[[noreturn]] inline void misuse(const char* what) noexcept {
    print_line("misuse: ", what);
    std::abort();
}

/// What the last failed system call of this thread said.
[[nodiscard]] inline std::error_code last_system_error() noexcept { return {errno, std::system_category()}; }

} // namespace detail

} // namespace dmasync::inline DMASYNC_ABI
