// SPDX-License-Identifier: MIT
#pragma once
/// \file stuck_report.hpp  Why a lock has waited for so long: the chain of waits, back to the one that does not move.
///
///     domain media{loop, {.stuck = stuck_after(1s)}};         // stuck_after.hpp; says so on standard error
///
///     stuck: 'encode' has waited for 1.00 s to write 'frame' (encoder.cpp:88), in domain 'media'
///       behind 'preview', which has waited for 1.20 s to write 'frame' (preview.cpp:41)
///       behind 'archive', which has held 'frame' to read for 9.31 s, without a lease (archive.cpp:17)
///       'archive' does not move: nothing of its own waits in this domain

#include <dmasync/access_mode.hpp>
#include <dmasync/detail/base/text_table.hpp>
#include <dmasync/detail/kernel/standard_error.hpp>
#include <dmasync/lease.hpp>
#include <dmasync/observe/domain_snapshot.hpp>
#include <dmasync/version.hpp>

#include <cstddef>
#include <cstdint>
#include <functional>
#include <optional>
#include <string>
#include <vector>

namespace dmasync::inline DMASYNC_ABI {

/// Whether the waits form a circle, which no unlock will ever open.
enum class stuck_cycle : std::uint8_t {
    none,
    /// Perhaps. A domain does not know which user a hold belongs to, only its name: some hold on the circle has the
    /// name of a lock that waits, and was locked at another place.
    possible,
    /// Yes: each hold on it and the lock that waits belong together, by their transaction or by `lock_options::user`.
    certain,
};

/// Why a lock has waited for longer than `stuck_after` says. As of a moment shortly after that.
struct stuck_report {
    /// How an acquisition comes to be on the chain.
    enum class step : std::uint8_t {
        waits,        ///< the first one: it has waited for so long
        holds,        ///< it holds what the one before wants
        waits_before, ///< it is older than the one before, and waits for what that one wants as well
        also_waits,   ///< it belongs to the one before it, a hold, and waits: that hold does not move before it does
        perhaps_also_waits, ///< the same, going by its name
    };

    struct link {
        std::size_t acquisition; ///< of `seen`
        step how;
        std::optional<domain_snapshot::part>
            what; ///< the buffer that it holds or waits for, on account of which it is here
    };

    domain_snapshot seen; ///< the whole domain, then

    /// From the lock that has waited for so long to the one that does not move, or to where the circle closes: its last one is then
    /// the acquisition that `chain[circle]` is.
    std::vector<link> chain;
    stuck_cycle cycle = stuck_cycle::none;
    std::size_t circle = 0;
    std::size_t others = 0; ///< more locks that have waited for too long by now, and wait for the same in the end
};

namespace detail {

/// The words of a report.
class stuck_writer {
public:
    explicit stuck_writer(const stuck_report& r) noexcept : report_{r} {}

    [[nodiscard]] std::string write() const {
        std::string text;
        for (std::size_t i = 0; i < report_.chain.size(); ++i) {
            text += i == 0 ? "stuck: " + first() : "\n  " + next(report_.chain[i]);
        }
        return text + "\n  " + verdict() + others();
    }

private:
    using acquisition = domain_snapshot::acquisition;
    using link = stuck_report::link;
    using step = stuck_report::step;

    [[nodiscard]] const acquisition& of(const link& l) const { return report_.seen.acquisitions[l.acquisition]; }

    [[nodiscard]] static std::string name_of(const acquisition& a) {
        return (a.set.empty() ? "a lock without a name" : quoted(a.set.view())) +
               (a.transaction ? " (transaction)" : "");
    }

    [[nodiscard]] std::string buffer_of(const link& l) const {
        if (!l.what) { return "its buffers"; }
        const name& n = report_.seen.buffers[l.what->buffer].name;
        return n.empty() ? "a buffer without a name" : quoted(n.view());
    }

    [[nodiscard]] static std::string at(const acquisition& a) {
        const std::string place = place_text(a.place);
        return place.empty() ? "" : " (" + place + ')';
    }

    [[nodiscard]] static std::string since(const acquisition& a) {
        return a.age ? " for " + duration_text(*a.age) : std::string{};
    }

    [[nodiscard]] static std::string use_of(const link& l) {
        return l.what ? std::string{to_string(l.what->mode)} : "lock";
    }

    /// "has waited for 1.00 s to write 'frame' (encoder.cpp:88)"
    [[nodiscard]] std::string wait_of(const link& l) const {
        return "has waited" + since(of(l)) + " to " + use_of(l) + ' ' + buffer_of(l) + at(of(l));
    }

    /// "has held 'frame' to read for 9.31 s, without a lease (archive.cpp:17)"
    [[nodiscard]] std::string hold_of(const link& l) const {
        const acquisition& a = of(l);
        std::string text = "has held " + buffer_of(l) + " to " + use_of(l) + since(a);
        if (a.state == acquisition_state::fenced) { text += ", and waits for devices"; }
        if (a.state == acquisition_state::lent) { text += ", for a device"; }
        if (a.state == acquisition_state::entering) { text += ", and is telling the kernel"; }
        if (a.lease_left) {
            text += a.lease_left->count() > 0 ? ", its lease ends in " + duration_text(*a.lease_left)
                                              : ", its lease is over";
        } else if (a.lease == no_lease) {
            text += ", without a lease";
        }
        return text + at(a);
    }

    [[nodiscard]] std::string first() const {
        const link& l = report_.chain.front();
        const name& domain = report_.seen.domain;
        return name_of(of(l)) + ' ' + wait_of(l) + (domain.empty() ? "" : ", in domain " + quoted(domain.view()));
    }

    [[nodiscard]] std::string next(const link& l) const {
        const std::string one = name_of(of(l));
        switch (l.how) {
        case step::waits_before: return "behind " + one + ", which " + wait_of(l);
        case step::also_waits: return "and " + one + " itself " + wait_of(l);
        case step::perhaps_also_waits: return "and " + one + ", if it is the same one, " + wait_of(l);
        default: return "behind " + one + ", which " + hold_of(l);
        }
    }

    [[nodiscard]] std::string verdict() const {
        const std::string one = name_of(of(report_.chain.back()));
        switch (report_.cycle) {
        case stuck_cycle::certain:
            return "a cycle: only a lease, a deadline or a stop request ends it. Lock all of it in one set, or in a "
                   "transaction";
        case stuck_cycle::possible:
            return "a possible cycle: that " + one +
                   " holds and waits is known by its name only. If so, lock all of it in one set, or in a transaction";
        case stuck_cycle::none: break;
        }
        return one + (of(report_.chain.back()).state == acquisition_state::waiting
                          ? " is next"
                          : " does not move: nothing of its own waits in this domain");
    }

    [[nodiscard]] std::string others() const {
        return report_.others == 0 ? "" : "; " + counted(report_.others, "more lock") + " behind it";
    }

    const stuck_report& report_;
};

} // namespace detail

/// The report as a few lines, without a newline at its end.
[[nodiscard]] inline std::string to_string(const stuck_report& r) { return detail::stuck_writer{r}.write(); }

/// Where reports go. Called on the thread that found out, usually the domain's loop, with no lock held; it must not throw,
/// and may lock and unlock.
using stuck_report_sink = std::function<void(const stuck_report&)>;

/// The default sink: on standard error, as `print_lease_report`.
inline void print_stuck_report(const stuck_report& r) { detail::print_line(to_string(r)); }

} // namespace dmasync::inline DMASYNC_ABI
