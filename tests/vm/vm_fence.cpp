// SPDX-License-Identifier: MIT
// Fences and the kernel: what tests/kernel/test_fence.cpp and tests/kernel/test_dma_buf.cpp say of doubles is true of sync_files of
// sw_sync, of the work of vgem, and of dma-bufs.
#include <dmasync/dma_buf.hpp>
#include <dmasync/epoll_loop.hpp>
#include <dmasync/fence.hpp>
#include <dmasync/uring_loop.hpp>

#include <doctest/doctest.h>
#include <support/descriptors.hpp>
#include <support/every_loop.hpp>
#include <support/probe.hpp>
#include <support/real_time.hpp>
#include <support/sw_sync.hpp>
#include <support/vgem.hpp>

#include <algorithm>
#include <array>
#include <atomic>
#include <cerrno>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <random>
#include <semaphore>
#include <stop_token>
#include <string>
#include <system_error>
#include <thread>
#include <type_traits>
#include <vector>

#include <sys/ioctl.h>

using namespace dmasync;
using namespace std::chrono_literals;
using support::sw_timeline;
using support::vgem_buffer;

namespace {

std::error_code system_error(int error) { return {error, std::system_category()}; }

/// What a wait has come to. Resumed twice, it would say so.
struct result {
    int times = 0;
    std::error_code error;
};

probe await_fence(event_loop& loop, const fence& f, wait_options options, result& out) {
    std::error_code ec;
    co_await f.wait(loop, options, ec);
    ++out.times;
    out.error = ec;
}

fence merge(const fence& a, const fence& b) {
    std::error_code ec;
    fence merged = fence::merge(a, b, "merged", ec);
    CHECK_FALSE(ec);
    return merged;
}

fence_info info_of(const fence& f) {
    std::error_code ec;
    fence_info i = f.info(ec);
    CHECK_FALSE(ec);
    return i;
}

fence export_fence(const vgem_buffer& b, access_mode a) {
    std::error_code ec;
    fence f = dma_buf::export_fence(b.fd(), a, ec);
    CHECK_FALSE(ec);
    return f;
}

void import_fence(int fd, const fence& f, access_mode a) {
    std::error_code ec;
    dma_buf::import_fence(fd, f, a, ec);
    CHECK_FALSE(ec);
}

/// Waits for a fence by the thread, by its loop, or by asking again and again. Returns: whether it ended well.
bool wait_in_some_way(event_loop& loop, const fence& f, std::uint32_t way) {
    switch (way % 3) {
    case 0: return !f.blocking_wait(event_loop::clock::now() + 60s);
    case 1: {
        result r;
        const probe p = await_fence(loop, f, {}, r);
        return support::run_until(loop, [&] { return r.times == 1; }) && !r.error;
    }
    default:
        while (f.state() == fence_state::pending) { std::this_thread::yield(); }
        return f.state() == fence_state::signalled;
    }
}

} // namespace

// ---- a fence of a timeline -------------------------------------------------------------------------------------------

TEST_CASE("a fence has ended once its timeline is at its point, not before") {
    const sw_timeline timeline;
    const fence f = timeline.create(2);
    timeline.advance();
    CHECK(f.state() == fence_state::pending);
    CHECK_FALSE(f.error());
    timeline.advance();
    CHECK(f.state() == fence_state::signalled);
    CHECK_FALSE(f.error());
    timeline.advance(5);
    CHECK(f.state() == fence_state::signalled);
}

TEST_CASE("a fence of a point that has passed has ended when it is made") {
    const sw_timeline timeline;
    timeline.advance(5);
    CHECK(timeline.create(5).state() == fence_state::signalled);
}

TEST_CASE("a timeline that is closed ends its fences with ENOENT") {
    sw_timeline timeline;
    const fence f = timeline.create(1);
    const fence done = timeline.create(0);
    timeline.close();
    CHECK(f.state() == fence_state::failed);
    CHECK(f.error() == system_error(ENOENT));
    CHECK(f.blocking_wait() == system_error(ENOENT));
    CHECK(done.state() == fence_state::signalled);
}

TEST_CASE("a fence tells when it ended, on the steady clock") {
    const sw_timeline timeline;
    const fence f = timeline.create(1);
    CHECK_FALSE(f.ended_at());
    const auto before = event_loop::clock::now();
    timeline.advance();
    const auto after = event_loop::clock::now();
    REQUIRE(f.ended_at());
    CHECK(*f.ended_at() >= before);
    CHECK(*f.ended_at() <= after);
}

