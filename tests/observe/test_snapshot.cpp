// SPDX-License-Identifier: MIT
#include <dmasync/observe/snapshot.hpp>

#include <dmasync/lock.hpp>
#include <dmasync/lock_set.hpp>
#include <dmasync/manual_loop.hpp>
#include <dmasync/transaction.hpp>

#include <doctest/doctest.h>
#include <support/fake_dma_buf.hpp>
#include <support/transaction_user.hpp>
#include <support/waiter.hpp>

#include <array>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <string_view>
#include <system_error>
#include <thread>
#include <utility>
#include <vector>

using namespace dmasync;
using namespace std::chrono_literals;
using support::waiter;

namespace {

void ignore(const lease_report&) {}

struct fixture {
    explicit fixture(deadlock_policy policy = deadlock_policy::wound_wait)
        : media{loop, {.lease = 200ms, .name = "media", .report = ignore, .policy = policy}} {}

    using acquisition = domain_snapshot::acquisition;

    const acquisition& holder(std::size_t b, std::size_t i = 0) {
        return seen.acquisitions.at(seen.buffers.at(b).holders.at(i).acquisition);
    }
    const acquisition& waiter_of(std::size_t b, std::size_t i = 0) {
        return seen.acquisitions.at(seen.buffers.at(b).waiters.at(i).acquisition);
    }
    void look() { seen = media.snapshot(); }

    manual_loop loop;
    domain media;
    domain_snapshot seen;
    std::error_code ec;
};

struct fixture_ab : fixture {
    using fixture::fixture;
    buffer a = media.allocate(4096, "a", {.from = memory_kind::memfd});
    buffer b = media.allocate(4096, "b", {.from = memory_kind::memfd});
};

std::string_view file_of(const call_site& place) {
    const std::string_view path{place.file_name()};
    return path.substr(path.rfind('/') + 1);
}

} // namespace

TEST_CASE("a domain without buffers has nothing to show but its name and counters") {
    fixture f;
    f.look();
    CHECK(f.seen.domain.view() == "media");
    CHECK(f.seen.buffers.empty());
    CHECK(f.seen.acquisitions.empty());
    CHECK(f.seen.counters.locks() == 0);
}

TEST_CASE("an idle buffer shows what it is") {
    fixture f;
    std::array<std::byte, 64> memory{};
    const buffer shared = f.media.allocate(5000, "shared", {.from = memory_kind::memfd});
    const buffer plain = f.media.adopt(memory);
    f.look();
    REQUIRE(f.seen.buffers.size() == 2);
    const domain_snapshot::buffer& s = f.seen.buffers[0];
    CHECK(s.name.view() == "shared");
    CHECK(s.size == 5000);
    CHECK(s.memory == memory_kind::memfd);
    CHECK(s.inode != 0);
    CHECK(!s.last_access);
    CHECK(!s.closed);
    CHECK(s.holders.empty());
    CHECK(s.waiters.empty());
    const domain_snapshot::buffer& p = f.seen.buffers[1];
    CHECK(p.name.empty());
    CHECK(p.memory == memory_kind::plain);
    CHECK(p.inode == reinterpret_cast<std::uintptr_t>(memory.data()));
}

TEST_CASE("a buffer that is gone is not shown") {
    fixture f;
    buffer gone = f.media.allocate(64, "gone");
    const buffer left = f.media.allocate(64, "left");
    gone = {};
    f.look();
    REQUIRE(f.seen.buffers.size() == 1);
    CHECK(f.seen.buffers[0].name.view() == "left");
}

TEST_CASE("a buffer without a handle is shown as long as it is held, and so is a closed one") {
    fixture f;
    buffer orphan = f.media.allocate(64, "orphan");
    buffer closed = f.media.allocate(64, "closed");
    guard held = try_lock(write(orphan), read(closed));
    orphan = {};
    closed.close();
    closed = {};
    f.look();
    REQUIRE(f.seen.buffers.size() == 2);
    CHECK(!f.seen.buffers[0].closed);
    CHECK(f.seen.buffers[1].closed);
    CHECK(f.seen.buffers[1].holders.size() == 1);
    held.unlock();
    f.look();
    CHECK(f.seen.buffers.empty());
}

TEST_CASE("the last access is that of the hold that ended last") {
    fixture_ab f;
    guard writer = try_lock(write(f.a));
    f.look();
    CHECK(!f.seen.buffers[0].last_access);
    writer.unlock();
    f.look();
    CHECK(f.seen.buffers[0].last_access == access_mode::write);
    static_cast<void>(try_lock(dma_read(f.a)));
    CHECK(!try_lock(write(f.a), read(f.a), f.ec)); // refused: it has not been used
    f.look();
    CHECK(f.seen.buffers[0].last_access == access_mode::dma_read);
    CHECK(!f.seen.buffers[1].last_access);
}

