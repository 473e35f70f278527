// SPDX-License-Identifier: MIT
#include <dmasync/observe/trace.hpp>

#include <dmasync/domain.hpp>
#include <dmasync/lock.hpp>
#include <dmasync/lock_set.hpp>
#include <dmasync/manual_loop.hpp>
#include <dmasync/observe/trace_timeline.hpp>
#include <dmasync/transaction.hpp>

#include <doctest/doctest.h>
#include <support/fake_dma_buf.hpp>
#include <support/transaction_user.hpp>
#include <support/waiter.hpp>

#include <algorithm>
#include <array>
#include <atomic>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <random>
#include <set>
#include <string>
#include <string_view>
#include <system_error>
#include <thread>
#include <utility>
#include <vector>

using namespace dmasync;
using namespace std::chrono_literals;
using support::transaction_user;
using support::waiter;
using lines = std::vector<std::string>;

namespace {

/// "3ms set: granted a(write)": what a record says, without what differs from run to run.
std::string line_of(const trace_event& e, std::int64_t start) {
    std::string text = std::to_string((e.time - start) / 1'000'000) + "ms ";
    if (!e.set.empty()) { text += std::string{e.set.view()} + ": "; }
    text += std::string{to_string(e.kind)} + ' ' + std::string{e.buffer_name.view()};
    if (e.kind == trace_kind::buffer) { return text + ' ' + std::to_string(e.other) + " bytes"; }
    text += '(' + std::string{to_string(e.mode)} + ')';
    if (e.kind == trace_kind::renewed) { text += " by " + std::to_string(e.other / 1'000'000) + "ms"; }
    if (e.why != 0) { text += ", " + detail::failure::of_value(e.why).code().message(); }
    return text;
}

std::string message_of(errc e) { return make_error_code(e).message(); }

/// A domain on a virtual clock, traced from the moment when it has its buffers.
struct fixture {
    explicit fixture(deadlock_policy policy = deadlock_policy::wound_wait)
        : media{loop, {.lease = 1s, .name = "media", .report = {}, .policy = policy}} {
        media.trace_to(recorder);
    }

    /// What has been recorded since the last time, as text.
    lines news() {
        const trace_log log = recorder.collect();
        lines text;
        for (const trace_event& e : log.events) {
            if (e.sequence >= seen) { text.push_back(line_of(e, start)); }
        }
        seen = log.recorded;
        return text;
    }

    manual_loop loop;
    std::int64_t start = std::chrono::nanoseconds{loop.now().time_since_epoch()}.count();
    std::uint64_t seen = 2; // not the buffers
    trace_recorder recorder{{.records = 256}};
    std::array<std::array<std::byte, 64>, 2> memory{};
    domain media;
    buffer a = media.adopt(memory[0], "a");
    buffer b = media.adopt(memory[1], "b");
};

} // namespace

// ---- what is recorded ------------------------------------------------------------------------------------------------

TEST_CASE("a lock and its unlock are recorded for each buffer, with the names, the access and the time") {
    fixture f;
    guard held = try_lock(read(f.a), dma_write(f.b), lock_options{.name = "copy"});
    f.loop.advance(3ms);
    held.unlock();
    CHECK(f.news() == lines{"0ms copy: granted a(read)", "0ms copy: granted b(dma_write)", "3ms copy: released a(read)",
                            "3ms copy: released b(dma_write)"});
}

TEST_CASE("buffers are recorded that there are when the trace begins, and those that come later") {
    fixture f;
    f.seen = 0;
    CHECK(f.news() == lines{"0ms buffer a 64 bytes", "0ms buffer b 64 bytes"});
    f.loop.advance(1ms);
    trace_recorder late;
    f.media.trace_to(late);
    CHECK(late.collect().events.size() == 2);
    CHECK(late.collect().domains.front().name == "media");
}

TEST_CASE("nothing is recorded before the trace begins and after it has been stopped") {
    fixture f;
    f.media.stop_trace();
    guard held = try_lock(write(f.a));
    f.media.trace_to(f.recorder);
    held.unlock();
    f.media.stop_trace();
    held = try_lock(write(f.a));
    f.seen = 4; // the buffers again
    CHECK(f.news() == lines{"0ms released a(write)"});
}

TEST_CASE("a wait is recorded from its beginning to the grant") {
    fixture f;
    guard held = try_lock(write(f.a), lock_options{.name = "first"});
    waiter w;
    w.start({.name = "second"}, read(f.a), write(f.b));
    f.loop.advance(5ms);
    held.unlock();
    f.loop.run_ready();
    CHECK(w.done());
    CHECK(f.news() == lines{"0ms first: granted a(write)", "0ms second: waits a(read)", "0ms second: waits b(write)",
                            "5ms first: released a(write)", "5ms second: granted a(read)",
                            "5ms second: granted b(write)"});
}

