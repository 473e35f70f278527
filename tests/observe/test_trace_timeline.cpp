// SPDX-License-Identifier: MIT
#include <dmasync/observe/trace_timeline.hpp>

#include <dmasync/detail/base/escape.hpp>
#include <dmasync/observe/trace_timeline_html.hpp>
#include <dmasync/observe/trace_timeline_json.hpp>

#include <doctest/doctest.h>

#include <cerrno>
#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>
#include <system_error>
#include <vector>

using namespace dmasync;

namespace {

/// A trace that is told record by record: one claim after the other, in the order of time.
class told_trace {
public:
    told_trace& at(std::int64_t time) {
        next_.time = time;
        return *this;
    }
    told_trace& by(std::uint64_t claim, std::string_view set) {
        next_.claim = claim;
        next_.set = set;
        return *this;
    }
    told_trace& say(trace_kind k, std::string_view buffer, access_mode mode = access_mode::write,
                    std::int32_t why = 0) {
        trace_event e = next_;
        e.kind = k;
        e.buffer = static_cast<std::uint64_t>(buffer[0]);
        e.buffer_name = buffer;
        e.mode = mode;
        e.why = why;
        e.leads = true;
        e.thread = 1;
        e.sequence = log.recorded++;
        log.events.push_back(e);
        return *this;
    }

    trace_log log;

private:
    trace_event next_;
};

/// "write a 1-5 released", in the order of begin.
std::vector<std::string> lines_of(const trace_timeline& t) {
    std::vector<std::string> lines;
    for (const trace_timeline::slice& s : t.slices) {
        std::string line =
            t.sets[s.set] + (s.kind == slice_kind::hold ? " " : " " + std::string{to_string(s.kind)} + "s ");
        line += t.tracks[s.track].name + ' ' + std::to_string(s.begin) + '-' + std::to_string(s.until) + ' ';
        lines.push_back(line + std::string{to_string(s.end)});
    }
    return lines;
}
using lines = std::vector<std::string>;

std::string json_of(std::string_view text) {
    std::string out;
    detail::append_json_string(out, text);
    return out;
}
std::string html_of(std::string_view text) {
    std::string out;
    detail::append_html(out, text);
    return out;
}

} // namespace

TEST_CASE("nothing makes an empty timeline") {
    const trace_timeline t{trace_log{}};
    CHECK(t.slices.empty());
    CHECK(t.tracks.empty());
    CHECK(to_trace_json(t).find("\"traceEvents\":[\n]") != std::string::npos);
    CHECK(to_html(t).find("\"slices\":[]") != std::string::npos);
}

TEST_CASE("a wait and the hold that it becomes are two slices of one lock, and the hold knows how long it has waited") {
    told_trace told;
    told.at(1).by(1, "first").say(trace_kind::granted, "a");
    told.at(2).by(2, "second").say(trace_kind::waits, "a");
    told.at(5).by(1, "first").say(trace_kind::released, "a");
    told.at(5).by(2, "second").say(trace_kind::granted, "a");
    told.at(9).by(2, "second").say(trace_kind::released, "a");
    const trace_timeline t{told.log};
    CHECK(lines_of(t) == lines{"first a 1-5 released", "second waits a 2-5 granted", "second a 5-9 released"});
    CHECK(t.slices[1].lock == t.slices[2].lock);
    CHECK(t.slices[0].lock != t.slices[1].lock);
    CHECK(t.slices[2].waited == 3);
    CHECK(t.slices[0].waited == 0);
    CHECK(t.locks == 2);
}

TEST_CASE("what has not ended lasts until the trace does") {
    told_trace told;
    told.at(1).by(1, "first").say(trace_kind::granted, "a");
    told.at(2).by(2, "second").say(trace_kind::waits, "a");
    told.at(7).by(3, "third").say(trace_kind::refused, "a");
    CHECK(lines_of(trace_timeline{told.log}) == lines{"first a 1-7 open", "second waits a 2-7 open"});
}

TEST_CASE("a hold that began before the trace begins with it") {
    told_trace told;
    told.at(1).by(9, "other").say(trace_kind::granted, "b");
    told.at(4).by(1, "early").say(trace_kind::released, "a");
    told.at(6).by(9, "other").say(trace_kind::released, "b");
    const trace_timeline t{told.log};
    CHECK(lines_of(t) == lines{"early a 1-4 released", "other b 1-6 released"});
    CHECK(t.slices[0].began_before);
    CHECK_FALSE(t.slices[1].began_before);
}