TEST_CASE("holders that share a buffer are shown in order of time, with age and what is left of their leases") {
    fixture_ab f;
    const guard first = try_lock(read(f.a), lock_options{.name = "first"});
    f.loop.advance(50ms);
    const guard second = try_lock(dma_read(f.a), read(f.b), lock_options{.lease = no_lease, .name = "second"});
    f.loop.advance(10ms);
    f.look();
    REQUIRE(f.seen.buffers[0].holders.size() == 2);
    CHECK(f.seen.buffers[0].holders[0].mode == access_mode::read);
    CHECK(f.seen.buffers[0].holders[1].mode == access_mode::dma_read);
    const auto& older = f.holder(0, 0);
    CHECK(older.set.view() == "first");
    CHECK(older.state == acquisition_state::held);
    CHECK(older.age == 60ms);
    CHECK(older.lease == 200ms);
    CHECK(older.lease_left == 140ms);
    CHECK(older.waits_for.empty());
    const auto& younger = f.holder(0, 1);
    CHECK(younger.set.view() == "second");
    CHECK(younger.lease == no_lease);
    CHECK(!younger.lease_left);
    CHECK(younger.parts.size() == 2);
    CHECK(&f.holder(1) == &younger);
}

TEST_CASE("waiters are shown in order of age, with what is directly in their way") {
    fixture_ab f;
    const guard held = try_lock(write(f.a), lock_options{.name = "holder"});
    std::array<waiter, 5> w;
    w[0].start({.name = "reader 0"}, read(f.a));
    w[1].start({.name = "writer 1"}, write(f.a));
    f.loop.advance(20ms);
    w[2].start({.name = "reader 2"}, read(f.a));
    w[3].start({.name = "reader 3"}, read(f.a), write(f.b));
    w[4].start({.name = "writer 4"}, write(f.a));
    f.look();
    REQUIRE(f.seen.acquisitions.size() == 6);
    REQUIRE(f.seen.buffers[0].waiters.size() == 5);
    CHECK(f.waiter_of(0, 0).set.view() == "reader 0");
    CHECK(f.waiter_of(0, 4).set.view() == "writer 4");
    CHECK(f.waiter_of(0, 1).state == acquisition_state::waiting);
    CHECK(f.waiter_of(0, 1).age == 20ms);
    CHECK(f.waiter_of(0, 2).age == 0ms);
    CHECK(f.waiter_of(0, 1).ticket.value() + 1 == f.waiter_of(0, 2).ticket.value());
    CHECK(f.seen.acquisitions[0].set.view() == "holder");
    CHECK(f.waiter_of(0, 0).waits_for == std::vector<std::size_t>{0});
    CHECK(f.waiter_of(0, 1).waits_for == std::vector<std::size_t>{0, 1});
    CHECK(f.waiter_of(0, 2).waits_for == std::vector<std::size_t>{2});
    CHECK(f.waiter_of(0, 3).waits_for == std::vector<std::size_t>{2});
    CHECK(f.waiter_of(0, 4).waits_for == std::vector<std::size_t>{3, 4});
    CHECK(&f.waiter_of(1) == &f.waiter_of(0, 3));
    CHECK(f.seen.counters.contended == 5);
}

TEST_CASE("a waiter of several buffers waits for those in its way on any of them, and for none twice") {
    fixture_ab f;
    const guard both = try_lock(read(f.a), read(f.b), lock_options{.name = "both"});
    const guard one = try_lock(read(f.b), lock_options{.name = "one"});
    waiter w;
    w.start({}, write(f.a), write(f.b));
    f.look();
    CHECK(f.waiter_of(0).waits_for == std::vector<std::size_t>{0, 1});
}

TEST_CASE("a hold whose lease has run out is shown as lost until its guard hears of it") {
    fixture_ab f;
    guard late = try_lock(write(f.a), lock_options{.name = "late"});
    waiter w;
    w.start({.name = "next"}, write(f.a));
    f.loop.advance(250ms);
    f.look();
    REQUIRE(f.seen.buffers[0].losers.size() == 1);
    const auto& lost = f.seen.acquisitions[f.seen.buffers[0].losers[0].acquisition];
    CHECK(lost.set.view() == "late");
    CHECK(lost.state == acquisition_state::expired);
    CHECK(!lost.lease_left);
    CHECK(f.holder(0).set.view() == "next");
    CHECK(f.seen.counters.leases_expired == 1);
    late.unlock();
    f.look();
    CHECK(f.seen.buffers[0].losers.empty());
}