TEST_CASE("a wait that comes to nothing is recorded with the reason") {
    fixture f;
    const guard held = try_lock(write(f.a));
    waiter w;
    SUBCASE("its deadline has passed") {
        w.start({.deadline = f.loop.now() + 2ms}, write(f.a));
        f.loop.advance(2ms);
        CHECK(f.news() == lines{"0ms granted a(write)", "0ms waits a(write)",
                                "2ms gave up a(write), " + message_of(errc::timed_out)});
    }
    SUBCASE("the buffer is closed") {
        w.start({}, write(f.a));
        f.a.close();
        CHECK(f.news() ==
              lines{"0ms granted a(write)", "0ms waits a(write)", "0ms gave up a(write), " + message_of(errc::closed)});
    }
    SUBCASE("its coroutine is destroyed") {
        w.start({}, write(f.a));
        w.coroutine.destroy();
        CHECK(f.news() == lines{"0ms granted a(write)", "0ms waits a(write)",
                                "0ms gave up a(write), " + message_of(errc::cancelled)});
    }
}

TEST_CASE("a lock that is refused at once is recorded with the reason") {
    fixture f;
    const guard held = try_lock(write(f.a));
    SUBCASE("by try_lock") {
        CHECK_FALSE(try_lock(read(f.b), write(f.a), lock_options{.name = "try"}));
        CHECK(f.news() == lines{"0ms granted a(write)", "0ms try: refused b(read), " + message_of(errc::would_block),
                                "0ms try: refused a(write), " + message_of(errc::would_block)});
    }
    SUBCASE("by try_lock with an error code") {
        std::error_code ec;
        CHECK_FALSE(try_lock(write(f.a), ec));
        CHECK(f.news() == lines{"0ms granted a(write)", "0ms refused a(write), " + message_of(errc::would_block)});
    }
    SUBCASE("because its deadline has passed") {
        waiter w;
        w.start({.deadline = f.loop.now()}, write(f.a));
        CHECK(f.news() == lines{"0ms granted a(write)", "0ms refused a(write), " + message_of(errc::timed_out)});
    }
}

TEST_CASE("a lease that runs out is recorded as the end of the hold; the unlock that comes too late is not") {
    fixture f;
    guard held = try_lock(write(f.a), lock_options{.name = "slow"});
    f.loop.advance(1s);
    held.unlock();
    CHECK(f.news() == lines{"0ms slow: granted a(write)", "1000ms slow: expired a(write)"});
}

TEST_CASE("a renewal is recorded with how much time there is now") {
    fixture f;
    guard held = try_lock(write(f.a));
    f.loop.advance(500ms);
    held.renew(2s);
    CHECK(f.news() == lines{"0ms granted a(write)", "500ms renewed a(write) by 2000ms"});
}

TEST_CASE("a change of access is recorded, and an upgrade that fails is not one") {
    fixture f;
    guard held = try_lock(write(f.a), read(f.b));
    held.downgrade(f.a);
    CHECK(held.try_upgrade(f.b));
    const guard other = try_lock(read(f.a));
    CHECK_FALSE(held.try_upgrade(f.a));
    const trace_timeline t{f.recorder.collect()};
    CHECK(f.news() == lines{"0ms granted a(write)", "0ms granted b(read)", "0ms changed a(read)",
                            "0ms changed b(read_write)", "0ms granted a(read)"});
    CHECK(t.slices.size() == 5);
}

TEST_CASE("a buffer that is released before the others is recorded alone") {
    fixture f;
    guard held = try_lock(write(f.a), write(f.b));
    held.release(f.a);
    f.loop.advance(1ms);
    held.unlock();
    CHECK(f.news() ==
          lines{"0ms granted a(write)", "0ms granted b(write)", "0ms released a(write)", "1ms released b(write)"});
}

TEST_CASE("a hold that is split is recorded as moved, and the part ends by itself") {
    fixture f;
    guard held = try_lock(write(f.a), write(f.b));
    guard part = held.split(f.b);
    held.unlock();
    f.loop.advance(1ms);
    part.unlock();
    CHECK(f.news() == lines{"0ms granted a(write)", "0ms granted b(write)", "0ms moved b(write)",
                            "0ms released a(write)", "1ms released b(write)"});
}

