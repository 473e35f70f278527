// SPDX-License-Identifier: MIT
#include "run.hpp"

#include "output_file.hpp"
#include "reference.hpp"
#include "support.hpp"
#include "video_error.hpp"

#include <dmasync/epoll_loop.hpp>
#include <dmasync/observe/trace.hpp>
#include <dmasync/observe/trace_timeline.hpp>
#include <dmasync/uring_loop.hpp>
#include <support/skip.hpp>

#include <doctest/doctest.h>

#include <fcntl.h>

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <set>
#include <stdexcept>
#include <stop_token>
#include <string>
#include <system_error>
#include <thread>
#include <utility>
#include <vector>

using namespace pipeline;
using namespace std::chrono_literals;

namespace {

using make_loop = std::function<std::unique_ptr<dmasync::event_loop>()>;

/// epoll, and io_uring where it is allowed.
const std::vector<make_loop>& all_kinds() {
    static const std::vector<make_loop> kinds = [] {
        std::vector<make_loop> found{[] { return std::make_unique<dmasync::epoll_loop>(); }};
        std::error_code refused;
        if (dmasync::uring_loop::create(refused)) {
            found.emplace_back([] { return std::make_unique<dmasync::uring_loop>(); });
        } else {
            support::report_skip("the pipeline on io_uring: " + refused.message());
        }
        return found;
    }();
    return kinds;
}

/// Sanitizers slow the filters down; no test but those of leases depends on one.
studio_settings patient() { return {.lease = 60s}; }

struct run_result {
    run_progress progress;
    std::string video;
};

run_result run(const make_loop& make, const std::string& path, const studio_settings& settings,
               contact_sheet* sheet = nullptr, std::stop_source stop = {},
               const std::function<void(const run_progress&)>& watch = {}) {
    const test::temporary_folder folder;
    const auto io = make();
    const auto filters = make();
    video_input input{path, stop.get_token()};
    output_file file{folder / "out.y4m"};
    y4m_writer output{file.fd(), file.name(), input.format(), stop.get_token()};
    const run_progress progress = run_pipeline(input, output, sheet, *io, *filters, settings, std::move(stop), watch);
    file.commit();
    return {progress, test::read_file(folder / "out.y4m")};
}

std::string reference_of(const std::string& path) {
    const test::temporary_folder folder;
    video_input input{path};
    output_file file{folder / "out.y4m"};
    y4m_writer output{file.fd(), file.name(), input.format()};
    run_reference(input, output);
    file.commit();
    return test::read_file(folder / "out.y4m");
}

void check_equals_reference(const video_format& format, unsigned frames) {
    CAPTURE(format.width);
    CAPTURE(format.height);
    CAPTURE(frames);
    const test::temporary_folder folder;
    const std::string path = folder / "in.y4m";
    test::write_file(path, test::stream_of(format, frames));
    const std::string expected = reference_of(path);
    for (const make_loop& make : all_kinds()) {
        const run_result result = run(make, path, patient());
        CHECK(result.progress.pictures == frames);
        CHECK(result.progress.locks.leases_expired == 0);
        CHECK(result.progress.most_used.frames >= 2); // source and result of the denoiser
        CHECK(result.progress.most_used.frames <= 6); // two threads, and sets of up to three frames
        CHECK_UNARY(result.video == expected);
    }
}

} // namespace

TEST_CASE("the result is that of the reference, whatever the colour space") {
    for (const colour_space colour : {colour_space::yuv420jpeg, colour_space::yuv420mpeg2, colour_space::yuv422,
                                      colour_space::yuv444, colour_space::mono}) {
        check_equals_reference(test::format_of(64, 48, colour), 12);
    }
}