TEST_CASE("readers share a track in lanes of their own, and a lane is used again") {
    told_trace told;
    told.at(1).by(1, "one").say(trace_kind::granted, "a", access_mode::read);
    told.at(2).by(2, "two").say(trace_kind::granted, "a", access_mode::read);
    told.at(3).by(1, "one").say(trace_kind::released, "a", access_mode::read);
    told.at(3).by(3, "three").say(trace_kind::granted, "a", access_mode::read);
    told.at(8).by(3, "three").say(trace_kind::released, "a", access_mode::read);
    told.at(9).by(2, "two").say(trace_kind::released, "a", access_mode::read);
    const trace_timeline t{told.log};
    CHECK(t.tracks[0].holds == 2);
    CHECK(t.slices[0].lane == 0);
    CHECK(t.slices[1].lane == 1);
    CHECK(t.slices[2].lane == 0);
}

TEST_CASE("an end whose record is lost is unknown, and the hold is drawn no further than what is lost") {
    told_trace told;
    told.at(1).by(1, "gone").say(trace_kind::granted, "a");
    told.at(2).by(2, "next").say(trace_kind::granted, "b");
    told.at(3).by(2, "next").say(trace_kind::released, "b");
    told.at(4).by(2, "next").say(trace_kind::granted, "b");
    told.at(9).by(2, "next").say(trace_kind::released, "b");
    told.log.complete_from = 3; // something before the latest grant is lost
    told.log.lost = 1;
    const trace_timeline t{told.log};
    CHECK(lines_of(t) == lines{"gone a 1-3 unknown", "next b 2-3 released", "next b 4-9 released"});
    CHECK(t.complete_from == 3);
}

TEST_CASE("a claim that is granted anew has ended before, whether that is recorded or not") {
    told_trace told;
    told.at(1).by(1, "one").say(trace_kind::granted, "a");
    told.at(5).by(1, "again").say(trace_kind::granted, "a");
    told.at(7).by(1, "again").say(trace_kind::released, "a");
    CHECK(lines_of(trace_timeline{told.log}) == lines{"one a 1-5 unknown", "again a 5-7 released"});
}

TEST_CASE("two buffers of one name at one address are one track, and others are not") {
    told_trace told;
    told.at(1).by(1, "").say(trace_kind::granted, "a1").say(trace_kind::granted, "a2");
    told.at(2).by(1, "").say(trace_kind::released, "a1").say(trace_kind::granted, "a1");
    CHECK(trace_timeline{told.log}.tracks.size() == 2); // a1 and a2 are told apart though they have one address
}

TEST_CASE("a wait that is given up says why") {
    told_trace told;
    told.at(1).by(1, "late").say(trace_kind::waits, "a");
    told.at(3).by(1, "late").say(trace_kind::gave_up, "a", access_mode::write, static_cast<int>(errc::timed_out));
    const trace_timeline t{told.log};
    CHECK(lines_of(t) == lines{"late waits a 1-3 gave up"});
    CHECK(t.slices[0].why == static_cast<int>(errc::timed_out));
    CHECK(to_trace_json(t).find(json_of(make_error_code(errc::timed_out).message())) != std::string::npos);
}

TEST_CASE("a system's error is told by its own text") {
    told_trace told;
    told.at(1).by(1, "show").say(trace_kind::device_failed, "a", access_mode::dma_write, -EIO);
    CHECK(to_html(trace_timeline{told.log}).find(std::system_category().message(EIO)) != std::string::npos);
}

TEST_CASE("text stays text in JSON and in HTML, and becomes valid UTF-8") {
    CHECK(json_of("plain \xc3\xa4 \xf0\x9f\x8e\xa5") == "\"plain \xc3\xa4 \xf0\x9f\x8e\xa5\"");
    CHECK(json_of("\"\\\n\x01\x7f") == "\"\\\"\\\\\\u000a\\u0001\\u007f\"");
    CHECK(json_of("</script>&") == "\"\\u003c/script\\u003e\\u0026\"");
    CHECK(json_of("\xe2\x80\xa8\xe2\x80\xa9") == "\"\\u2028\\u2029\"");
    CHECK(html_of("<a href='x'>\"&") == "&lt;a href=&#39;x&#39;&gt;&quot;&amp;");
    for (const std::string_view broken : {"\xff", "\x80", "\xc3", "\xc0\xaf", "\xe0\x80\xaf", "\xed\xa0\x80",
                                          "\xf4\x90\x80\x80", "\xf8\x88\x80\x80\x80"}) {
        CAPTURE(broken.size());
        std::string replaced;
        for (std::size_t i = 0; i < broken.size(); ++i) { replaced += "\\ufffd"; }
        CHECK(json_of(broken) == "\"" + replaced + "\"");
    }
    CHECK(html_of("\xe2\x82\xac\xe2\x82") == "\xe2\x82\xac\xef\xbf\xbd\xef\xbf\xbd");
}