TEST_CASE("a fence that failed tells when it did") {
    sw_timeline timeline;
    const fence f = timeline.create(1);
    const auto before = event_loop::clock::now();
    timeline.close();
    REQUIRE(f.ended_at());
    CHECK(*f.ended_at() >= before);
}

TEST_CASE("a fence names its driver and its timeline") {
    const sw_timeline timeline;
    const fence f = timeline.create(7);
    const fence_info i = info_of(f);
    REQUIRE(i.points.size() == 1);
    CHECK(i.name.starts_with("sw_sync-"));
    CHECK(i.state == fence_state::pending);
    CHECK(i.points[0].driver == "sw_sync");
    CHECK(!i.points[0].timeline.empty());
    CHECK(i.points[0].state == fence_state::pending);
    CHECK_FALSE(i.points[0].ended);
}

TEST_CASE("a duplicate is the same fence, and outlives the one it was made of") {
    const sw_timeline timeline;
    std::error_code ec;
    fence copy;
    {
        const fence f = timeline.create(1);
        copy = f.duplicate(ec);
        CHECK_FALSE(ec);
    }
    CHECK(copy.state() == fence_state::pending);
    timeline.advance();
    CHECK(copy.state() == fence_state::signalled);
}

TEST_CASE("a descriptor of the kernel's that is no sync_file is no fence") {
    std::error_code ec;
    const vgem_buffer b;
    CHECK(!fence::adopt(b.exported(), ec));
    CHECK(ec == errc::not_a_fence);
    CHECK(!fence::adopt(support::open_device("/sys/kernel/debug/sync/sw_sync"), ec));
    CHECK(ec == errc::not_a_fence);
    CHECK(!fence::adopt(support::open_card("vgem"), ec));
    CHECK(ec == errc::not_a_fence);
}

// ---- merge -----------------------------------------------------------------------------------------------------------

TEST_CASE("fences of two timelines that are merged end when both have, in either order") {
    for (const bool first_first : {true, false}) {
        const sw_timeline one;
        const sw_timeline two;
        const fence both = merge(one.create(1), two.create(1));
        CHECK(info_of(both).points.size() == 2);
        (first_first ? one : two).advance();
        CHECK(both.state() == fence_state::pending);
        CHECK_FALSE(both.ended_at());
        (first_first ? two : one).advance();
        CHECK(both.state() == fence_state::signalled);
        CHECK(both.ended_at());
    }
}

TEST_CASE("of fences of one timeline that are merged the later one is left") {
    const sw_timeline timeline;
    const fence both = merge(timeline.create(2), timeline.create(1));
    CHECK(info_of(both).points.size() == 1);
    timeline.advance();
    CHECK(both.state() == fence_state::pending);
    timeline.advance();
    CHECK(both.state() == fence_state::signalled);
}

TEST_CASE("a fence that is merged with itself is itself, by another name") {
    const sw_timeline timeline;
    const fence f = timeline.create(1);
    const fence twice = merge(f, f);
    CHECK(info_of(twice).points.size() == 1);
    CHECK(info_of(twice).name == "merged");
    CHECK(twice.state() == fence_state::pending);
    timeline.advance();
    CHECK(twice.state() == fence_state::signalled);
}

TEST_CASE("a fence that has ended is left out of a merge, and its error with it") {
    sw_timeline broken;
    const sw_timeline timeline;
    const fence failed = broken.create(1);
    broken.close();
    const fence both = merge(failed, timeline.create(1));
    CHECK(info_of(both).points.size() == 1);
    CHECK(both.state() == fence_state::pending);
    timeline.advance();
    CHECK(both.state() == fence_state::signalled);
}

TEST_CASE("two fences that have ended are merged to one that has") {
    const sw_timeline timeline;
    timeline.advance(2);
    CHECK(merge(timeline.create(1), timeline.create(2)).state() == fence_state::signalled);
}

TEST_CASE("a merged fence has the error of the part that fails, once all parts have ended") {
    sw_timeline broken;
    const sw_timeline timeline;
    const fence both = merge(broken.create(1), timeline.create(1));
    broken.close();
    CHECK(both.state() == fence_state::pending);
    CHECK_FALSE(both.error());
    const fence_info i = info_of(both);
    CHECK(i.state == fence_state::pending);
    CHECK_FALSE(i.error);
    timeline.advance();
    CHECK(both.state() == fence_state::failed);
    CHECK(both.error() == system_error(ENOENT));
    CHECK(info_of(both).error == system_error(ENOENT));
}