TEST_CASE("a hold that is lent to a device is recorded to its end, and when it is overdue") {
    fixture f;
    const support::fake_fence work;
    guard held = try_lock(dma_write(f.a));
    held.release_on(work.file());
    f.loop.advance(1s);
    work.signal();
    f.loop.run_ready();
    CHECK(f.news() == lines{"0ms granted a(dma_write)", "0ms lent a(dma_write)", "1000ms overdue a(dma_write)",
                            "1000ms device done a(dma_write)"});
}

TEST_CASE("a device that fails is recorded with its error") {
    fixture f;
    const support::fake_fence work;
    guard held = try_lock(dma_write(f.a));
    held.release_on(work.file());
    work.fail(EIO);
    f.loop.run_ready();
    CHECK(f.news() == lines{"0ms granted a(dma_write)", "0ms lent a(dma_write)",
                            "0ms device failed a(dma_write), " + std::system_category().message(EIO),
                            "0ms device done a(dma_write)"});
}

TEST_CASE("a lock that waits for devices is recorded as such between the grant and the hold") {
    fixture f;
    const support::fake_dma_buf memory;
    buffer c = f.media.import(memory.duplicate(), "c");
    const support::fake_fence work = memory.add_fence(access_mode::dma_write);
    waiter w;
    w.start({.name = "show"}, read(c));
    f.loop.advance(4ms);
    CHECK(!w.done());
    work.signal();
    f.loop.run_ready();
    CHECK(w.done());
    f.seen = 3;
    CHECK(f.news() == lines{"0ms show: fenced c(read)", "4ms show: granted c(read)"});
}

TEST_CASE("a lock that waits for a device in vain is recorded with the reason") {
    fixture f;
    const support::fake_dma_buf memory;
    buffer c = f.media.import(memory.duplicate(), "c");
    const support::fake_fence work = memory.add_fence(access_mode::dma_write);
    waiter w;
    w.start({.fence_timeout = 4ms}, read(c));
    f.loop.advance(4ms);
    CHECK(w.done());
    const trace_timeline t{f.recorder.collect()};
    REQUIRE(t.slices.size() == 1);
    CHECK(t.slices[0].kind == slice_kind::fence);
    CHECK(t.slices[0].end == slice_end::gave_up);
    CHECK(t.slices[0].why == static_cast<int>(errc::fence_timed_out));
    CHECK(t.slices[0].until - t.slices[0].begin == 4'000'000);
}

TEST_CASE("a wound is recorded for each buffer that the transaction has") {
    fixture f;
    transaction_user older{f.media, {.name = "older"}};
    transaction_user younger{f.media, {.name = "younger"}};
    CHECK(older.has_locked(write(f.a)));
    CHECK(younger.has_locked(write(f.b)));
    older.lock(write(f.b));
    CHECK(older.waits());
    CHECK(f.news() == lines{"0ms older: granted a(write)", "0ms younger: granted b(write)", "0ms older: waits b(write)",
                            "0ms younger: wounded b(write)"});
    younger.tx.unlock();
    f.loop.run_ready();
    CHECK(f.news() ==
          lines{"0ms younger: released b(write)", "0ms older: granted b(write)", "0ms older: moved b(write)"});
}

TEST_CASE("a transaction that gives way by wait-die is recorded as such") {
    fixture f{deadlock_policy::wait_die};
    transaction_user older{f.media, {.name = "older"}};
    transaction_user younger{f.media, {.name = "younger"}};
    CHECK(older.has_locked(write(f.a)));
    CHECK(younger.has_locked(write(f.b)));
    younger.lock(write(f.a));
    CHECK(younger.ec == errc::wounded);
    CHECK(f.news() == lines{"0ms older: granted a(write)", "0ms younger: granted b(write)",
                            "0ms younger: died b(write)",
                            "0ms younger: refused a(write), " + message_of(errc::wounded)});
}

TEST_CASE("what a transaction has is recorded to the end of its guard") {
    fixture f;
    guard held;
    {
        transaction_user u{f.media};
        CHECK(u.has_locked(write(f.a)));
        CHECK(u.has_locked(write(f.b)));
        held = u.tx.done();
    }
    f.loop.advance(2ms);
    held.unlock();
    CHECK(f.news() ==
          lines{"0ms granted a(write)", "0ms granted b(write)", "2ms released a(write)", "2ms released b(write)"});
}