TEST_CASE("the result is that of the reference, whatever the size") {
    for (const auto& [width, height] : {std::pair{1, 1}, {2, 2}, {17, 15}, {33, 2}, {1, 99}, {320, 240}}) {
        for (const colour_space colour : {colour_space::yuv420jpeg, colour_space::yuv422, colour_space::yuv444}) {
            check_equals_reference(
                test::format_of(static_cast<std::size_t>(width), static_cast<std::size_t>(height), colour), 3);
        }
    }
}

TEST_CASE("the result is that of the reference, however many frames") {
    for (const unsigned frames : {1U, 2U, 3U, 60U}) { check_equals_reference(test::format_of(64, 48), frames); }
}

TEST_CASE("8K frames go through") { check_equals_reference(test::format_of(7680, 4320), 2); }

TEST_CASE("a thousand tiny frames go through in order") { check_equals_reference(test::format_of(4, 4), 1000); }

TEST_CASE("the contact sheet is that of the reference") {
    const test::temporary_folder folder;
    const std::string path = folder / "in.y4m";
    test::write_file(path, test::stream_of(test::format_of(64, 48), 5));
    video_input input{path};
    contact_sheet expected{input.format()};
    const dmasync::unique_fd nowhere{::open("/dev/null", O_WRONLY | O_CLOEXEC)};
    y4m_writer output{nowhere.get(), "/dev/null", input.format()};
    run_reference(input, output, [&](auto number, auto source, auto result) { expected.add(number, source, result); });
    for (const make_loop& make : all_kinds()) {
        contact_sheet sheet{input.format()};
        run(make, path, patient(), &sheet);
        CHECK_UNARY(sheet.draw().to_png() == expected.draw().to_png());
    }
}

TEST_CASE("a stage that hangs loses its frames, is reported, and does its work again") {
    const test::temporary_folder folder;
    const std::string path = folder / "in.y4m";
    test::write_file(path, test::stream_of(test::format_of(64, 48), 8));
    const std::string expected = reference_of(path);
    for (const std::uint64_t stalled : {0U, 3U, 7U}) {
        for (const make_loop& make : all_kinds()) {
            std::vector<std::string> reports;
            const run_result result = run(make, path, {.lease = 300ms, .stall = stalled, .report = [&](const auto& r) {
                                                           reports.push_back(to_string(r));
                                                       }});
            CHECK_UNARY(result.video == expected);
            CHECK(result.progress.locks.leases_expired == 1);
            REQUIRE(reports.size() == 1);
            CHECK(reports[0].starts_with("lease expired: set 'denoise' in domain 'frames' held buffer 'source "));
            CHECK(!reports[0].ends_with(" 0 waiters")); // those that read what it was to write
            CHECK(result.progress.locks.granted_after_wait > 0);
        }
    }
}

namespace {

/// Pairs of holds of one frame that exclude each other, and last at the same time.
std::size_t count_conflicts(const dmasync::trace_timeline& t) {
    std::size_t found = 0;
    for (auto a = t.slices.begin(); a != t.slices.end(); ++a) {
        for (auto b = a + 1; b != t.slices.end() && b->begin < a->until; ++b) {
            const bool both_held = a->kind == dmasync::slice_kind::hold && b->kind == dmasync::slice_kind::hold;
            found += both_held && a->track == b->track && dmasync::conflict(a->mode, b->mode) ? 1U : 0U;
        }
    }
    return found;
}

/// How many locks have slices that `is_one`.
template <class Condition>
std::size_t count_locks(const dmasync::trace_timeline& t, Condition is_one) {
    std::set<std::uint32_t> locks;
    for (const dmasync::trace_timeline::slice& s : t.slices) {
        if (is_one(s)) { locks.insert(s.lock); }
    }
    return locks.size();
}

} // namespace