TEST_CASE("a merge takes no place in the table of descriptors but its own") {
    const std::size_t before = support::count_descriptors();
    {
        const sw_timeline one;
        const sw_timeline two;
        const fence a = one.create(1);
        const fence b = two.create(1);
        const fence both = merge(a, b);
        CHECK(support::count_descriptors() == before + 5);
    }
    CHECK(support::count_descriptors() == before);
}

TEST_CASE("a fence of very many parts tells of each") {
    constexpr std::size_t parts = 200;
    std::vector<std::unique_ptr<sw_timeline>> timelines;
    fence all;
    for (std::size_t i = 0; i < parts; ++i) {
        timelines.push_back(std::make_unique<sw_timeline>());
        all = merge(all, timelines.back()->create(1));
    }
    CHECK(info_of(all).points.size() == parts);
    for (std::size_t i = 1; i < parts; ++i) { timelines[i]->advance(); }
    CHECK(all.state() == fence_state::pending);
    std::size_t pending = 0;
    for (const fence_info::point& p : info_of(all).points) { pending += p.state == fence_state::pending ? 1U : 0U; }
    CHECK(pending == 1);
    timelines[0]->close();
    CHECK(all.error() == system_error(ENOENT));
    const fence_info i = info_of(all);
    CHECK(i.points.size() == parts);
    CHECK(i.error == system_error(ENOENT));
    CHECK(all.ended_at());
}

TEST_CASE("of fences of many timelines that are merged at random the last of each timeline is left") {
    std::array<sw_timeline, 32> timelines;
    std::array<std::uint32_t, 32> last{}; // point of each; 0: none
    std::minstd_rand random{1};
    fence all;
    for (int i = 0; i < 2000; ++i) {
        const std::size_t which = random() % (i < 1000 ? 16 : 32);
        const std::uint32_t point = 1 + static_cast<std::uint32_t>(random()) % 100'000;
        all = merge(timelines[which].create(point), all);
        last[which] = std::max(last[which], point);
        if (i == 999) { CHECK(info_of(all).points.size() == 16); }
    }
    CHECK(info_of(all).points.size() == timelines.size());
    for (std::size_t i = 0; i < timelines.size(); ++i) {
        timelines[i].advance(last[i] - 1);
        CHECK(all.state() == fence_state::pending);
        timelines[i].advance();
    }
    CHECK(all.state() == fence_state::signalled);
}

TEST_CASE("a fence is asked for its points while they end") {
    std::vector<std::unique_ptr<sw_timeline>> timelines;
    fence all;
    for (int i = 0; i < 50; ++i) {
        timelines.push_back(std::make_unique<sw_timeline>());
        all = merge(all, timelines.back()->create(1));
    }
    std::thread device{[&] {
        for (const auto& t : timelines) { t->advance(); }
    }};
    while (info_of(all).state == fence_state::pending) {}
    device.join();
    CHECK(info_of(all).state == fence_state::signalled);
}

// ---- waiting on a thread ---------------------------------------------------------------------------------------------

TEST_CASE("a thread waits for a fence that another ends") {
    const sw_timeline timeline;
    const fence f = timeline.create(1);
    std::thread device{[&] {
        std::this_thread::sleep_for(5ms);
        timeline.advance();
    }};
    CHECK_FALSE(f.blocking_wait());
    CHECK(f.state() == fence_state::signalled);
    device.join();
}

TEST_CASE("a thread that waits for a fence hears that it fails") {
    sw_timeline timeline;
    const fence f = timeline.create(1);
    std::thread device{[&] {
        std::this_thread::sleep_for(5ms);
        timeline.close();
    }};
    CHECK(f.blocking_wait() == system_error(ENOENT));
    device.join();
}

TEST_CASE("a thread waits for a fence until its deadline, not less") {
    const sw_timeline timeline;
    const fence f = timeline.create(1);
    const auto deadline = event_loop::clock::now() + 5ms;
    CHECK(f.blocking_wait(deadline) == errc::timed_out);
    CHECK(event_loop::clock::now() >= deadline);
}

// ---- waiting in a coroutine ------------------------------------------------------------------------------------------

TEST_CASE_TEMPLATE("a coroutine goes on when its fence ends, by a signal of another thread", Loop, EVERY_LOOP_TYPE) {
    Loop loop;
    const sw_timeline timeline;
    const fence f = timeline.create(1);
    result r;
    const probe p = await_fence(loop, f, {}, r);
    support::run_for(loop, 5ms);
    CHECK(r.times == 0);
    std::thread device{[&] { timeline.advance(); }};
    CHECK(support::run_until(loop, [&] { return r.times == 1; }));
    CHECK_FALSE(r.error);
    device.join();
}