TEST_CASE("what goes on when the domain has been destroyed is not recorded") {
    manual_loop loop;
    trace_recorder recorder;
    std::array<std::byte, 64> memory{};
    guard held;
    {
        domain media{loop};
        media.trace_to(recorder);
        held = try_lock(write(media.adopt(memory, "a")));
    }
    held.unlock();
    const trace_log log = recorder.collect();
    CHECK(log.events.back().kind == trace_kind::granted);
    CHECK(trace_timeline{log}.slices.at(0).end == slice_end::open);
}

namespace {

/// Steps of a trace: of a kind, and for a reason where one is given.
std::uint64_t count_steps(const trace_log& log, trace_kind k, std::int32_t why = 0) {
    return static_cast<std::uint64_t>(std::count_if(log.events.begin(), log.events.end(), [&](const trace_event& e) {
        return e.leads && e.kind == k && (why == 0 || e.why == why);
    }));
}

/// Pairs of holds of one buffer that exclude each other, and last at the same time.
std::size_t count_conflicts(const trace_timeline& t) {
    std::size_t found = 0;
    for (auto a = t.slices.begin(); a != t.slices.end(); ++a) {
        for (auto b = a + 1; b != t.slices.end() && b->begin < a->until; ++b) {
            const bool both_held = a->kind == slice_kind::hold && b->kind == slice_kind::hold;
            found += both_held && a->track == b->track && conflict(a->mode, b->mode) ? 1U : 0U;
        }
    }
    return found;
}

/// Sets and transactions that lock, wait, are late, give up, release in parts, and are destroyed, as a seed decides.
struct crowd {
    crowd(deadlock_policy policy, unsigned seed)
        : random{seed},
          media{loop,
                {.lease = 50ms,
                 .report = [this](const lease_report& r) { empty += r.buffers.empty() ? 1 : 0; },
                 .policy = policy}} {
        media.trace_to(recorder);
        for (std::size_t i = 0; i < buffers.size(); ++i) {
            buffers[i] = media.adopt(memory[i], std::string_view{std::to_string(i)});
        }
        for (auto& u : users) { u = std::make_unique<transaction_user>(media); }
    }

    const buffer& any() { return buffers[random() % buffers.size()]; }

    void step() {
        waiter& w = waiters[random() % waiters.size()];
        auto& u = users[random() % users.size()];
        const buffer& one = any();
        const buffer& other = any();
        switch (random() % 12) {
        case 0: start(w, read(one)); break;
        case 1: start(w, write(one)); break;
        case 2: start(w, read(one), write(other)); break; // refused when they are the same
        case 3: w.held.unlock(); break;
        case 4: w.coroutine.destroy(); break;
        case 5: static_cast<void>(w.held.try_upgrade(one, ignored)); break;
        case 6: w.held.downgrade(one, ignored); break;
        case 7: w.held.release(one, ignored); break;
        case 8: loop.advance(std::chrono::milliseconds{random() % 30}); break;
        case 9:
        case 10: use(*u, one); break;
        default:
            begun.erase(u.get());
            u = std::make_unique<transaction_user>(media);
            break;
        }
        loop.run_ready();
    }

    template <class... Requests>
    void start(waiter& w, Requests... requests) {
        w.coroutine.destroy();
        w.held.unlock();
        w.start({.deadline = loop.now() + std::chrono::milliseconds{random() % 40}}, requests...);
    }

    /// A transaction that has not begun is not done either.
    bool is_waiting(const transaction_user& u) const { return begun.contains(&u) && u.waits(); }

    void use(transaction_user& u, const buffer& b) {
        if (u.tx.must_restart()) {
            u.tx.unlock();
        } else if (!is_waiting(u)) {
            begun.insert(&u);
            random() % 2 == 0 ? u.lock(write(b)) : u.lock(read(b));
        }
    }

    std::minstd_rand random;
    std::error_code ignored;
    std::uint64_t empty = 0; // leases that ended when every buffer had been released
    manual_loop loop;
    trace_recorder recorder{{.records = 1U << 16U}};
    std::array<std::array<std::byte, 64>, 4> memory{};
    domain media;
    std::array<buffer, 4> buffers;
    std::array<waiter, 5> waiters;
    std::array<std::unique_ptr<transaction_user>, 3> users;
    std::set<const transaction_user*> begun;
};

} // namespace

