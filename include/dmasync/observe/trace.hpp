// SPDX-License-Identifier: MIT
#pragma once
/// \file trace.hpp  Records what happens to the buffers of domains: what is locked, what waits, and how it ends.
///
///     dmasync::trace_recorder recorder;
///     media.trace_to(recorder);
///     ...
///     write(to_html(trace_timeline{recorder.collect()}));          // trace_timeline.hpp, trace_timeline_html.hpp, trace_timeline_json.hpp
///
/// Compiled with DMASYNC_TRACE defined as 0, nothing is recorded, and locks do not look whether they should: the same in all
/// of a program.

#include <dmasync/access_mode.hpp>
#include <dmasync/detail/observe/trace_ring.hpp>
#include <dmasync/detail/sync/threading.hpp>
#include <dmasync/name.hpp>
#include <dmasync/version.hpp>

#include <algorithm>
#include <array>
#include <atomic>
#include <bit>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <mutex>
#include <string>
#include <string_view>
#include <vector>

#if !defined(DMASYNC_TRACE)
#define DMASYNC_TRACE 1
#endif

namespace dmasync::inline DMASYNC_ABI {

/// Whether domains can be traced in this program.
inline constexpr bool trace_is_compiled_in = DMASYNC_TRACE != 0;

/// What has happened to one buffer of one acquisition.
enum class trace_kind : std::uint8_t {
    buffer,        ///< there is such a buffer
    waits,         ///< it stands in the queue
    fenced,        ///< it is granted, and waits for the fences of devices before it is handed over
    granted,       ///< it is held from here on
    refused,       ///< it was not free, or never will be, and was not waited for: `why`
    gave_up,       ///< the wait has ended without a hold: `why`
    released,      ///< the hold has ended: it was unlocked, or given back on the way
    device_done,   ///< the hold has ended with the work of the device that it was lent to
    expired,       ///< the hold has ended with its lease: the buffer has been given away
    changed,       ///< the hold goes on with another access
    moved,         ///< the hold goes on as a part of another one: `other` is the acquisition that had it
    lent,          ///< a device is at work on it
    overdue,       ///< its lease has run out while a device is at work; it is not given away
    device_failed, ///< the device has ended with an error
    renewed,       ///< the lease ends later; `other` says how much later than now, in nanoseconds
    wounded,       ///< the transaction that holds it, or waits for it, has to give back: an older one wants what it has
    died,          ///< the same by wait-die: it would have to wait for an older one
};

[[nodiscard]] constexpr std::string_view to_string(trace_kind k) noexcept {
    constexpr std::array<std::string_view, 17> names{
        "buffer",  "waits", "fenced", "granted", "refused",       "gave up", "released", "device done", "expired",
        "changed", "moved", "lent",   "overdue", "device failed", "renewed", "wounded",  "died"};
    const auto index = static_cast<std::size_t>(k);
    return index < names.size() ? names[index] : "invalid";
}

/// One record: complete in itself, so that none depends on one that has been overwritten.
struct trace_event {
    std::int64_t time = 0;      ///< nanoseconds of the clock of the domain's loop: std::chrono::steady_clock
    std::uint64_t sequence = 0; ///< all records of a recorder in the order in which they happened
    trace_kind kind{};
    access_mode mode{};
    std::uint16_t index = 0;  ///< the buffer's place in the set
    std::int32_t why = 0;     ///< an errc; below zero: an errno, negated
    std::uint64_t claim = 0;  ///< the acquisition: unique while it lasts
    std::uint64_t other = 0;  ///< by kind; `buffer`: its size in bytes; `granted`: the lease in nanoseconds
    std::uint64_t buffer = 0; ///< unique while it lives
    std::uint64_t domain = 0;
    std::uint32_t thread = 0; ///< the kernel's number of the thread on which it happened
    bool leads = false;       ///< the first of the records of one step of one acquisition
    name set;                 ///< the lock's
    name buffer_name;
};

/// How much a recorder keeps.
struct trace_options {
    std::size_t records = 1U << 14U; ///< of each thread; rounded up to a power of two
    std::size_t threads = 16;        ///< whose records are kept
};

/// What a recorder has kept, in the order in which it happened.
struct trace_log {
    struct thread {
        std::uint32_t id = 0; ///< the kernel's number
        std::string name;
    };
    struct traced_domain {
        std::uint64_t id = 0;
        std::string name;
    };