TEST_CASE_TEMPLATE("a coroutine that waits for a fence hears that it fails", Loop, EVERY_LOOP_TYPE) {
    Loop loop;
    sw_timeline timeline;
    const fence f = timeline.create(1);
    result r;
    const probe p = await_fence(loop, f, {}, r);
    loop.poll();
    timeline.close();
    CHECK(support::run_until(loop, [&] { return r.times == 1; }));
    CHECK(r.error == system_error(ENOENT));
}

TEST_CASE_TEMPLATE("a coroutine waits for both parts of a merged fence, in either order", Loop, EVERY_LOOP_TYPE) {
    Loop loop;
    for (const bool first_first : {true, false}) {
        const sw_timeline one;
        const sw_timeline two;
        const fence both = merge(one.create(1), two.create(1));
        result r;
        const probe p = await_fence(loop, both, {}, r);
        loop.poll();
        (first_first ? one : two).advance();
        support::run_for(loop, 20ms);
        CHECK(r.times == 0);
        (first_first ? two : one).advance();
        CHECK(support::run_until(loop, [&] { return r.times == 1; }));
    }
}

TEST_CASE_TEMPLATE("a deadline ends the wait for a fence, and what comes later is not heard", Loop, EVERY_LOOP_TYPE) {
    Loop loop;
    const sw_timeline timeline;
    const fence f = timeline.create(1);
    result r;
    const auto deadline = loop.now() + 5ms;
    const probe p = await_fence(loop, f, {.deadline = deadline}, r);
    CHECK(support::run_until(loop, [&] { return r.times == 1; }));
    CHECK(r.error == errc::timed_out);
    CHECK(loop.now() >= deadline);
    timeline.advance();
    support::run_for(loop, 5ms);
    CHECK(r.times == 1);
}

TEST_CASE_TEMPLATE("a stop request of another thread ends the wait for a fence", Loop, EVERY_LOOP_TYPE) {
    Loop loop;
    const sw_timeline timeline;
    const fence f = timeline.create(1);
    std::stop_source stop;
    const std::stop_token token = stop.get_token();
    result r;
    const probe p = await_fence(loop, f, {.stop = token}, r);
    std::thread user{[&] { stop.request_stop(); }};
    CHECK(support::run_until(loop, [&] { return r.times == 1; }));
    CHECK(r.error == errc::cancelled);
    user.join();
}

TEST_CASE_TEMPLATE("a signal, a deadline and a stop request race: one outcome each time", Loop, EVERY_LOOP_TYPE) {
    Loop loop;
    for (int round = 0; round < 100; ++round) {
        sw_timeline timeline;
        const fence f = timeline.create(1);
        std::stop_source stop;
        const std::stop_token token = stop.get_token();
        result r;
        const probe p = await_fence(loop, f, {.deadline = loop.now() + round * 10us, .stop = token}, r);
        std::thread device{[&] { timeline.close(); }};
        std::thread user{[&] { stop.request_stop(); }};
        CHECK(support::run_until(loop, [&] { return r.times > 0; }));
        device.join();
        user.join();
        loop.poll();
        CHECK(r.times == 1);
        CHECK((r.error == errc::cancelled || r.error == errc::timed_out || r.error == system_error(ENOENT)));
    }
}

TEST_CASE_TEMPLATE("very many wait at once, each for its own fence, and each goes on when that ends", Loop,
                   EVERY_LOOP_TYPE) {
    constexpr std::uint32_t waits = 300;
    Loop loop;
    const sw_timeline timeline;
    std::vector<fence> fences;
    std::vector<result> results(waits);
    std::vector<probe> probes;
    for (std::uint32_t i = 0; i < waits; ++i) { fences.push_back(timeline.create(i + 1)); }
    for (std::uint32_t i = 0; i < waits; ++i) { probes.push_back(await_fence(loop, fences[i], {}, results[i])); }
    const auto ended = [&] {
        std::size_t n = 0;
        for (const result& r : results) { n += static_cast<std::size_t>(r.times); }
        return n;
    };
    timeline.advance(waits / 2);
    CHECK(support::run_until(loop, [&] { return ended() == waits / 2; }));
    for (std::uint32_t i = 0; i < waits; ++i) { CHECK(results[i].times == (i < waits / 2 ? 1 : 0)); }
    timeline.advance(waits);
    CHECK(support::run_until(loop, [&] { return ended() == waits; }));
}