TEST_CASE("whatever happens, everything that the domain counts is recorded, and no two holds conflict") {
    for (const deadlock_policy policy : {deadlock_policy::wound_wait, deadlock_policy::wait_die}) {
        for (unsigned seed = 1; seed <= 20; ++seed) {
            CAPTURE(seed);
            crowd c{policy, seed};
            for (int i = 0; i < 1000; ++i) { c.step(); }
            const trace_log log = c.recorder.collect();
            const trace_timeline t{log};
            const domain_counters counted = c.media.counters();
            CHECK(log.lost == 0);
            CHECK(t.locks == counted.granted_at_once + counted.granted_after_wait);
            CHECK(count_steps(log, trace_kind::expired) == counted.leases_expired - c.empty);
            CHECK(count_steps(log, trace_kind::wounded) == counted.wounds);
            CHECK(count_steps(log, trace_kind::died) == counted.deaths);
            const auto late = static_cast<std::int32_t>(errc::timed_out);
            CHECK(count_steps(log, trace_kind::gave_up, late) + count_steps(log, trace_kind::refused, late) ==
                  counted.timed_out);
            CHECK(counted.granted_after_wait > 10);
            CHECK(count_conflicts(t) == 0);
            CHECK(std::none_of(t.slices.begin(), t.slices.end(),
                               [](const auto& s) { return s.began_before || s.end == slice_end::unknown; }));
        }
    }
}

// ---- what is kept ----------------------------------------------------------------------------------------------------

TEST_CASE("a full ring keeps the latest records, and says how many it has lost") {
    trace_recorder recorder{{.records = 8, .threads = 1}};
    for (int i = 0; i < 100; ++i) { recorder.record({}); }
    const trace_log log = recorder.collect();
    CHECK(log.recorded == 100);
    CHECK(log.events.size() == 8);
    CHECK(log.lost == 92);
    CHECK(log.complete_from == 92);
    for (std::size_t i = 0; i < log.events.size(); ++i) { CHECK(log.events[i].sequence == 92 + i); }
}

TEST_CASE("a ring that is just full has lost nothing") {
    trace_recorder recorder{{.records = 8, .threads = 1}};
    for (int i = 0; i < 8; ++i) { recorder.record({}); }
    const trace_log log = recorder.collect();
    CHECK(log.events.size() == 8);
    CHECK(log.lost == 0);
    CHECK(log.complete_from == 0);
}

TEST_CASE("records of more threads than there is room for are counted as lost") {
    trace_recorder recorder{{.records = 8, .threads = 1}};
    recorder.record({});
    std::thread{[&] { recorder.record({}); }}.join();
    recorder.record({});
    const trace_log log = recorder.collect();
    CHECK(log.events.size() == 2);
    CHECK(log.recorded == 3);
    CHECK(log.lost == 1);
    CHECK(log.complete_from == 2);
}

TEST_CASE("each thread has its own records, under its own name") {
    trace_recorder recorder;
    recorder.record({});
    std::thread{[&] {
        pthread_setname_np(pthread_self(), "decoder");
        recorder.record({});
    }}.join();
    const trace_log log = recorder.collect();
    REQUIRE(log.threads.size() == 2);
    CHECK(log.threads[1].name == "decoder");
    CHECK(log.events[0].thread == log.threads[0].id);
    CHECK(log.events[1].thread == log.threads[1].id);
    CHECK(log.events[0].thread != log.events[1].thread);
}

TEST_CASE("what is collected while threads record is never torn, and in order") {
    trace_recorder recorder{{.records = 64, .threads = 2}};
    std::atomic<bool> stop{false};
    const auto write = [&](std::uint64_t salt) {
        for (std::uint64_t i = 0; !stop.load(std::memory_order_relaxed); ++i) {
            trace_event e;
            e.time = static_cast<std::int64_t>(i);
            e.claim = e.other = e.buffer = e.domain = i * salt;
            recorder.record(e);
        }
    };
    std::thread one{write, 3};
    std::thread two{write, 5};
    std::uint64_t torn = 0;
    std::uint64_t disordered = 0;
    std::uint64_t looked_at = 0;
    while (looked_at < 100'000) {
        const trace_log log = recorder.collect();
        std::uint64_t last = 0;
        for (const trace_event& e : log.events) {
            const auto i = static_cast<std::uint64_t>(e.time);
            const bool whole = e.claim == e.other && e.claim == e.buffer && e.claim == e.domain &&
                               (e.claim == 3 * i || e.claim == 5 * i);
            torn += whole ? 0 : 1;
            disordered += e.sequence < last ? 1 : 0;
            last = e.sequence;
        }
        looked_at += log.events.size();
    }
    stop = true;
    one.join();
    two.join();
    CHECK(torn == 0);
    CHECK(disordered == 0);
    const trace_log log = recorder.collect();
    CHECK(log.events.size() == 128);
    CHECK(log.lost + 128 == log.recorded);
}
