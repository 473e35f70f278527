// SPDX-License-Identifier: MIT
#pragma once
/// \file trace_timeline_json.hpp  The timeline of a trace for ui.perfetto.dev and chrome://tracing.

#include <dmasync/access_mode.hpp>
#include <dmasync/detail/base/escape.hpp>
#include <dmasync/detail/base/failure.hpp>
#include <dmasync/observe/trace.hpp>
#include <dmasync/observe/trace_timeline.hpp>
#include <dmasync/version.hpp>

#include <cstddef>
#include <cstdint>
#include <cstdio>
#include <string>
#include <string_view>
#include <type_traits>
#include <utility>

namespace dmasync::inline DMASYNC_ABI {

namespace detail {

/// What a `why` says.
[[nodiscard]] inline std::string text_of_why(std::int32_t why) {
    return why == 0 ? std::string{} : failure::of_value(why).code().message();
}

/// Writes the events one after the other. A buffer is a "process" there, and its lanes are the "threads": that format lets
/// slices of one thread lie within each other but not overlap.
class trace_json_writer {
public:
    explicit trace_json_writer(const trace_timeline& t) : t_{t} {}

    [[nodiscard]] std::string write() {
        out_ = "{\"displayTimeUnit\":\"ns\",\"otherData\":{\"generator\":\"dmasync\"";
        for (const auto& [name, value] : {pair{"locks", t_.locks}, pair{"slices", t_.slices.size()},
                                          pair{"records", t_.recorded}, pair{"records lost", t_.lost}}) {
            append(out_, ",\"", name, "\":", std::to_string(value));
        }
        out_ += "},\"traceEvents\":[";
        for (std::size_t i = 0; i < t_.tracks.size(); ++i) { name_track(i); }
        for (const trace_timeline::slice& s : t_.slices) { write_slice(s); }
        for (const trace_timeline::mark& m : t_.marks) { write_mark(m); }
        out_ += "\n]}\n";
        return std::move(out_);
    }

private:
    struct pair {
        const char* name;
        std::uint64_t value;
    };

    void name_track(std::size_t i) {
        const trace_timeline::track& track = t_.tracks[i];
        std::string label = track.name;
        if (label.empty()) { append(label, "buffer ", std::to_string(i)); }
        if (!track.domain.empty()) { append(label, " (", track.domain, ")"); }
        describe("process_name", i, 0, "name", label);
        describe("process_sort_index", i, 0, "sort_index", i);
        for (std::size_t lane = 0; lane < track.holds; ++lane) { describe("thread_name", i, lane, "name", "held"); }
        for (std::size_t lane = 0; lane < track.waits; ++lane) {
            describe("thread_name", i, track.holds + lane, "name", "waiting");
        }
    }

    template <class Value>
    void describe(const char* what, std::size_t track, std::size_t lane, const char* key, const Value& value) {
        begin(what, "M", track, lane);
        append(out_, ",\"args\":{\"", key, "\":");
        if constexpr (std::is_convertible_v<Value, std::string_view>) {
            append_json_string(out_, value);
        } else {
            out_ += std::to_string(value);
        }
        out_ += "}}";
    }

    void write_slice(const trace_timeline::slice& s) {
        const bool hold = s.kind == slice_kind::hold;
        std::string label{t_.sets[s.set].empty() ? std::string{to_string(s.mode)} : t_.sets[s.set]};
        if (!hold) { label += s.kind == slice_kind::wait ? " waits" : " waits for devices"; }
        begin(label, "X", s.track, s.lane + (hold ? 0 : t_.tracks[s.track].holds));
        time("ts", s.begin - t_.begin);
        time("dur", s.until - s.begin);
        append(out_, R"(,"cat":")", to_string(s.kind), R"(","cname":")", colour_of(s));
        append(out_, R"(","args":{"access":")", to_string(s.mode), '"');
        argument("set", t_.sets[s.set]);
        append(out_, ",\"lock\":", std::to_string(s.lock));
        argument("ended by", to_string(s.end));
        if (s.why != 0) { argument("why", text_of_why(s.why)); }
        if (s.began_before) { argument("began", "before the trace"); }
        if (hold) { append(out_, ",\"waited ns\":", std::to_string(s.waited)); }
        if (s.lent >= 0) { append(out_, ",\"lent to a device after ns\":", std::to_string(s.lent - s.begin)); }
        argument("begun on", thread_name(s.begin_thread));
        if (s.end != slice_end::open) { argument("ended on", thread_name(s.end_thread)); }
        out_ += "}}";
    }

    void write_mark(const trace_timeline::mark& m) {
        std::string label{to_string(m.kind)};
        if (!t_.sets[m.set].empty()) { append(label, ": ", t_.sets[m.set]); }
        begin(label, "i", m.track, 0);
        time("ts", m.time - t_.begin);
        append(out_, R"(,"s":"p","cat":"event","args":{"access":")", to_string(m.mode), '"');
        if (m.why != 0) { argument("why", text_of_why(m.why)); }
        argument("on", thread_name(m.thread));
        out_ += "}}";
    }

    void begin(std::string_view name, const char* phase, std::size_t track, std::size_t lane) {
        out_ += out_.back() == '[' ? "\n{\"name\":" : ",\n{\"name\":";
        append_json_string(out_, name);
        append(out_, R"(,"ph":")", phase, R"(","pid":)", std::to_string(track + 1),
               ",\"tid\":", std::to_string(lane + 1));
    }

    /// The format counts in microseconds.
    void time(const char* key, std::int64_t ns) {
        char text[64]; // NOLINT(modernize-avoid-c-arrays): for snprintf
        std::snprintf(text, sizeof text, ",\"%s\":%lld.%03lld", key, static_cast<long long>(ns / 1000),
                      static_cast<long long>(ns % 1000));
        out_ += text;
    }

    void argument(std::string_view key, std::string_view value) {
        append(out_, ",\"", key, "\":");
        append_json_string(out_, value);
    }

    [[nodiscard]] std::string thread_name(std::uint32_t i) const {
        std::string text = t_.threads[i].name;
        append(text, " (", std::to_string(t_.threads[i].id), ')');
        return text;
    }

    /// One of the names of colours that chrome://tracing knows.
    [[nodiscard]] static std::string_view colour_of(const trace_timeline::slice& s) {
        if (s.kind == slice_kind::wait) { return "thread_state_runnable"; }
        if (s.kind == slice_kind::fence) { return "thread_state_iowait"; }
        if (is_dma(s.mode)) { return is_write(s.mode) ? "rail_load" : "rail_animation"; }
        return is_write(s.mode) ? "rail_response" : "good";
    }

    const trace_timeline& t_;
    std::string out_;
};

} // namespace detail

/// The timeline in the Trace Event Format: open it in https://ui.perfetto.dev or chrome://tracing. Every buffer is a group of
/// tracks; holds, waits and waits for devices are slices, everything else instants.
/// Units:  microseconds since the beginning of the trace.
/// Source: "Trace Event Format", Google; chrome://tracing's names of colours.
[[nodiscard]] inline std::string to_trace_json(const trace_timeline& t) { return detail::trace_json_writer{t}.write(); }

} // namespace dmasync::inline DMASYNC_ABI
