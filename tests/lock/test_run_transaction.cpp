// SPDX-License-Identifier: MIT
#include <dmasync/domain.hpp>
#include <dmasync/lock.hpp>
#include <dmasync/manual_loop.hpp>
#include <dmasync/run_transaction.hpp>
#include <dmasync/task.hpp>
#include <dmasync/wait.hpp>
#include <dmasync/when_all.hpp>

#include <doctest/doctest.h>

#include <algorithm>
#include <array>
#include <chrono>
#include <cstddef>
#include <functional>
#include <memory>
#include <stdexcept>
#include <stop_token>
#include <system_error>
#include <utility>
#include <vector>

using namespace dmasync;
using namespace std::chrono_literals;

namespace {

struct fixture {
    manual_loop loop;
    domain media{loop, {.lease = 1s, .report = {}}};
    buffer a = media.allocate(64);
    buffer b = media.allocate(64);

    [[nodiscard]] bool is_free(const buffer& which) const {
        std::error_code ec;
        return static_cast<bool>(try_lock(write(which), ec));
    }
};

/// What a body has seen.
struct diary {
    int attempts = 0;
    int through = 0;
};

/// Locks one buffer, is busy, then locks the other. Error codes all the way: it works without exceptions.
task<guard> two_in_turn(transaction& tx, const buffer& first, const buffer& second, event_loop& loop, diary& d) {
    std::error_code ec;
    ++d.attempts;
    co_await tx.lock(write(first), ec);
    if (ec) { co_return guard{}; }
    co_await sleep_for(loop, 1ms);
    co_await tx.lock(write(second), ec);
    if (ec) { co_return guard{}; }
    ++d.through;
    co_return tx.done(ec);
}

task<> hold_for_a_while(domain& media, const buffer& first, const buffer& second, diary& d) {
    guard held = co_await run_transaction(media, two_in_turn, first, second, std::ref(media.loop()), std::ref(d));
    CHECK(held);
    CHECK(held.token(first) % 2 == 1);
    co_await sleep_for(media.loop(), 1ms);
}

task<> both_ways(fixture& f, diary& one, diary& other) {
    co_await when_all(hold_for_a_while(f.media, f.a, f.b, one), hold_for_a_while(f.media, f.b, f.a, other));
}

} // namespace

TEST_CASE("transactions that lock in opposite orders both get through; one of them twice begun") {
    fixture f;
    diary one;
    diary other;
    f.loop.run(both_ways(f, one, other));
    CHECK(one.through == 1);
    CHECK(other.through == 1);
    CHECK(one.attempts + other.attempts == 3);
    CHECK(f.media.counters().wounds == 1);
    CHECK(f.media.counters().retries == 1);
    CHECK(f.is_free(f.a));
    CHECK(f.is_free(f.b));
}

namespace {

task<int> sum(transaction& tx, const buffer& a, int x) {
    std::error_code ec;
    co_await tx.lock(read(a), ec);
    co_return x + static_cast<int>(tx.bytes(a, ec).size());
}

task<> nothing(transaction&) { co_return; }

task<std::unique_ptr<int>> move_only(transaction&) { co_return std::make_unique<int>(7); }

task<> results(fixture& f) {
    const int s = co_await run_transaction(f.media, sum, f.a, 2);
    CHECK(s == 66);
    co_await run_transaction(f.media, nothing);
    const std::unique_ptr<int> p = co_await run_transaction(f.media, move_only);
    CHECK(*p == 7);
}

} // namespace

TEST_CASE("a transaction gives what its body gives, and gives back what the body did not complete") {
    fixture f;
    f.loop.run(results(f));
    CHECK(f.is_free(f.a));
}

TEST_CASE("a temporary body with captures does not compile, for it would not live through the co_await") {
    const auto body = [](transaction&) -> task<> { co_return; };
    CHECK(transaction_body<decltype(body)>);
    CHECK_FALSE(transaction_body<int (*)(transaction&)>); // no task
    CHECK_FALSE(transaction_body<decltype(body), int>);   // not called with that
}

namespace {

task<guard> one_write(transaction& tx, const buffer& a) {
    std::error_code ec;
    co_await tx.lock(write(a), ec);
    if (ec) { co_return guard{}; }
    co_return tx.done(ec);
}

task<> with_options(fixture& f, guard& out, std::error_code& ec) {
    out = co_await run_transaction(f.media, lock_options{.lease = 30ms, .name = "compose"}, ec, one_write, f.a);
}

} // namespace

TEST_CASE("options hold for every lock of the transaction") {
    fixture f;
    guard held;
    std::error_code ec = errc::closed;
    f.loop.run(with_options(f, held, ec));
    CHECK_FALSE(ec);
    CHECK(held.expires_at() == f.loop.now() + 30ms);
}

