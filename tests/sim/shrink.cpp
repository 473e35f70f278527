// SPDX-License-Identifier: MIT
#include <sim/shrink.hpp>

#include <algorithm>
#include <array>
#include <cstddef>
#include <cstdint>

#include <fcntl.h>
#include <signal.h>
#include <spawn.h>
#include <sys/wait.h>
#include <unistd.h>

namespace sim {

namespace {

constexpr std::uint64_t schedules = 6; // another order may fail where this one does not any more

std::string list_of(const std::vector<bool>& chosen) {
    std::string s;
    for (std::size_t i = 0; i < chosen.size(); ++i) {
        if (chosen[i]) { s += (s.empty() ? "" : ",") + std::to_string(i); }
    }
    return s.empty() ? "none" : s;
}

/// Looks for smaller and smaller parts that fail alike.
class shrinker {
public:
    shrinker(const program& p, invariant what, bool with_nonsense) : p_{p}, what_{what}, nonsense_{with_nonsense} {
        best_.operations.assign(p.operations.size(), true);
    }

    selection run() {
        for (std::size_t length = p_.operations.size() / 2; length > 0; length /= 2) {
            while (cut_pieces(length) && length == 1) {}
        }
        for (int b = 0; b < p_.buffers; ++b) {
            selection without = best_;
            without.without_buffers |= 1U << static_cast<unsigned>(b);
            accept_if_it_fails(without);
        }
        return best_;
    }

private:
    /// Tries without each piece of this many operations that are still there. Returns: whether one could go.
    bool cut_pieces(std::size_t length) {
        bool any = false;
        for (std::size_t from = 0; from < p_.operations.size();) {
            selection without = best_;
            std::size_t cut = 0;
            for (; from < p_.operations.size() && cut < length; ++from) {
                cut += without.operations[from] ? 1U : 0U;
                without.operations[from] = false;
            }
            any |= cut != 0 && accept_if_it_fails(without);
        }
        return any;
    }

    bool accept_if_it_fails(selection s) {
        const std::uint64_t first = s.schedule;
        for (std::uint64_t i = 0; i <= schedules; ++i) {
            s.schedule = i == 0 ? first : i - 1;
            if (try_part(p_, s, nonsense_) != what_) { continue; }
            best_ = s;
            return true;
        }
        return false;
    }

    const program& p_;
    invariant what_;
    bool nonsense_;
    selection best_;
};

} // namespace

std::vector<std::string> options_of(const selection& s) {
    std::vector<std::string> options;
    if (!s.operations.empty()) { options.insert(options.end(), {"--keep", list_of(s.operations)}); }
    if (s.without_buffers != 0) {
        options.insert(options.end(), {"--without-buffers", std::to_string(s.without_buffers)});
    }
    if (s.schedule != 0) { options.insert(options.end(), {"--schedule", std::to_string(s.schedule)}); }
    return options;
}

invariant try_part(const program& p, const selection& s, bool with_nonsense) {
    std::vector<std::string> words{"dmasync_sim", "--seed", std::to_string(p.seed), "--quiet"};
    for (std::string& o : options_of(s)) { words.push_back(std::move(o)); }
    if (with_nonsense) { words.emplace_back("--nonsense"); }
    std::vector<char*> arguments;
    for (std::string& w : words) { arguments.push_back(w.data()); }
    arguments.push_back(nullptr);
    pid_t child = 0;
    if (::posix_spawn(&child, "/proc/self/exe", nullptr, nullptr, arguments.data(), environ) != 0) {
        return invariant::none;
    }
    int status = 0;
    while (::waitpid(child, &status, 0) < 0) {}
    return WIFEXITED(status) ? static_cast<invariant>(WEXITSTATUS(status)) : invariant::crash;
}

selection shrink(const program& p, invariant what, bool with_nonsense) {
    return shrinker{p, what, with_nonsense}.run();
}

} // namespace sim