TEST_CASE("more fences than fit into a ring end at once, and none is missed") {
    uring_loop loop{{.entries = 2}};
    const sw_timeline timeline;
    const fence f = timeline.create(1);
    std::array<result, 100> results;
    std::vector<probe> probes;
    for (result& r : results) { probes.push_back(await_fence(loop, f, {.deadline = loop.now() + 1h}, r)); }
    timeline.advance();
    const auto all_ended = [&] {
        for (const result& r : results) {
            if (r.times == 0) { return false; }
        }
        return true;
    };
    CHECK(support::run_until(loop, all_ended));
}

TEST_CASE_TEMPLATE("waits that are given up leave no descriptor behind", Loop, EVERY_LOOP_TYPE) {
    Loop loop;
    const std::size_t before = support::count_descriptors();
    {
        const sw_timeline timeline;
        const fence f = timeline.create(1);
        result r;
        probe a = await_fence(loop, f, {}, r);
        probe b = await_fence(loop, f, {.deadline = loop.now() + 1h}, r);
        loop.poll();
        a.destroy();
        b.destroy();
        loop.poll();
        CHECK(r.times == 0);
    }
    CHECK(support::count_descriptors() == before);
}

// ---- threads that depend on each other by fences ----------------------------------------------------------------------

// What they share is plain on purpose: a fence has to order what comes before its end and after the wait.

TEST_CASE_TEMPLATE("threads that take turns by the fences of one timeline see what the one before wrote", Loop,
                   EVERY_LOOP_TYPE) {
    for (const std::uint32_t threads : {2U, 8U}) {
        CAPTURE(threads);
        const std::uint32_t turns = 512 / threads;
        const sw_timeline timeline;
        std::uint32_t counter = 0;
        std::atomic<int> wrong{0};
        const auto take_turns = [&](std::uint32_t own) {
            Loop loop;
            for (std::uint32_t turn = own; turn < turns * threads; turn += threads) {
                wrong += wait_in_some_way(loop, timeline.create(turn), turn / threads) ? 0 : 1;
                wrong += counter == turn ? 0 : 1;
                ++counter;
                timeline.advance();
            }
        };
        {
            std::vector<std::jthread> all;
            for (std::uint32_t i = 0; i < threads; ++i) { all.emplace_back(take_turns, i); }
        }
        CHECK(wrong == 0);
        CHECK(counter == turns * threads);
    }
}

TEST_CASE_TEMPLATE("consumers on many threads see what the producer wrote before their point, each at its own", Loop,
                   EVERY_LOOP_TYPE) {
    constexpr std::uint32_t threads = 8;
    constexpr std::uint32_t points = threads * 32;
    const sw_timeline timeline;
    std::counting_semaphore<> consumed{0};
    std::uint32_t counter = 0;
    std::atomic<int> wrong{0};
    const auto consume = [&](std::uint32_t own) {
        Loop loop;
        for (std::uint32_t point = own; point < points; point += threads) {
            wrong += wait_in_some_way(loop, timeline.create(point), point / threads) ? 0 : 1;
            wrong += counter == point ? 0 : 1; // the producer goes on when this has been seen, not before
            consumed.release();
        }
    };
    {
        std::vector<std::jthread> all;
        for (std::uint32_t i = 0; i < threads; ++i) { all.emplace_back(consume, i); }
        for (std::uint32_t i = 0; i < points; ++i) {
            consumed.acquire();
            ++counter;
            timeline.advance();
        }
    }
    CHECK(wrong == 0);
}

TEST_CASE_TEMPLATE("a consumer that waits for the merged fences of all producers sees the work of each", Loop,
                   EVERY_LOOP_TYPE) {
    constexpr std::uint32_t rounds = 100;
    std::array<sw_timeline, 5> produced;
    const sw_timeline consumed;
    std::array<std::uint32_t, 5> work{};
    std::atomic<int> wrong{0};
    const auto produce = [&](std::size_t own) {
        Loop loop;
        for (std::uint32_t round = 0; round < rounds; ++round) {
            const auto way = static_cast<std::uint32_t>(own) + round;
            wrong += wait_in_some_way(loop, consumed.create(round), way) ? 0 : 1;
            ++work[own];
            produced[own].advance();
        }
    };
    std::vector<std::jthread> all;
    for (std::size_t i = 0; i < produced.size(); ++i) { all.emplace_back(produce, i); }
    Loop loop;
    for (std::uint32_t round = 1; round <= rounds; ++round) {
        fence every = produced[0].create(round);
        for (std::size_t i = 1; i < produced.size(); ++i) { every = merge(produced[i].create(round), every); }
        CHECK(wait_in_some_way(loop, every, round));
        for (const std::uint32_t done : work) { CHECK(done == round); }
        consumed.advance();
    }
    all.clear();
    CHECK(wrong == 0);
}

