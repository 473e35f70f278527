// SPDX-License-Identifier: MIT
#pragma once
/// \file snapshot_text.hpp  A snapshot as people read it: a table of buffers, with the holds and the waits below each.

#include <dmasync/detail/base/text_table.hpp>
#include <dmasync/lease.hpp>
#include <dmasync/observe/domain_snapshot.hpp>
#include <dmasync/version.hpp>

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>
#include <utility>

#include <sys/sysmacros.h>

namespace dmasync::inline DMASYNC_ABI {

namespace detail {

/// The words of a snapshot.
class snapshot_writer {
public:
    explicit snapshot_writer(const domain_snapshot& s) noexcept : seen_{s} {}

    [[nodiscard]] std::string write() const {
        std::string text = heading() + counters();
        text_table buffers{"buffer", "size", "memory", "identity", "last access", "token", "fences", ""};
        for (const domain_snapshot::buffer& b : seen_.buffers) { buffers.add(row_of(b)); }
        text_table uses;
        for (const domain_snapshot::buffer& b : seen_.buffers) { add_uses(uses, b); }
        if (seen_.buffers.empty()) { return text; }
        text += '\n' + buffers.heading();
        std::size_t use = 0;
        for (std::size_t i = 0; i < seen_.buffers.size(); ++i) {
            text += buffers.line(i);
            const domain_snapshot::buffer& b = seen_.buffers[i];
            const std::size_t end = use + b.holders.size() + b.waiters.size() + b.losers.size();
            for (; use < end; ++use) { text += "  " + uses.line(use); }
        }
        return text;
    }

private:
    [[nodiscard]] std::string heading() const {
        std::size_t bytes = 0;
        std::size_t held = 0;
        std::size_t awaited = 0;
        for (const domain_snapshot::buffer& b : seen_.buffers) {
            bytes += b.size;
            held += b.holders.empty() ? 0U : 1U;
            awaited += b.waiters.empty() ? 0U : 1U;
        }
        return "domain " + quoted(seen_.domain.view()) + ": " + counted(seen_.buffers.size(), "buffer") + ", " +
               size_text(bytes) + "; " + std::to_string(held) + " held, " + std::to_string(awaited) + " waited for\n";
    }

    [[nodiscard]] std::string counters() const {
        const domain_counters& c = seen_.counters;
        const auto n = [](std::uint64_t count) { return std::to_string(count); };
        return "locks " + n(c.locks()) + ": " + n(c.granted_at_once) + " at once, " + n(c.granted_after_wait) +
               " after a wait; contended " + n(c.contended) + ", timed out " + n(c.timed_out) + ", cancelled " +
               n(c.cancelled) + "\nleases expired " + n(c.leases_expired) + "; transactions: wounds " + n(c.wounds) +
               ", deaths " + n(c.deaths) + ", retries " + n(c.retries) + "\ndevices: fences waited for " +
               n(c.fences_waited) + ", overdue " + n(c.devices_overdue) + ", failed " + n(c.devices_failed) +
               "; CPU brackets told " + n(c.brackets_told) + ", saved " + n(c.brackets_saved()) + '\n';
    }

    [[nodiscard]] static text_table::row row_of(const domain_snapshot::buffer& b) {
        const bool never = !b.last_access.has_value();
        std::string fences = "-";
        if (b.fences_before_write != 0) {
            fences = std::to_string(b.fences_before_read) + " before reading, " +
                     std::to_string(b.fences_before_write) + " before writing";
        }
        return {printable_or(b.name.view(), "(no name)"),
                size_text(b.size),
                std::string{to_string(b.memory)},
                identity(b),
                never ? "-" : std::string{to_string(*b.last_access)},
                std::to_string(b.token),
                fences,
                b.closed ? "closed" : ""};
    }

    [[nodiscard]] static std::string identity(const domain_snapshot::buffer& b) {
        if (b.memory == memory_kind::plain) { return "at " + hexadecimal(b.inode); }
        return std::to_string(major(b.device)) + ':' + std::to_string(minor(b.device)) + '/' + std::to_string(b.inode);
    }

    void add_uses(text_table& t, const domain_snapshot::buffer& b) const {
        for (const domain_snapshot::use& u : b.holders) { t.add(row_of(u, "held by", "for ")); }
        for (const domain_snapshot::use& u : b.waiters) { t.add(row_of(u, "wanted by", "for ")); }
        for (const domain_snapshot::use& u : b.losers) { t.add(row_of(u, "lost by", "after ")); }
    }

    [[nodiscard]] text_table::row row_of(const domain_snapshot::use& u, const char* verb, const char* since) const {
        const domain_snapshot::acquisition& a = seen_.acquisitions[u.acquisition];
        return {verb,
                quoted(a.set.view()),
                std::string{to_string(u.mode)},
                a.age ? since + duration_text(*a.age) : std::string{},
                bound(a),
                place_text(a.place),
                remarks(a)};
    }

    /// How long it may go on, or its place in the order of age.
    [[nodiscard]] static std::string bound(const domain_snapshot::acquisition& a) {
        if (a.ticket) { return "ticket " + std::to_string(*a.ticket); }
        if (!a.lease_left) { return a.lease == no_lease ? "no lease" : ""; }
        if (a.lease_left->count() <= 0) { return "lease over"; }
        return duration_text(*a.lease_left) + " left";
    }

    [[nodiscard]] std::string remarks(const domain_snapshot::acquisition& a) const {
        std::string all;
        const auto remark = [&all](const std::string& text) { all += (all.empty() ? "" : ", ") + text; };
        if (a.state == acquisition_state::fenced) { remark("waits for devices"); }
        if (a.state == acquisition_state::entering) { remark("is telling the kernel"); }
        if (a.state == acquisition_state::lent) { remark("with a device"); }
        if (a.state == acquisition_state::waiting) { remark(obstacles(a)); }
        if (a.transaction) { remark("transaction " + std::to_string(*a.transaction)); }
        if (a.wounded) { remark("wounded"); }
        if (a.stuck) { remark("stuck"); }
        if (a.blocks_thread) { remark("blocks a thread"); }
        return all;
    }

    [[nodiscard]] std::string obstacles(const domain_snapshot::acquisition& a) const {
        if (a.waits_for.empty()) { return "is next"; }
        const domain_snapshot::acquisition& first = seen_.acquisitions[a.waits_for.front()];
        std::string text = "behind " + quoted(first.set.view());
        if (a.waits_for.size() > 1) { text += " and " + counted(a.waits_for.size() - 1, "other"); }
        return text;
    }

    const domain_snapshot& seen_;
};

} // namespace detail

/// A snapshot as a table, with a newline at its end. Times are ages; a lease counts down. Bytes of names that no terminal
/// should be given are shown as `\x1b`.
/// Source: the kernel's /sys/kernel/debug/dma_buf/bufinfo (S21).
[[nodiscard]] inline std::string to_text(const domain_snapshot& s) { return detail::snapshot_writer{s}.write(); }

} // namespace dmasync::inline DMASYNC_ABI
