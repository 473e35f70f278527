// SPDX-License-Identifier: MIT
/// The library's own code under a scheduler that a seed decides: dmasync_sim --help
#include <sim/program.hpp>
#include <sim/report.hpp>
#include <sim/shrink.hpp>
#include <sim/world.hpp>

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <string>
#include <string_view>

#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

namespace {

using namespace sim;

constexpr const char* usage = R"(usage: dmasync_sim [--seeds FROM COUNT | --count COUNT] [--twice | --no-shrink]
       dmasync_sim --seed N [--verbose | --quiet] [--keep LIST] [--without-buffers BITS] [--schedule N]

Runs random programs that lock, release, expire, stop, ... in random orders, and looks at every step whether all that has
to be true of the library is. The same seed gives the same run, on every machine.

  --seeds FROM COUNT  these seeds, up to the first that fails: that one is shrunk, and the rest printed with the command
                      that repeats it. FROM by default is DMASYNC_SIM_SEED from the environment, or 1; COUNT 10000
  --twice             each of them twice: both must be the same run
  --no-shrink         the first that fails is only named
  --seed N            one seed; --verbose prints the program and all that happens
  --keep LIST         only these operations of its program (3,7,9), --without-buffers only some of the buffers
  --schedule N        the same program in another order of switches
  --nonsense          believe something that is not true of the library: to test that a failure is found and shrunk

The exit code is 0, or that of the invariant that failed (tests/sim/report.hpp).
)";

/// What has been done so far, seen by the process that looks after the one that does it.
struct totals {
    std::uint64_t seed = 0;
    std::uint64_t seeds = 0;
    std::uint64_t steps = 0;
    std::uint64_t switches = 0;
    std::uint64_t hash = 0;
    double longest_wait = 0;
    tally seen;
    char text[512] = {}; // NOLINT(modernize-avoid-c-arrays): shared between processes
};

struct command {
    std::uint64_t from = 1;
    std::uint64_t count = 10000;
    bool twice = false;
    bool one = false;
    bool verbose = false;
    bool quiet = false;
    bool nonsense = false;
    bool no_shrink = false;
    selection part;
};

void add(totals& t, const outcome& o) {
    ++t.seeds;
    t.steps += o.steps;
    t.switches += o.switches;
    t.hash = t.hash * 31 + o.hash;
    t.longest_wait =
        std::max(t.longest_wait, static_cast<double>(o.seen.longest_wait_of_oldest) / static_cast<double>(o.lease));
    t.seen.waits += o.seen.waits;
    t.seen.expirations += o.seen.expirations;
    t.seen.cancellations += o.seen.cancellations;
    t.seen.wounds += o.seen.wounds;
    t.seen.deaths += o.seen.deaths;
    t.seen.retries += o.seen.retries;
}

void print(const totals& t) {
    const auto n = [](std::uint64_t v) { return static_cast<unsigned long long>(v); };
    std::printf(
        "sim seeds %llu steps %llu waits %llu wounds %llu deaths %llu retries %llu expirations %llu cancellations %llu "
        "longest_wait_of_oldest_in_leases %.1f switches %llu hash %016llx\n",
        n(t.seeds), n(t.steps), n(t.seen.waits), n(t.seen.wounds), n(t.seen.deaths), n(t.seen.retries),
        n(t.seen.expirations), n(t.seen.cancellations), t.longest_wait, n(t.switches), n(t.hash));
}

void print_program(const program& p, const selection& part) {
    std::printf("seed %llu: %s, %d threads, %d with a loop, %d buffers, lease %lld ms, preempted every %u points\n",
                static_cast<unsigned long long>(p.seed), p.wait_die ? "wait-die" : "wound-wait", p.threads, p.loops,
                p.buffers, static_cast<long long>(p.lease / 1'000'000), p.period);
    for (std::size_t i = 0; i < p.operations.size(); ++i) {
        if (part.has(i)) { std::printf("  %s\n", in_words(p, static_cast<int>(i)).c_str()); }
    }
}

/// A process that hangs without coming to a point of the scheduler's is ended by an alarm.
constexpr unsigned longest_run = 20; // seconds

int run_one(const command& c) {
    const program p = make_program(c.from);
    if (c.verbose) { print_program(p, c.part); }
    ::alarm(longest_run);
    const outcome o = run(p, c.part, c.verbose);
    if (o.good) {
        if (!c.quiet) {
            std::printf("seed %llu is good: hash %016llx\n", static_cast<unsigned long long>(c.from),
                        static_cast<unsigned long long>(o.hash));
        }
        return 0;
    }
    if (!c.quiet) {
        std::printf("violated %s: %s\nthe last events:\n%s", name_of(found().what), found().text.c_str(),
                    last_events().c_str());
    }
    std::fflush(stdout);
    std::_Exit(static_cast<int>(found().what)); // nothing can be cleaned up: the threads stand still somewhere
}

