// SPDX-License-Identifier: MIT
#pragma once
/// \file book.hpp  What the users of the library hold, as they know it: kept apart from what the library believes.

#include <dmasync/guard.hpp>
#include <dmasync/transaction.hpp>

#include <sim/kernel.hpp>
#include <sim/report.hpp>
#include <sim/scheduler.hpp>

#include <cstddef>
#include <cstdint>
#include <vector>

namespace sim {

class book {
public:
    struct holding {
        int owner;
        const dmasync::guard* held; // null when a device or a transaction holds it
        const void* buffer;
        dmasync::access_mode mode;
        int work;          // the device's
        std::int64_t ends; // for a device: it may lose the buffer from then on
        const dmasync::transaction* incomplete = nullptr;
    };

    void clear() { holdings_.clear(); }

    void add(const holding& h) {
        holdings_.push_back(h);
        look();
    }

    /// What a guard holds is not known for sure from now on.
    void remove(const dmasync::guard& g) {
        std::erase_if(holdings_, [&g](const holding& h) { return h.held == &g; });
    }

    void remove(const dmasync::transaction& t) {
        std::erase_if(holdings_, [&t](const holding& h) { return h.incomplete == &t; });
    }

    void remove(const dmasync::transaction& t, const void* buffer) {
        std::erase_if(holdings_, [&](const holding& h) { return h.incomplete == &t && h.buffer == buffer; });
    }

    void remove_owner(int owner) {
        std::erase_if(holdings_, [owner](const holding& h) { return h.owner == owner; });
    }

    void remove_work(int work) {
        std::erase_if(holdings_, [work](const holding& h) { return is_device(h) && h.work == work; });
    }

    void remove_devices() { std::erase_if(holdings_, is_device); }

    /// Takes out what `g` holds of `buffer`. Returns: its place; one without an owner when it was not there.
    [[nodiscard]] holding take(const dmasync::guard& g, const void* buffer) {
        for (std::size_t i = 0; i < holdings_.size(); ++i) {
            const holding h = holdings_[i];
            if (h.held != &g || h.buffer != buffer) { continue; }
            holdings_.erase(holdings_.begin() + static_cast<std::ptrdiff_t>(i));
            return h;
        }
        return {-1, nullptr, nullptr, {}, -1, 0};
    }

    [[nodiscard]] const holding* find(const dmasync::guard& g, const void* buffer) const {
        for (const holding& h : holdings_) {
            if (h.held == &g && h.buffer == buffer) { return &h; }
        }
        return nullptr;
    }

    /// All that a guard holds, taken out.
    [[nodiscard]] std::vector<holding> take_all(const dmasync::guard& g) {
        std::vector<holding> taken;
        for (const holding& h : holdings_) {
            if (h.held == &g) { taken.push_back(h); }
        }
        remove(g);
        return taken;
    }

    /// S1: what conflicts does not hold the same buffer at the same time.
    void look() const {
        for (std::size_t i = 0; i < holdings_.size(); ++i) {
            for (std::size_t k = 0; k < i; ++k) {
                const holding& a = holdings_[i];
                const holding& b = holdings_[k];
                if (a.buffer != b.buffer || !dmasync::conflict(a.mode, b.mode) || !is_good(a) || !is_good(b)) {
                    continue;
                }
                violated(invariant::exclusive, "#%d and #%d use the same buffer", a.owner, b.owner);
            }
        }
    }

private:
    [[nodiscard]] static bool is_device(const holding& h) { return h.held == nullptr && h.incomplete == nullptr; }

    [[nodiscard]] static bool is_good(const holding& h) {
        const undisturbed here;
        if (h.incomplete != nullptr) { return !h.incomplete->expired(); }
        return h.held != nullptr ? !h.held->expired() : is_pending(h.work) && time_of_notes < h.ends;
    }

    std::vector<holding> holdings_;
};

} // namespace sim