// ---- work on a buffer ------------------------------------------------------------------------------------------------

TEST_CASE("a reader waits for those that write, a writer for all") {
    const vgem_buffer b;
    CHECK(dma_buf::is_idle(b.fd(), access_mode::read));
    CHECK(dma_buf::is_idle(b.fd(), access_mode::write));
    const std::uint32_t reading = b.attach(access_mode::dma_read);
    CHECK(dma_buf::is_idle(b.fd(), access_mode::read));
    CHECK_FALSE(dma_buf::is_idle(b.fd(), access_mode::write));
    CHECK(b.signal(reading) == 0);
    CHECK(dma_buf::is_idle(b.fd(), access_mode::write));
    const std::uint32_t writing = b.attach(access_mode::dma_write);
    CHECK_FALSE(dma_buf::is_idle(b.fd(), access_mode::dma_read));
    CHECK_FALSE(dma_buf::is_idle(b.fd(), access_mode::dma_write));
    CHECK(b.signal(writing) == 0);
    CHECK(dma_buf::is_idle(b.fd(), access_mode::dma_read));
    CHECK(dma_buf::is_idle(b.fd(), access_mode::dma_write));
}

TEST_CASE("an exported fence is what an access of its kind has to wait for") {
    const vgem_buffer b;
    const std::uint32_t reading = b.attach(access_mode::dma_read);
    CHECK(export_fence(b, access_mode::read).state() == fence_state::signalled);
    const fence for_writer = export_fence(b, access_mode::write);
    CHECK(for_writer.state() == fence_state::pending);
    CHECK(info_of(for_writer).points.at(0).driver == "vgem");
    b.signal(reading);
    CHECK(for_writer.state() == fence_state::signalled);
}

TEST_CASE("exported fences are pending until the work ends: a reader's if something writes, a writer's in any case") {
    const vgem_buffer b;
    for (const access_mode works : {access_mode::dma_read, access_mode::dma_write}) {
        CAPTURE(to_string(works));
        const std::uint32_t work = b.attach(works);
        const fence for_reader = export_fence(b, access_mode::read);
        const fence for_writer = export_fence(b, access_mode::write);
        CHECK((for_reader.state() == fence_state::pending) == is_write(works));
        CHECK(for_writer.state() == fence_state::pending);
        b.signal(work);
        CHECK(for_reader.state() == fence_state::signalled);
        CHECK(for_writer.state() == fence_state::signalled);
    }
}

TEST_CASE(
    "an exported fence stands for all the work that there was when it was exported, and for none that came later") {
    const vgem_buffer b;
    const std::uint32_t first = b.attach(access_mode::dma_read);
    const std::uint32_t second = b.attach(access_mode::dma_read);
    const fence exported = export_fence(b, access_mode::write);
    const std::uint32_t later = b.attach(access_mode::dma_read);
    b.signal(first);
    CHECK(exported.state() == fence_state::pending);
    b.signal(second);
    CHECK(exported.state() == fence_state::signalled);
    CHECK_FALSE(dma_buf::is_idle(b.fd(), access_mode::write));
    b.signal(later);
    CHECK(dma_buf::is_idle(b.fd(), access_mode::write));
}

TEST_CASE("a fence that was exported of an idle buffer has ended, whatever begins later") {
    const vgem_buffer b;
    const fence for_reader = export_fence(b, access_mode::read);
    const fence for_writer = export_fence(b, access_mode::write);
    const std::uint32_t writing = b.attach(access_mode::dma_write);
    CHECK(for_reader.state() == fence_state::signalled);
    CHECK(for_writer.state() == fence_state::signalled);
    CHECK(export_fence(b, access_mode::read).state() == fence_state::pending);
    b.signal(writing);
}

TEST_CASE("an idle buffer exports a fence that has ended") {
    const vgem_buffer b;
    CHECK(export_fence(b, access_mode::read).state() == fence_state::signalled);
    CHECK(export_fence(b, access_mode::write).state() == fence_state::signalled);
    b.signal(b.attach(access_mode::dma_write));
    CHECK(export_fence(b, access_mode::write).state() == fence_state::signalled);
}

