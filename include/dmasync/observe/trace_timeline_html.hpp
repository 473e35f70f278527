// SPDX-License-Identifier: MIT
#pragma once
/// \file trace_timeline_html.hpp  The timeline of a trace as a page that any browser shows: one file, which loads nothing.

#include <dmasync/detail/base/escape.hpp>
#include <dmasync/detail/observe/trace_timeline_page.hpp>
#include <dmasync/observe/trace.hpp>
#include <dmasync/observe/trace_timeline.hpp>
#include <dmasync/observe/trace_timeline_json.hpp>
#include <dmasync/version.hpp>

#include <cstdint>
#include <initializer_list>
#include <map>
#include <string>
#include <string_view>
#include <utility>

namespace dmasync::inline DMASYNC_ABI {

namespace detail {

/// Writes what the page's program draws: tables, whose columns it knows by their order. Times count from the beginning.
class trace_timeline_data_writer {
public:
    explicit trace_timeline_data_writer(const trace_timeline& t) : t_{t} {}

    [[nodiscard]] std::string write(std::string_view title) {
        out_ = "{\"title\":";
        append_json_string(out_, title);
        append(out_, ",\"end\":", std::to_string(t_.end - t_.begin), ",\"locks\":", std::to_string(t_.locks));
        append(out_, ",\"recorded\":", std::to_string(t_.recorded), ",\"lost\":", std::to_string(t_.lost));
        append(out_, ",\"complete\":", std::to_string(t_.complete_from - t_.begin));
        table("tracks", t_.tracks, [this](const trace_timeline::track& t) {
            append_json_string(out_, t.name);
            out_ += ',';
            append_json_string(out_, t.domain);
            out_ += ',';
            numbers({static_cast<std::int64_t>(t.bytes), t.holds, t.waits});
        });
        table("threads", t_.threads, [this](const trace_log::thread& t) {
            append_json_string(out_, t.name);
            append(out_, ',', std::to_string(t.id));
        });
        table("slices", t_.slices, [this](const trace_timeline::slice& s) {
            numbers({s.track, as_number(s.kind), as_number(s.mode), as_number(s.end), s.lane, s.lock, s.set,
                     s.begin_thread, s.end_thread, s.why, s.begin - t_.begin, s.until - t_.begin, s.waited,
                     s.lent < 0 ? -1 : s.lent - t_.begin, s.began_before ? 1 : 0});
        });
        table("marks", t_.marks, [this](const trace_timeline::mark& m) {
            numbers({m.track});
            out_ += ',';
            append_json_string(out_, to_string(m.kind));
            out_ += ',';
            numbers({as_number(m.mode), m.set, m.thread, m.why, m.time - t_.begin});
        });
        write_sets();
        write_whys();
        out_ += "}\n";
        return std::move(out_);
    }

private:
    template <class T>
    [[nodiscard]] static std::int64_t as_number(T value) noexcept {
        return static_cast<std::int64_t>(value);
    }

    template <class Rows, class WriteRow>
    void table(std::string_view name, const Rows& rows, WriteRow write_row) {
        begin(name, '[');
        for (const auto& row : rows) {
            out_ += &row == &rows.front() ? "\n[" : ",\n[";
            write_row(row);
            out_ += ']';
        }
        out_ += ']';
    }

    void write_sets() {
        begin("sets", '[');
        for (const std::string& set : t_.sets) {
            if (&set != &t_.sets.front()) { out_ += ','; }
            append_json_string(out_, set);
        }
        out_ += ']';
    }

    void write_whys() {
        std::map<std::int32_t, std::string> texts;
        for (const trace_timeline::slice& s : t_.slices) { texts.try_emplace(s.why); }
        for (const trace_timeline::mark& m : t_.marks) { texts.try_emplace(m.why); }
        begin("whys", '{');
        for (const auto& [why, unused] : texts) {
            if (out_.back() != '{') { out_ += ','; }
            append(out_, '"', std::to_string(why), "\":");
            append_json_string(out_, text_of_why(why));
        }
        out_ += '}';
    }

    void begin(std::string_view name, char bracket) { append(out_, ",\"", name, "\":", bracket); }

    void numbers(std::initializer_list<std::int64_t> values) {
        const char* separator = "";
        for (const std::int64_t v : values) {
            append(out_, separator, std::to_string(v));
            separator = ",";
        }
    }

    const trace_timeline& t_;
    std::string out_;
};

} // namespace detail

/// The timeline as an HTML page: buffers as rows, holds coloured by access, below them what waits, and for what. It can be
/// zoomed and moved; a click on a slice tells everything about it; what is seen can be saved as an SVG picture.
/// Whatever the names of buffers and sets are, they stay text.
[[nodiscard]] inline std::string to_html(const trace_timeline& t, std::string_view title = "dmasync timeline") {
    std::string page = "<!DOCTYPE html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n"
                       "<meta http-equiv=\"Content-Security-Policy\" content=\"default-src 'none'; "
                       "img-src data:; style-src 'unsafe-inline'; script-src 'unsafe-inline'\">\n"
                       "<meta name=\"viewport\" content=\"width=device-width\">\n"
                       "<link rel=\"icon\" href=\"data:,\">\n<title>";
    detail::append_html(page, title);
    page += "</title>\n<style id=\"style\">";
    page += detail::trace_timeline_style;
    page += "</style>\n<style>";
    page += detail::trace_timeline_page_style;
    page += "</style>\n</head>\n<body class=\"tl\">\n";
    page += detail::trace_timeline_page_body;
    page += "<script type=\"application/json\" id=\"data\">";
    page += detail::trace_timeline_data_writer{t}.write(title);
    page += "</script>\n<script>";
    page += detail::trace_timeline_script;
    page += "</script>\n</body>\n</html>\n";
    return page;
}

} // namespace dmasync::inline DMASYNC_ABI
