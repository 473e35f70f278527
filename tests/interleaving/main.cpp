// SPDX-License-Identifier: MIT
#include "programs.hpp"

#include <charconv>
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <string>
#include <string_view>
#include <vector>

namespace interleave {

std::vector<program>& all_programs() {
    static std::vector<program> all;
    return all;
}

registration::registration(std::initializer_list<program> programs) {
    all_programs().insert(all_programs().end(), programs.begin(), programs.end());
}

} // namespace interleave

namespace {

using interleave::program;
using interleave::settings;
using interleave::verdict;

constexpr const char* usage = R"(usage: dmasync_interleaving [OPTION...] NAME...
       dmasync_interleaving --replay SCHEDULE NAME
       dmasync_interleaving --mutants | --list

Runs programs, or tests, which are several, in every interleaving; prints for each
  interleave NAME schedules N mode full|bound=K|random
and, of a failure, what happened and the command that shows it again.

  --full          all interleavings, whatever the program says
  --bound K       those with K preemptions and stale loads at most
  --random N      N random ones
  --seed S        of these
  --limit N       no more than N
  --mutants       weakens the library in one place after another, and fails when no program notices
  --list          the names

With DMASYNC_INTERLEAVE_LONG set in the environment, bounded searches allow one preemption more, and random ones make 20
times as many schedules.
)";

std::string self;

std::string describe(const settings& how) {
    switch (how.mode) {
    case settings::search::full: return "full";
    case settings::search::bounded: return "bound=" + std::to_string(how.bound);
    default: return "random";
    }
}

void show(const program& p, settings how, const std::string& schedule) {
    how.mode = settings::search::full;
    how.replay = schedule.c_str();
    const verdict v = interleave::explore(p.run, how);
    std::printf("%s  %s\n", v.trace.c_str(), v.failure.empty() ? "no failure" : v.failure.c_str());
}

/// Whether the full search has found whatever one without reductions finds.
bool compare(const program& p, const verdict& v) {
    settings all = p.how;
    all.mode = settings::search::bounded;
    all.bound = ~0U;
    const verdict w = interleave::explore(p.run, all);
    std::printf("  %zu outcomes; %zu in %llu schedules without reductions\n", v.outcomes.size(), w.outcomes.size(),
                static_cast<unsigned long long>(w.schedules));
    return w.exhausted && v.outcomes == w.outcomes;
}

bool search(const program& p, const settings& how) {
    const auto begin = std::chrono::steady_clock::now();
    const verdict v = interleave::explore(p.run, how);
    const std::chrono::duration<double> took = std::chrono::steady_clock::now() - begin;
    const bool cut_short = how.mode != settings::search::random && !v.exhausted && v.failure.empty();
    std::printf("interleave %s schedules %llu mode %s\n", p.name, static_cast<unsigned long long>(v.schedules),
                describe(how).c_str());
    std::printf("  %.2f s, %llu more were repetitions%s\n", took.count(), static_cast<unsigned long long>(v.cut),
                cut_short ? "; NOT FINISHED" : "");
    if (p.fails != nullptr) {
        const bool found = v.failure.find(p.fails) != std::string::npos;
        if (!found) { std::printf("  FAILED: did not find '%s' but '%s'\n", p.fails, v.failure.c_str()); }
        return found;
    }
    if (!v.failure.empty()) {
        std::printf("  FAILED: %s\n  replay: %s --replay %s %s\n", v.failure.c_str(), self.c_str(), v.schedule.c_str(),
                    p.name);
        show(p, how, v.schedule);
        return false;
    }
    return !p.how.compared || compare(p, v);
}

std::string describe(const interleave::mutation& m) {
    std::string text = m.function + (m.operation.empty() ? "" : " " + m.operation);
    if (m.thread != 0) { text += " by thread " + std::to_string(m.thread); }
    if (m.operation == "ring" || m.operation == "wake") { return text + " left out"; }
    return text + (m.order == std::memory_order_acquire   ? " without release"
                   : m.order == std::memory_order_release ? " without acquire"
                                                          : " relaxed");
}