TEST_CASE("the trace of a run shows every lock that the domain counts, and no conflict") {
    using dmasync::slice_end;
    using dmasync::slice_kind;
    const test::temporary_folder folder;
    const std::string path = folder / "in.y4m";
    test::write_file(path, test::stream_of(test::format_of(64, 48), 40));
    for (const make_loop& make : all_kinds()) {
        dmasync::trace_recorder recorder;
        const run_result result =
            run(make, path, {.lease = 300ms, .stall = 7, .report = [](const auto&) {}, .trace = &recorder});
        const dmasync::trace_timeline t{recorder.collect()};
        const dmasync::domain_counters& counted = result.progress.locks;
        CHECK(t.lost == 0);
        CHECK(t.tracks.size() == 10);
        CHECK(t.locks == counted.granted_at_once + counted.granted_after_wait);
        CHECK(count_locks(t, [](const auto& s) { return s.kind == slice_kind::hold; }) == t.locks);
        CHECK(count_locks(t, [](const auto& s) { return s.kind == slice_kind::wait; }) == counted.granted_after_wait);
        CHECK(count_locks(t, [](const auto& s) { return s.end == slice_end::expired; }) == counted.leases_expired);
        CHECK(count_locks(t, [](const auto& s) {
                  return s.end == slice_end::open || s.end == slice_end::unknown || s.began_before;
              }) == 0);
        CHECK(count_conflicts(t) == 0);
    }
}

TEST_CASE("a stage that is always too slow ends the run and is named") {
    const test::temporary_folder folder;
    const std::string path = folder / "in.y4m";
    test::write_file(path, test::stream_of(test::format_of(7680, 4320), 1));
    for (const make_loop& make : all_kinds()) {
        const std::string message = test::message_of([&] { run(make, path, {.lease = 1ms, .report = {}}); });
        CHECK(message.find("frame 0: too slow 3 times") != std::string::npos);
    }
}

TEST_CASE("a truncated video ends all stages with its error") {
    const test::temporary_folder folder;
    const std::string path = folder / "in.y4m";
    const std::string whole = test::stream_of(test::format_of(64, 48), 20);
    test::write_file(path, std::string_view{whole}.substr(0, whole.size() - 100));
    for (const make_loop& make : all_kinds()) {
        CHECK(test::error_of([&] { run(make, path, patient()); }) == video_errc::truncated_frame);
    }
}

TEST_CASE("a stop at any moment ends all stages") {
    const test::temporary_folder folder;
    const std::string path = folder / "in.y4m";
    test::write_file(path, test::stream_of(test::format_of(64, 48), 40));
    for (std::uint64_t moment = 1; moment < 40; moment += 3) {
        for (const make_loop& make : all_kinds()) {
            const std::stop_source stop;
            CHECK(test::error_of([&] {
                      run(make, path, patient(), nullptr, stop, [&](const run_progress& done) {
                          if (done.pictures == moment) { std::stop_source{stop}.request_stop(); }
                      });
                  }) == std::errc::operation_canceled);
        }
    }
}

TEST_CASE("a stop from another thread ends all stages, whatever they are doing") {
    const test::temporary_folder folder;
    const std::string path = folder / "in.y4m";
    test::write_file(path, test::stream_of(test::format_of(64, 48), 400));
    for (const make_loop& make : all_kinds()) {
        for (int round = 0; round < 20; ++round) {
            std::stop_source stop;
            std::jthread stopper{[&stop, round] {
                std::this_thread::sleep_for(std::chrono::microseconds{100 * round});
                stop.request_stop();
            }};
            const std::error_code ec = test::error_of([&] { run(make, path, patient(), nullptr, stop); });
            CHECK_UNARY(!ec || ec == std::errc::operation_canceled);
        }
    }
}

TEST_CASE("an exception of the watcher ends all stages") {
    const test::temporary_folder folder;
    const std::string path = folder / "in.y4m";
    test::write_file(path, test::stream_of(test::format_of(64, 48), 20));
    for (const make_loop& make : all_kinds()) {
        CHECK(test::message_of([&] {
                  run(make, path, patient(), nullptr, {}, [](const run_progress&) { throw std::runtime_error{"no"}; });
              }) == "no");
    }
}