    std::vector<trace_event> events;
    std::vector<thread> threads;
    std::vector<traced_domain> domains;
    std::uint64_t recorded = 0;      ///< everything that has ever been recorded; `events`, and those that are lost
    std::uint64_t lost = 0;          ///< overwritten by later ones, or of a thread that found no room
    std::uint64_t complete_from = 0; ///< nothing is lost of what came at this `sequence` or later
};

/// Keeps the latest records of each thread. A lock that is recorded takes no lock for it, allocates nothing and waits for
/// no thread.
///
/// Lifetime: outlives every domain that is traced to it, or `domain::stop_trace` is called before. Which memory it has is
/// decided at the start: 128 bytes for each record, taken from the kernel as they are first written.
/// Threads: any.
class trace_recorder {
public:
    explicit trace_recorder(trace_options options = {}) : rings_(std::max<std::size_t>(options.threads, 1)) {
        const std::size_t records = std::bit_ceil(std::max<std::size_t>(options.records, 1));
        for (ring& r : rings_) { r.allocate(records); }
    }
    trace_recorder(const trace_recorder&) = delete;
    trace_recorder& operator=(const trace_recorder&) = delete;

    /// Adds a record. Its sequence and its thread are filled in.
    void record(trace_event&& e) noexcept { record(e); }
    void record(trace_event& e) noexcept {
        e.sequence = next_.fetch_add(1, std::memory_order_relaxed);
        e.thread = detail::kernel_thread_id();
        if (ring* r = ring_of(e.thread); r != nullptr) {
            r->push(e);
        } else {
            homeless_.store(e.sequence + 1, std::memory_order_relaxed);
        }
    }

    /// What has been recorded so far and not been overwritten. What other threads record meanwhile may be in it or not.
    [[nodiscard]] trace_log collect() const {
        trace_log log;
        std::uint64_t from = homeless_.load(std::memory_order_relaxed);
        for (const ring& r : rings_) {
            if (r.owner() == 0) { break; }
            log.threads.push_back({r.owner(), r.owner_name().data()});
            from = std::max(from, collect(r, log.events));
        }
        std::sort(log.events.begin(), log.events.end(),
                  [](const trace_event& a, const trace_event& b) { return a.sequence < b.sequence; });
        {
            const std::lock_guard guard{naming_};
            log.domains = domains_;
        }
        log.complete_from = from;
        log.recorded =
            std::max(next_.load(std::memory_order_relaxed), log.events.empty() ? 0 : log.events.back().sequence + 1);
        log.lost = log.recorded - log.events.size();
        return log;
    }

    /// Gives a domain a name in what is collected.
    void add_domain(std::uint64_t id, std::string_view name) {
        const std::lock_guard guard{naming_};
        domains_.push_back({id, std::string{name}});
    }

private:
    using ring = detail::trace_ring<trace_event>;

    [[nodiscard]] ring* ring_of(std::uint32_t thread) noexcept {
        for (ring& r : rings_) {
            if (r.owner() == thread || r.claim(thread)) { return &r; }
        }
        return nullptr;
    }

    /// Returns: the sequence from which on none of the ring's is lost.
    [[nodiscard]] static std::uint64_t collect(const ring& r, std::vector<trace_event>& out) {
        const std::uint64_t end = r.written();
        const std::uint64_t begin = end > r.capacity() ? end - r.capacity() : 0;
        std::uint64_t from = 0;
        bool gap = begin > 0;
        for (std::uint64_t n = begin; n != end; ++n) {
            trace_event e;
            if (!r.read(n, e)) {
                gap = true;
                continue;
            }
            if (gap) { from = e.sequence; }
            gap = false;
            out.push_back(e);
        }
        return gap ? ~std::uint64_t{0} : from;
    }

    std::vector<ring> rings_; // in use from the front
    std::atomic<std::uint64_t> next_{0};
    std::atomic<std::uint64_t> homeless_{0}; // behind the latest record of a thread for which there was no ring
    mutable detail::mutex naming_;
    std::vector<trace_log::traced_domain> domains_; // under naming_
};

} // namespace dmasync::inline DMASYNC_ABI
