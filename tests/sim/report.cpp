// SPDX-License-Identifier: MIT
#include <sim/report.hpp>
#include <sim/scheduler.hpp>

#include <algorithm>
#include <array>
#include <cstdarg>
#include <cstddef>
#include <cstdio>
#include <cstdlib>

namespace sim {

std::int64_t time_of_notes = 0;
bool believe_nonsense = false;

namespace {

struct event {
    const char* text;
    std::int64_t time;
    std::array<std::int64_t, 3> numbers;
    int thread;
};

constexpr std::size_t remembered = 48;

struct journal {
    std::array<event, remembered> ring;
    std::size_t count = 0;
    std::uint64_t hash = 0;
    bool aloud = false;
    finding result;
};

journal& the_journal() {
    static journal j;
    return j;
}

std::string in_words(const event& e) {
    std::array<char, 256> line{};
    int n = std::snprintf(line.data(), line.size(), "%9.3f ms  %s%c  ", static_cast<double>(e.time) / 1e6,
                          e.thread < 0 ? "main" : "thread ", e.thread < 0 ? ' ' : static_cast<char>('0' + e.thread));
    std::string out{line.data(), static_cast<std::size_t>(std::max(n, 0))};
    std::size_t next = 0;
    for (const char* c = e.text; *c != '\0'; ++c) {
        if (*c == '%' && c[1] == 'd' && next < e.numbers.size()) {
            out += std::to_string(e.numbers.at(next++));
            ++c;
        } else {
            out += *c;
        }
    }
    return out + "\n";
}

} // namespace

const char* name_of(invariant i) noexcept {
    switch (i) {
    case invariant::none: return "none";
    case invariant::exclusive: return "S1 exclusive";
    case invariant::whole: return "S2 whole";
    case invariant::token: return "S3 token";
    case invariant::complete: return "S4 complete";
    case invariant::outcome: return "S5 outcome";
    case invariant::ticket: return "S6 ticket";
    case invariant::late: return "S7 late";
    case invariant::graph: return "S8 graph";
    case invariant::order: return "R2/R5 order";
    case invariant::lease: return "lease";
    case invariant::bracket: return "bracket";
    case invariant::fence: return "fence";
    case invariant::counters: return "counters";
    case invariant::drains: return "drains";
    case invariant::leaks: return "leaks";
    case invariant::ends: return "ends";
    case invariant::answers: return "answers";
    case invariant::crash: return "crash";
    case invariant::replay: return "replay";
    case invariant::sight: return "sight";
    }
    return "unknown";
}

void violated(invariant i, const char* format, ...) {
    journal& j = the_journal();
    if (j.result.what == invariant::none) {
        std::array<char, 512> text{};
        va_list list;
        va_start(list, format);
        std::vsnprintf(text.data(), text.size(), format, list);
        va_end(list);
        j.result = {i, text.data()};
    }
    if (current_thread() >= 0) { abandon_run(); }
    std::printf("violated %s: %s\n", name_of(j.result.what), j.result.text.c_str());
    std::fflush(stdout);
    std::_Exit(static_cast<int>(j.result.what));
}

const finding& found() { return the_journal().result; }

void note(phrase what, std::int64_t a, std::int64_t b, std::int64_t c) noexcept {
    journal& j = the_journal();
    const event e{what.text, time_of_notes, {a, b, c}, current_thread()};
    j.ring.at(j.count++ % remembered) = e;
    std::uint64_t h = j.hash ^ what.hash;
    for (const std::int64_t n : {a, b, c, e.time, static_cast<std::int64_t>(e.thread)}) {
        h = (h ^ static_cast<std::uint64_t>(n)) * 0x9e3779b97f4a7c15U;
        h ^= h >> 29U;
    }
    j.hash = h;
    if (j.aloud) { std::fputs(in_words(e).c_str(), stdout); }
}

void start_report(bool aloud) {
    journal& j = the_journal();
    j.count = 0;
    j.hash = 0;
    j.aloud = aloud;
    j.result = {};
}

std::uint64_t hash_of_run() noexcept { return the_journal().hash; }

std::string last_events() {
    const journal& j = the_journal();
    std::string out;
    const std::size_t first = j.count > remembered ? j.count - remembered : 0;
    for (std::size_t i = first; i < j.count; ++i) { out += in_words(j.ring.at(i % remembered)); }
    return out;
}

} // namespace sim