TEST_CASE("a lease that is over, and has not been ended yet, has less than nothing left") {
    fixture_ab f;
    const guard late = try_lock(write(f.a));
    f.loop.set(f.loop.now() + 250ms);
    f.look();
    CHECK(f.holder(0).state == acquisition_state::held);
    CHECK(f.holder(0).lease_left == -50ms);
}

TEST_CASE("what a transaction holds and what it waits for have its number") {
    fixture_ab f;
    const guard in_the_way = try_lock(write(f.b), lock_options{.name = "other"});
    support::transaction_user t{f.media, {.name = "grow"}};
    REQUIRE(t.has_locked(write(f.a)));
    t.lock(write(f.b));
    f.look();
    const auto& hold = f.holder(0);
    const auto& part = f.waiter_of(1);
    CHECK(hold.set.view() == "grow");
    CHECK(hold.transaction.has_value());
    CHECK(hold.transaction == part.transaction);
    CHECK(!f.holder(1).transaction);
    CHECK(part.waits_for == std::vector<std::size_t>{f.seen.buffers[1].holders[0].acquisition});
}

TEST_CASE("a transaction that is to give back what it has is shown as wounded") {
    fixture_ab f;
    support::transaction_user older{f.media};
    support::transaction_user younger{f.media};
    REQUIRE(older.has_locked(write(f.a)));
    REQUIRE(younger.has_locked(write(f.b)));
    older.lock(write(f.b));
    f.look();
    CHECK(!f.holder(0).wounded);
    CHECK(f.holder(1).wounded);
    CHECK(f.seen.counters.wounds == 1);
}

TEST_CASE("a transaction that is complete is a hold like any other") {
    fixture_ab f;
    support::transaction_user t{f.media};
    REQUIRE(t.has_locked(write(f.a)));
    const guard done = t.tx.done();
    f.look();
    CHECK(!f.holder(0).transaction);
    CHECK(f.holder(0).state == acquisition_state::held);
}

TEST_CASE("pending fences of a dma-buf are counted, for readers and for writers") {
    fixture f;
    const support::fake_dma_buf camera{4096};
    const buffer b = f.media.import(camera.duplicate(), "camera");
    const support::fake_fence writing = camera.add_fence(access_mode::dma_write);
    const support::fake_fence reading = camera.add_fence(access_mode::dma_read);
    f.look();
    CHECK(f.seen.buffers[0].memory == memory_kind::dma_buf);
    CHECK(f.seen.buffers[0].fences_before_read == 1);
    CHECK(f.seen.buffers[0].fences_before_write == 2);
    writing.signal();
    f.look();
    CHECK(f.seen.buffers[0].fences_before_read == 0);
    CHECK(f.seen.buffers[0].fences_before_write == 1);
}

TEST_CASE("where the kernel exports no fences there is at least one") {
    fixture f;
    const support::fake_dma_buf camera{4096};
    const buffer b = f.media.import(camera.duplicate(), "camera");
    const support::fake_fence one = camera.add_fence(access_mode::dma_write);
    const support::fake_fence two = camera.add_fence(access_mode::dma_read);
    camera.inject(DMA_BUF_IOCTL_EXPORT_SYNC_FILE, ENOTTY, support::always);
    f.look();
    CHECK(f.seen.buffers[0].fences_before_read == 1);
    CHECK(f.seen.buffers[0].fences_before_write == 1);
}

TEST_CASE("a lock that is granted and waits for a device holds its buffers, fenced") {
    fixture f;
    const support::fake_dma_buf camera{4096};
    const buffer b = f.media.import(camera.duplicate(), "camera");
    const support::fake_fence work = camera.add_fence(access_mode::dma_write);
    waiter w;
    w.start({.name = "show"}, read(b));
    f.loop.run_ready();
    f.look();
    CHECK(f.holder(0).state == acquisition_state::fenced);
    CHECK(!f.holder(0).lease_left);
    work.signal();
    f.loop.run_ready();
    f.look();
    CHECK(f.holder(0).state == acquisition_state::held);
}

TEST_CASE("a hold that a device has is lent") {
    fixture_ab f;
    guard held = try_lock(dma_write(f.a));
    held.hand_to_device();
    f.look();
    CHECK(f.holder(0).state == acquisition_state::lent);
    CHECK(f.holder(0).lease_left == 200ms);
}

TEST_CASE("a thread that is blocked is told from a coroutine that waits") {
    fixture_ab f;
    guard held = try_lock(write(f.a));
    std::jthread blocked{[&f] { static_cast<void>(blocking_lock(write(f.a))); }};
    do { f.look(); } while (f.seen.buffers[0].waiters.empty());
    CHECK(f.waiter_of(0).blocks_thread);
    held.unlock();
}