TEST_CASE("work that would have to wait for other work is refused by vgem, so tests cannot start it") {
    const vgem_buffer b;
    std::uint32_t work = 0;
    const std::uint32_t reading = b.attach(access_mode::dma_read);
    CHECK(b.attach(access_mode::dma_write, work) == EBUSY);
    const std::uint32_t beside = b.attach(access_mode::dma_read);
    b.signal(reading);
    b.signal(beside);
    const std::uint32_t writing = b.attach(access_mode::dma_write);
    CHECK(b.attach(access_mode::dma_read, work) == EBUSY);
    CHECK(b.attach(access_mode::dma_write, work) == EBUSY);
    b.signal(writing);
    CHECK(b.attach(access_mode::dma_write, work) == 0);
    b.signal(work);
}

TEST_CASE("work is ended once") {
    const vgem_buffer b;
    const std::uint32_t work = b.attach(access_mode::dma_write);
    CHECK(b.signal(work) == 0);
    CHECK(b.signal(work) == ENOENT);
}

TEST_CASE_TEMPLATE("a coroutine waits for the work on a buffer", Loop, EVERY_LOOP_TYPE) {
    Loop loop;
    const vgem_buffer b;
    const std::uint32_t work = b.attach(access_mode::dma_write);
    const fence f = export_fence(b, access_mode::read);
    result r;
    const probe p = await_fence(loop, f, {}, r);
    support::run_for(loop, 5ms);
    CHECK(r.times == 0);
    b.signal(work);
    CHECK(support::run_until(loop, [&] { return r.times == 1; }));
    CHECK_FALSE(r.error);
}

TEST_CASE("work that is never ended expires after ten seconds, without an error") {
    const vgem_buffer b;
    const std::uint32_t work = b.attach(access_mode::dma_write);
    const fence f = export_fence(b, access_mode::read);
    const auto begin = event_loop::clock::now();
    CHECK_FALSE(f.blocking_wait(begin + 20s));
    CHECK(event_loop::clock::now() - begin > 8s);
    CHECK(f.state() == fence_state::signalled);
    CHECK(dma_buf::is_idle(b.fd(), access_mode::write));
    CHECK(b.signal(work) == ETIMEDOUT);
}

// ---- fences that are put on a buffer ---------------------------------------------------------------------------------

TEST_CASE("a fence that is imported as a writer's keeps everything waiting") {
    const vgem_buffer b;
    const sw_timeline timeline;
    import_fence(b.fd(), timeline.create(1), access_mode::dma_write);
    CHECK_FALSE(dma_buf::is_idle(b.fd(), access_mode::read));
    CHECK_FALSE(dma_buf::is_idle(b.fd(), access_mode::write));
    timeline.advance();
    CHECK(dma_buf::is_idle(b.fd(), access_mode::write));
}

TEST_CASE("a fence that is imported as a reader's keeps writers waiting") {
    const vgem_buffer b;
    const sw_timeline timeline;
    import_fence(b.fd(), timeline.create(1), access_mode::dma_read);
    CHECK(dma_buf::is_idle(b.fd(), access_mode::read));
    CHECK_FALSE(dma_buf::is_idle(b.fd(), access_mode::write));
    timeline.advance();
    CHECK(dma_buf::is_idle(b.fd(), access_mode::write));
}

TEST_CASE("the imported fences of many readers keep writers waiting until the last has ended, and readers never") {
    const vgem_buffer b;
    std::array<sw_timeline, 32> readers;
    for (const sw_timeline& r : readers) { import_fence(b.fd(), r.create(1), access_mode::dma_read); }
    const fence for_reader = export_fence(b, access_mode::read);
    const fence for_writer = export_fence(b, access_mode::write);
    for (const sw_timeline& r : readers) {
        CHECK(dma_buf::is_idle(b.fd(), access_mode::read));
        CHECK(for_reader.state() == fence_state::signalled);
        CHECK_FALSE(dma_buf::is_idle(b.fd(), access_mode::write));
        CHECK(for_writer.state() == fence_state::pending);
        r.advance();
    }
    CHECK(dma_buf::is_idle(b.fd(), access_mode::write));
    CHECK(for_writer.state() == fence_state::signalled);
}