bool is_noticed(const interleave::mutant& m) {
    for (const program& p : interleave::all_programs()) {
        if (std::string_view{p.name} != m.program) { continue; }
        settings how = p.how;
        how.mutant = &m.change;
        const verdict v = interleave::explore(p.run, how);
        const bool noticed = !v.failure.empty() && v.mutated != 0;
        std::printf("mutant %s %s %s after %llu schedules: %s\n", noticed ? "caught" : "SURVIVED",
                    describe(m.change).c_str(), m.program, static_cast<unsigned long long>(v.schedules),
                    v.failure.substr(0, v.failure.find('\n')).c_str());
        if (v.mutated == 0) { std::printf("  there is no such place\n"); }
        return noticed;
    }
    std::printf("there is no program %s\n", m.program);
    return false;
}

int check_mutants() {
    unsigned survivors = 0;
    for (const interleave::mutant& m : interleave::all_mutants) { survivors += is_noticed(m) ? 0U : 1U; }
    std::printf("%zu mutants, %u survived\n", interleave::all_mutants.size(), survivors);
    return survivors == 0 ? 0 : 1;
}

struct options {
    bool mode_given = false;
    settings how;
    std::string replay;
    std::vector<std::string_view> names;
};

std::uint64_t number(std::string_view text) {
    std::uint64_t n = 0;
    if (std::from_chars(text.data(), text.data() + text.size(), n).ec != std::errc{}) {
        std::fputs(usage, stderr);
        std::exit(2);
    }
    return n;
}

options parse(const std::vector<std::string_view>& arguments) {
    options o;
    for (std::size_t i = 0; i < arguments.size(); ++i) {
        const std::string_view a = arguments[i];
        const auto value = [&] { return ++i < arguments.size() ? arguments[i] : std::string_view{}; };
        const auto mode = [&](settings::search m) {
            o.mode_given = true;
            o.how.mode = m;
        };
        if (a == "--full") {
            mode(settings::search::full);
        } else if (a == "--bound") {
            mode(settings::search::bounded);
            o.how.bound = static_cast<unsigned>(number(value()));
        } else if (a == "--random") {
            mode(settings::search::random);
            o.how.schedules = number(value());
        } else if (a == "--seed") {
            o.how.seed = number(value());
        } else if (a == "--limit") {
            o.how.schedules = number(value());
        } else if (a == "--replay") {
            o.replay = value();
        } else {
            o.names.push_back(a);
        }
    }
    return o;
}

settings settings_for(const program& p, const options& o) {
    settings how = p.how;
    if (o.mode_given) {
        how.mode = o.how.mode;
        how.bound = o.how.bound;
    } else if (std::getenv("DMASYNC_INTERLEAVE_LONG") != nullptr) {
        if (how.mode == settings::search::bounded) { ++how.bound; }
        if (how.mode == settings::search::random) { how.schedules *= 20; }
    }
    if (o.how.schedules != 0) { how.schedules = o.how.schedules; }
    how.seed = o.how.seed;
    return how;
}

} // namespace

int main(int argc, char** argv) {
    self = argv[0];
    std::setvbuf(stdout, nullptr, _IOLBF, BUFSIZ); // what has been found is seen even if a search does not end
    const std::vector<std::string_view> arguments{argv + 1, argv + argc};
    if (arguments.empty() || arguments[0] == "--help" || arguments[0] == "-h") {
        std::fputs(usage, arguments.empty() ? stderr : stdout);
        return arguments.empty() ? 2 : 0;
    }
    if (arguments[0] == "--mutants") { return check_mutants(); }
    if (arguments[0] == "--list") {
        for (const program& p : interleave::all_programs()) { std::puts(p.name); }
        return 0;
    }
    const options o = parse(arguments);
    bool ok = true;
    for (const std::string_view name : o.names) {
        bool found = false;
        for (const program& p : interleave::all_programs()) {
            if (name != p.name && name != p.test) { continue; }
            found = true;
            if (o.replay.empty()) {
                ok = search(p, settings_for(p, o)) && ok;
            } else {
                show(p, p.how, o.replay);
            }
        }
        if (!found) { std::printf("there is no program or test %s\n", std::string{name}.c_str()); }
        ok = ok && found;
    }
    return ok ? 0 : 1;
}