TEST_CASE("the buffers of a set that are released early are not shown as held") {
    fixture_ab f;
    guard held = try_lock(write(f.a), write(f.b));
    held.release(f.a);
    f.look();
    CHECK(f.seen.buffers[0].holders.empty());
    CHECK(f.holder(1).parts.size() == 1);
}

TEST_CASE("a set of ten thousand buffers is shown whole") {
    fixture f;
    constexpr std::size_t count = 10'000;
    std::vector<std::byte> memory(count);
    std::vector<buffer> buffers;
    lock_set all{f.media, "all"};
    for (std::byte& m : memory) {
        buffers.push_back(f.media.adopt({&m, 1}));
        all.add(buffers.back(), access_mode::write);
    }
    const guard held = all.try_lock();
    f.look();
    CHECK(f.seen.buffers.size() == count);
    REQUIRE(f.seen.acquisitions.size() == 1);
    CHECK(f.seen.acquisitions[0].parts.size() == count);
    CHECK(f.seen.buffers.back().holders.size() == 1);
}

TEST_CASE("an acquisition has the place where it was asked for") {
    fixture_ab f;
    unsigned line = 0;
    SUBCASE("try_lock") {
        const guard held = try_lock(write(f.a), read(f.b));
        line = __LINE__ - 1;
        f.look();
    }
    SUBCASE("a coroutine") {
        guard out;
        const auto locks = [](const buffer& b, guard& held) -> probe { held = co_await lock(write(b)); };
        line = __LINE__ - 1;
        const probe p = locks(f.a, out);
        f.look();
    }
    SUBCASE("a lock_set") {
        lock_set set{f.media};
        set.add(f.a, access_mode::write);
        const guard held = set.try_lock();
        line = __LINE__ - 1;
        f.look();
    }
    SUBCASE("a lock_set with options") {
        lock_set set{f.media};
        set.add(f.a, access_mode::write);
        const guard held = set.blocking_lock({.lease = 1s}, f.ec);
        line = __LINE__ - 1;
        f.look();
    }
    SUBCASE("the latest lock of a transaction") {
        transaction t{f.media};
        t.blocking_lock(write(f.b));
        t.blocking_lock(write(f.a));
        line = __LINE__ - 1;
        f.look();
    }
    CHECK(f.holder(0).place.line() == line);
    CHECK(file_of(f.holder(0).place) == "test_snapshot.cpp");
}

TEST_CASE("a waiter, and what it is granted, have the place where it waits") {
    fixture_ab f;
    guard held = try_lock(write(f.a));
    guard out;
    const auto locks = [](const buffer& b, guard& mine) -> probe { mine = co_await lock(write(b)); };
    constexpr unsigned line = __LINE__ - 1;
    const probe p = locks(f.a, out);
    f.look();
    CHECK(f.waiter_of(0).place.line() == line);
    held.unlock();
    f.loop.run_ready();
    f.look();
    CHECK(f.holder(0).place.line() == line);
    guard part = out.split(f.a);
    f.look();
    CHECK(f.holder(0).place.line() == line);
}

TEST_CASE("what was told of CPU access is counted, and what was not") {
    fixture f;
    const support::fake_dma_buf camera{4096};
    const buffer b = f.media.import(camera.duplicate(), "camera");
    for (int i = 0; i < 10; ++i) { static_cast<void>(try_lock(read(b))); }
    static_cast<void>(try_lock(dma_write(b)));
    f.look();
    CHECK(camera.log() == "START(R) END(R)");
    CHECK(f.seen.counters.brackets_told == 2);
    CHECK(f.seen.counters.brackets_saved() == 18);
}

TEST_CASE("a bracket around every hold saves nothing") {
    fixture f;
    const support::fake_dma_buf camera{4096};
    const buffer b = f.media.import(camera.duplicate(), "camera");
    for (int i = 0; i < 3; ++i) {
        static_cast<void>(try_lock(read(b), lock_options{.cpu_access = cpu_access::always}));
    }
    f.look();
    CHECK(f.seen.counters.brackets_told == 6);
    CHECK(f.seen.counters.brackets_saved() == 0);
}

TEST_CASE("looking changes nothing: neither what may go nor what goes away") {
    fixture_ab f;
    guard held = try_lock(write(f.a));
    waiter w;
    w.start({}, write(f.a));
    f.look();
    held.unlock();
    f.look();
    f.loop.run_ready();
    CHECK(w.done());
    w.held.unlock();
    f.a = {};
    f.look();
    CHECK(f.seen.buffers.size() == 1);
}