TEST_CASE("the imported fence of a writer among those of many readers keeps all waiting until it has ended, too") {
    const vgem_buffer b;
    std::array<sw_timeline, 32> readers;
    const sw_timeline writer;
    for (const sw_timeline& r : readers) { import_fence(b.fd(), r.create(1), access_mode::dma_read); }
    import_fence(b.fd(), writer.create(1), access_mode::dma_write);
    const fence for_reader = export_fence(b, access_mode::read);
    const fence for_writer = export_fence(b, access_mode::write);
    for (const sw_timeline& r : readers) {
        r.advance();
        CHECK_FALSE(dma_buf::is_idle(b.fd(), access_mode::read));
        CHECK(for_reader.state() == fence_state::pending);
        CHECK_FALSE(dma_buf::is_idle(b.fd(), access_mode::write));
        CHECK(for_writer.state() == fence_state::pending);
    }
    writer.advance();
    CHECK(dma_buf::is_idle(b.fd(), access_mode::read));
    CHECK(for_reader.state() == fence_state::signalled);
    CHECK(dma_buf::is_idle(b.fd(), access_mode::write));
    CHECK(for_writer.state() == fence_state::signalled);
}

TEST_CASE("drivers wait for a fence that was imported") {
    const vgem_buffer b;
    const sw_timeline timeline;
    import_fence(b.fd(), timeline.create(1), access_mode::dma_read);
    std::uint32_t work = 0;
    CHECK(b.attach(access_mode::dma_write, work) == EBUSY);
    timeline.advance();
    CHECK(b.attach(access_mode::dma_write, work) == 0);
    b.signal(work);
}

TEST_CASE("a merged fence is imported with all its parts, in addition to those that are there") {
    const vgem_buffer b;
    const sw_timeline one;
    const sw_timeline two;
    const std::uint32_t reading = b.attach(access_mode::dma_read);
    import_fence(b.fd(), merge(one.create(1), two.create(1)), access_mode::dma_write);
    const fence all = export_fence(b, access_mode::write);
    CHECK(info_of(all).points.size() == 3);
    one.advance();
    b.signal(reading);
    CHECK_FALSE(dma_buf::is_idle(b.fd(), access_mode::read));
    two.advance();
    CHECK(dma_buf::is_idle(b.fd(), access_mode::write));
    CHECK(all.state() == fence_state::signalled);
}

TEST_CASE("a fence of a buffer that fails is exported as long as it is pending, and then tells its error") {
    const vgem_buffer b;
    sw_timeline timeline;
    import_fence(b.fd(), timeline.create(1), access_mode::dma_write);
    const fence before = export_fence(b, access_mode::read);
    timeline.close();
    CHECK(before.error() == system_error(ENOENT));
    CHECK(dma_buf::is_idle(b.fd(), access_mode::read));
    CHECK(export_fence(b, access_mode::read).state() == fence_state::signalled); // the kernel has forgotten it
}

TEST_CASE("a descriptor that cannot write is enough to import and export") {
    const vgem_buffer b;
    const unique_fd read_only = b.exported(0);
    const sw_timeline timeline;
    import_fence(read_only.get(), timeline.create(1), access_mode::dma_write);
    std::error_code ec;
    CHECK(dma_buf::export_fence(read_only.get(), access_mode::write, ec).state() == fence_state::pending);
    CHECK_FALSE(ec);
}

TEST_CASE("the kernel takes no flags but those for reading and writing") {
    const vgem_buffer b;
    const sw_timeline timeline;
    const fence f = timeline.create(1);
    for (const std::uint32_t flags : {0U, 4U, 7U}) {
        dma_buf_export_sync_file out{flags, -1};
        CHECK(::ioctl(b.fd(), DMA_BUF_IOCTL_EXPORT_SYNC_FILE, &out) == -1);
        CHECK(errno == EINVAL);
        dma_buf_import_sync_file in{flags, f.fd()};
        CHECK(::ioctl(b.fd(), DMA_BUF_IOCTL_IMPORT_SYNC_FILE, &in) == -1);
        CHECK(errno == EINVAL);
    }
}

TEST_CASE("what is no dma-buf is told so, by the real kernel too") {
    const sw_timeline timeline;
    const fence f = timeline.create(1);
    std::error_code ec;
    CHECK(!dma_buf::export_fence(f.fd(), access_mode::read, ec));
    CHECK(ec == errc::not_a_dma_buf);
    dma_buf::import_fence(f.fd(), f, access_mode::read, ec);
    CHECK(ec == errc::not_a_dma_buf);
    CHECK_FALSE(dma_buf::is_dma_buf(f.fd()));
    CHECK(dma_buf::is_dma_buf(vgem_buffer{}.fd()));
}