namespace {

/// An older transaction has `b`, and wants `a` once the other one waits.
task<guard> rival(transaction& tx, fixture& f) {
    std::error_code ec;
    co_await tx.lock(write(f.b), ec);
    co_await sleep_for(f.loop, 5ms);
    co_await tx.lock(write(f.a), ec);
    co_return tx.done(ec);
}

task<> hold_for_long(fixture& f) {
    const guard held = co_await run_transaction(f.media, rival, std::ref(f));
    CHECK(held);
    co_await sleep_for(f.loop, 100ms);
}

task<> late(fixture& f, std::error_code& ec, diary& d) {
    co_await sleep_for(f.loop, 1ms);
    const guard held = co_await run_transaction(f.media, lock_options{.deadline = f.loop.now() + 50ms}, ec, two_in_turn,
                                                f.a, f.b, std::ref(f.loop), std::ref(d));
    CHECK_FALSE(held);
}

task<> rivals(fixture& f, std::error_code& ec, diary& d) { co_await when_all(hold_for_long(f), late(f, ec, d)); }

} // namespace

TEST_CASE("a deadline that passes before the next attempt ends the transaction, with an empty result") {
    fixture f;
    std::error_code ec;
    diary d;
    f.loop.run(rivals(f, ec, d));
    CHECK(ec == errc::timed_out);
    CHECK(d.attempts == 1);
    CHECK(d.through == 0);
    CHECK(f.is_free(f.a));
}

#if defined(__cpp_exceptions)

namespace {

/// The same in the throwing form; counts the destructors that run as it is left.
struct tally {
    explicit tally(int& c) noexcept : count{c} {}
    tally(const tally&) = delete;
    tally& operator=(const tally&) = delete;
    ~tally() { ++count; }
    int& count;
};

task<guard> throwing(transaction& tx, const buffer& first, const buffer& second, event_loop& loop, int& left) {
    const tally leaving{left};
    co_await tx.lock(write(first));
    co_await sleep_for(loop, 1ms);
    co_await tx.lock(write(second));
    co_return tx.done();
}

task<> hold_throwing(domain& media, const buffer& first, const buffer& second, int& left) {
    const guard held = co_await run_transaction(media, throwing, first, second, std::ref(media.loop()), std::ref(left));
    CHECK(held);
}

task<> both_ways_throwing(fixture& f, int& left) {
    co_await when_all(hold_throwing(f.media, f.a, f.b, left), hold_throwing(f.media, f.b, f.a, left));
}

} // namespace

TEST_CASE("a wound leaves the body as an exception, which unwinds it, and is not seen outside") {
    fixture f;
    int left = 0;
    f.loop.run(both_ways_throwing(f, left));
    CHECK(left == 3);
}

namespace {

task<> fails(transaction& tx, const buffer& a) {
    co_await tx.lock(write(a));
    throw std::runtime_error{"of the user"};
}

task<> run_fails(fixture& f) { co_await run_transaction(f.media, fails, f.a); }

task<> closes(transaction& tx, const buffer& a) {
    a.close();
    co_await tx.lock(write(a));
}

task<> run_closes(fixture& f) { co_await run_transaction(f.media, closes, f.a); }

} // namespace

TEST_CASE("an exception of the body, or an error of a lock that is no wound, ends the transaction and is passed on") {
    fixture f;
    CHECK_THROWS_AS(f.loop.run(run_fails(f)), std::runtime_error);
    CHECK(f.is_free(f.a));
    CHECK_THROWS_AS(f.loop.run(run_closes(f)), std::system_error);
    CHECK(f.media.counters().retries == 0);
}

#endif

namespace {

/// Takes all buffers, one after the other, in an order of its own.
task<guard> all_of(transaction& tx, std::vector<buffer>& order, event_loop& loop) {
    std::error_code ec;
    for (const buffer& b : order) {
        co_await tx.lock(write(b), ec);
        if (ec) { co_return guard{}; }
        co_await sleep_for(loop, 1us);
    }
    co_return tx.done(ec);
}

task<> one_of_many(domain& media, std::vector<buffer> order, std::size_t turn, int& through) {
    std::rotate(order.begin(), order.begin() + static_cast<std::ptrdiff_t>(turn % order.size()), order.end());
    if (turn % 3 == 0) { std::reverse(order.begin(), order.end()); }
    const guard held = co_await run_transaction(media, all_of, std::ref(order), std::ref(media.loop()));
    through += held ? 1 : 0;
}

template <std::size_t... Turns>
task<> crowd(domain& media, std::vector<buffer>& buffers, int& through, std::index_sequence<Turns...>) {
    co_await when_all(one_of_many(media, buffers, Turns, through)...);
}

} // namespace

TEST_CASE("forty transactions over the same eight buffers, in eight orders, get through under either policy") {
    for (const deadlock_policy policy : {deadlock_policy::wound_wait, deadlock_policy::wait_die}) {
        manual_loop loop;
        domain media{loop, {.policy = policy}};
        std::vector<buffer> buffers;
        for (int i = 0; i < 8; ++i) { buffers.push_back(media.allocate(64)); }
        int through = 0;
        loop.run(crowd(media, buffers, through, std::make_index_sequence<40>{}));
        CHECK(through == 40);
        CHECK(media.counters().leases_expired == 0);
        CHECK(media.counters().retries > 0);
        CHECK((policy == deadlock_policy::wait_die) == (media.counters().deaths > 0));
        CHECK((policy == deadlock_policy::wound_wait) == (media.counters().wounds > 0));
    }
}