[[noreturn]] void work(const command& c, totals& t) {
    for (std::uint64_t s = c.from; s != c.from + c.count; ++s) {
        t.seed = s;
        ::alarm(longest_run);
        const program p = make_program(s);
        const outcome o = run(p, c.part, false);
        bool same = true;
        if (o.good && c.twice) { same = run(p, c.part, false).hash == o.hash; }
        if (!o.good || !same) {
            std::snprintf(t.text, sizeof t.text, "%s",
                          same ? found().text.c_str() : "two runs of the same seed differ");
            std::_Exit(static_cast<int>(same ? found().what : invariant::replay));
        }
        add(t, o);
    }
    std::exit(0); // looks for leaks, where that is built in
}

/// The command that repeats a run.
std::string replay(std::uint64_t seed, const selection& s, bool nonsense) {
    std::string path(4096, '\0');
    path.resize(static_cast<std::size_t>(std::max<ssize_t>(::readlink("/proc/self/exe", path.data(), path.size()), 0)));
    std::string words = path + " --seed " + std::to_string(seed) + " --verbose";
    for (const std::string& o : options_of(s)) { words += " " + o; }
    return words + (nonsense ? " --nonsense" : "");
}

int report(const command& c, const totals& t, invariant what) {
    const program p = make_program(t.seed);
    std::printf("seed %llu violated %s: %s\n  %s\n", static_cast<unsigned long long>(t.seed), name_of(what), t.text,
                replay(t.seed, {}, c.nonsense).c_str());
    std::fflush(stdout);
    if (what == invariant::replay || c.no_shrink) { return static_cast<int>(what); }
    const selection small = shrink(p, what, c.nonsense);
    const auto left = static_cast<int>(std::count(small.operations.begin(), small.operations.end(), true));
    std::printf("shrunk to %d of %zu operations, which violate the same:\n", left, p.operations.size());
    print_program(p, small);
    std::printf("  %s\n", replay(t.seed, small, c.nonsense).c_str());
    std::fflush(stdout);
    command again = c;
    again.from = t.seed;
    again.part = small;
    if (::fork() == 0) { std::_Exit(run_one(again)); }
    ::wait(nullptr);
    return static_cast<int>(what);
}

/// The seeds are run by a child, so that a crash is a finding like any other.
int run_seeds(const command& c) {
    void* shared = ::mmap(nullptr, sizeof(totals), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    if (shared == MAP_FAILED) { return 2; }
    totals& t = *::new (shared) totals;
    const pid_t child = ::fork();
    if (child == 0) { work(c, t); }
    int status = 0;
    while (::waitpid(child, &status, 0) < 0) {}
    int code = 0;
    if (!WIFEXITED(status)) {
        std::snprintf(t.text, sizeof t.text, "signal %d", WTERMSIG(status));
        code = report(c, t, invariant::crash);
    } else if (WEXITSTATUS(status) != 0) {
        const int found = WEXITSTATUS(status);
        code = report(
            c, t, found < static_cast<int>(invariant::exclusive) ? invariant::crash : static_cast<invariant>(found));
    }
    print(t);
    return code;
}

std::vector<bool> parse_list(const char* text) {
    std::vector<bool> chosen(4096);
    for (const char* at = text; *at >= '0' && *at <= '9';) {
        char* end = nullptr;
        chosen.at(std::strtoul(at, &end, 10)) = true;
        at = *end == ',' ? end + 1 : end;
    }
    return chosen;
}

bool parse(int argc, char** argv, command& c) {
    if (const char* first = std::getenv("DMASYNC_SIM_SEED"); first != nullptr) {
        c.from = std::strtoull(first, nullptr, 10);
    }
    for (int i = 1; i < argc; ++i) {
        const std::string_view word = argv[i];
        const auto number = [&] { return i + 1 < argc ? std::strtoull(argv[++i], nullptr, 10) : 0; };
        if (word == "--seeds") {
            c.from = number();
            c.count = number();
        } else if (word == "--count") {
            c.count = number();
        } else if (word == "--seed") {
            c.from = number();
            c.one = true;
        } else if (word == "--schedule") {
            c.part.schedule = number();
        } else if (word == "--without-buffers") {
            c.part.without_buffers = static_cast<unsigned>(number());
        } else if (word == "--keep" && i + 1 < argc) {
            c.part.operations = parse_list(argv[++i]);
        } else if (word == "--twice") {
            c.twice = true;
        } else if (word == "--verbose") {
            c.verbose = true;
        } else if (word == "--quiet") {
            c.quiet = true;
        } else if (word == "--no-shrink") {
            c.no_shrink = true;
        } else if (word == "--nonsense") {
            c.nonsense = true;
        } else {
            return false;
        }
    }
    return true;
}

} // namespace

int main(int argc, char** argv) {
    command c;
    const bool understood = parse(argc, argv, c);
    if (!understood) {
        std::fputs(usage, stdout);
        return argc == 2 && std::strcmp(argv[1], "--help") == 0 ? 0 : 2;
    }
    believe_nonsense = c.nonsense;
    return c.one ? run_one(c) : run_seeds(c);
}
