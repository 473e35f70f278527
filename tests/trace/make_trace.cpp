// SPDX-License-Identifier: MIT
// Makes traces whose contents are known, for tests of what is made of them: make_trace story|many|lossy FOLDER
//
// Writes trace.json, trace.html, and expected.json with what has happened, counted by the program itself.
#include <dmasync/dmasync.hpp>

#include <support/fake_dma_buf.hpp>
#include <support/transaction_user.hpp>
#include <support/waiter.hpp>

#include <array>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <fstream>
#include <iostream>
#include <memory>
#include <string>
#include <string_view>
#include <system_error>
#include <utility>
#include <vector>

using namespace dmasync;
using namespace std::chrono_literals;
using support::transaction_user;
using support::waiter;

namespace {

constexpr const char* hostile = "</script><b>\"'&\\\xff\xe2\x80\xa8 \n\xc3"; // and the half of a character at the end

/// What has happened, as the program itself knows it.
struct expectation {
    std::uint64_t holds = 0;
    std::uint64_t waits = 0;
    std::uint64_t fences = 0;
    std::uint64_t marks = 0;
};

struct stage {
    explicit stage(trace_options options = {}) : recorder{options} { media.trace_to(recorder); }

    void write(const std::string& folder, const expectation& e) {
        const trace_timeline t{recorder.collect()};
        const domain_counters c = media.counters();
        std::ofstream{folder + "/trace.json"} << to_trace_json(t);
        std::ofstream{folder + "/trace.html"} << to_html(t, hostile);
        std::ofstream{folder + "/expected.json"}
            << "{\"holds\":" << e.holds << ",\"waits\":" << e.waits << ",\"fences\":" << e.fences
            << ",\"marks\":" << e.marks << ",\"locks\":" << c.granted_at_once + c.granted_after_wait
            << ",\"lost\":" << t.lost << ",\"buffers\":" << t.tracks.size() << "}\n";
    }

    manual_loop loop;
    trace_recorder recorder;
    domain media{loop, {.lease = 1s, .name = "media", .report = {}}};
};

/// A little of everything: each kind of slice, each kind of mark, names that mean something to what shows them.
expectation tell_story(stage& s) {
    const support::fake_dma_buf memory;
    std::array<std::array<std::byte, 64>, 3> plain{};
    buffer camera = s.media.import(memory.duplicate(), "camera");
    buffer odd = s.media.adopt(plain[0], hostile);
    buffer screen = s.media.adopt(plain[1], "screen");
    buffer unused = s.media.adopt(plain[2], "unused");

    guard capture = try_lock(dma_write(camera), lock_options{.name = "capture"}); // 1
    const support::fake_fence work = memory.add_fence(access_mode::dma_write);
    capture.release_on(work.file()); // mark: lent
    waiter show;
    show.start({.name = "show"}, read(camera), write(screen)); // waits 1, 2
    waiter quick;
    quick.start({.deadline = s.loop.now() + 1ms, .name = "impatient"}, write(camera)); // waits 3
    guard drawing = try_lock(read_write(odd), lock_options{.name = hostile});          // 2
    static_cast<void>(try_lock(read(odd), lock_options{.name = "refused"}));           // mark: refused
    s.loop.advance(2ms);
    work.signal();
    s.loop.run_ready(); // fences 1, 2, as the wait is over; then holds 3, 4
    s.loop.advance(3ms);
    drawing.downgrade(odd); // 5
    show.held.release(camera);
    drawing.renew(2s);  // mark
    s.loop.advance(1s); // show has had its lease: mark: expired
    drawing.unlock();

    transaction_user older{s.media, {.name = "older"}};
    transaction_user younger{s.media, {.name = "younger"}};
    older.lock(write(odd));      // 6
    younger.lock(write(screen)); // 7
    s.loop.advance(1ms);
    older.lock(write(screen)); // waits 4; mark: wounded
    s.loop.advance(1ms);
    younger.tx.unlock();
    s.loop.run_ready(); // 8
    s.loop.advance(1ms);
    guard both = older.tx.done();
    return {.holds = 8, .waits = 4, .fences = 2, .marks = 5};
}

/// `locks` locks of one of `buffers` buffers each, a third of which the next one waits for.
expectation make_many(stage& s, int buffers, int locks) {
    std::vector<std::array<std::byte, 64>> memory(static_cast<std::size_t>(buffers));
    std::vector<buffer> all;
    for (auto& m : memory) {
        all.push_back(s.media.adopt(m, std::string_view{"buffer " + std::to_string(all.size())}));
    }
    expectation e;
    for (int i = 0; i < locks; ++i) {
        const buffer& b = all[static_cast<std::size_t>(i) * 7919 % all.size()];
        guard held = i % 2 == 0 ? guard{try_lock(write(b), lock_options{.name = "writer"})} : guard{try_lock(read(b))};
        ++e.holds;
        if (i % 3 == 0) {
            waiter next;
            next.start({.name = "next"}, write(b));
            s.loop.advance(std::chrono::microseconds{5 + i % 11});
            held.unlock();
            s.loop.run_ready();
            ++e.waits;
            ++e.holds;
            s.loop.advance(3us);
        } else {
            s.loop.advance(std::chrono::microseconds{1 + i % 7});
        }
    }
    return e;
}

} // namespace

int main(int argc, char** argv) {
    const std::string_view what = argc == 3 ? argv[1] : "";
    if (what == "story") {
        stage s;
        const expectation e = tell_story(s);
        s.write(argv[2], e);
    } else if (what == "many") {
        stage s{{.records = 1U << 18U}};
        const expectation e = make_many(s, 50, 36000);
        s.write(argv[2], e);
    } else if (what == "lossy") {
        stage s{{.records = 512}};
        const expectation e = make_many(s, 3, 2000);
        s.write(argv[2], e);
    } else {
        std::cerr << "usage: make_trace story|many|lossy FOLDER\n";
        return 2;
    }
    return 0;
}
