// SPDX-License-Identifier: MIT
/// Does the checker of snapshots see what is wrong? Each case forges a snapshot of something that cannot be.
#include <support/snapshot_checker.hpp>

#include <doctest/doctest.h>

#include <cstddef>
#include <string>

using namespace dmasync;
using support::snapshot_checker;

namespace {

using state = acquisition_state;

/// A writer of buffer 0, two readers of buffer 1, and two that wait: one for both buffers, a younger one for the first.
domain_snapshot good() {
    domain_snapshot s;
    s.acquisitions = {
        {.state = state::held, .parts = {{0, access_mode::write}}},
        {.state = state::held, .parts = {{1, access_mode::read}}},
        {.state = state::lent, .parts = {{1, access_mode::dma_read}}},
        {.state = state::waiting,
         .ticket = 7,
         .parts = {{0, access_mode::read}, {1, access_mode::write}},
         .waits_for = {0, 1, 2}},
        {.state = state::waiting, .ticket = 9, .parts = {{0, access_mode::write}}, .waits_for = {0, 3}},
        {.state = state::expired, .parts = {{1, access_mode::write}}},
    };
    s.buffers = {
        {.token = 5,
         .holders = {{0, access_mode::write}},
         .waiters = {{3, access_mode::read}, {4, access_mode::write}}},
        {.token = 8,
         .holders = {{1, access_mode::read}, {2, access_mode::dma_read}},
         .waiters = {{3, access_mode::write}},
         .losers = {{5, access_mode::write}}},
    };
    return s;
}

void refuses(const domain_snapshot& s, const std::string& problem) { CHECK(snapshot_checker::problem(s) == problem); }

} // namespace

TEST_CASE("what can be is not objected to") {
    refuses(good(), "");
    refuses({}, "");
}

TEST_CASE("two writers, or a writer and a reader, are seen") {
    domain_snapshot s = good();
    s.acquisitions[1].parts[0].buffer = 0;
    s.buffers[0].holders.push_back({1, access_mode::read});
    refuses(s, "buffer 0 has a writer that is not alone");
    s = good();
    s.buffers[1].holders[0].mode = access_mode::write;
    refuses(s, "buffer 1 has a writer that is not alone");
}

TEST_CASE("a token that does not fit its holders is seen") {
    domain_snapshot s = good();
    s.buffers[0].token = 4;
    refuses(s, "buffer 0 has a token that does not say whether a writer holds it");
    s = good();
    s.buffers[1].token = 9;
    refuses(s, "buffer 1 has a token that does not say whether a writer holds it");
}

TEST_CASE("a queue that is not in order of age is seen") {
    domain_snapshot s = good();
    s.acquisitions[4].ticket = 6;
    refuses(s, "buffer 0 has a queue that is not in order of age");
    s.acquisitions[4].ticket = 7;
    refuses(s, "buffer 0 has a queue that is not in order of age");
}

TEST_CASE("a wait for a closed buffer is seen") {
    domain_snapshot s = good();
    s.buffers[0].closed = true;
    refuses(s, "buffer 0 is closed, and waited for");
}

TEST_CASE("users that know nothing of it, or are listed twice, are seen") {
    domain_snapshot s = good();
    s.buffers[1].holders[0].acquisition = 0;
    refuses(s, "buffer 1 is held by one that does not hold it");
    s = good();
    s.buffers[1].holders[1] = s.buffers[1].holders[0];
    refuses(s, "buffer 1 is held by one that does not hold it");
    s = good();
    s.buffers[1].holders[0].acquisition = 99;
    refuses(s, "buffer 1 is held by one that does not hold it");
    s = good();
    s.acquisitions[3].state = state::expired;
    refuses(s, "buffer 0 is waited for by one that does not wait for it");
    s = good();
    s.acquisitions[5].state = state::held;
    refuses(s, "buffer 1 was lost by one that did not lose it");
}

TEST_CASE("a set of which a part is missing is seen") {
    domain_snapshot s = good();
    s.buffers[1].waiters.clear();
    refuses(s, "acquisition 3 uses a buffer that does not know of it");
    s = good();
    s.acquisitions[0].parts.push_back({2, access_mode::read});
    refuses(s, "acquisition 0 has a buffer that there is not");
}

TEST_CASE("waits without a reason, or for one that is not in the way, are seen") {
    domain_snapshot s = good();
    s.acquisitions[3].waits_for.clear();
    refuses(s, "acquisition 3 waits for nothing");
    for (const std::size_t wrong : {3U, 4U, 5U, 6U}) { // itself, a younger one, one that lost it, one that there is not
        s = good();
        s.acquisitions[3].waits_for = {wrong};
        refuses(s, "acquisition 3 waits for one that is not in its way");
    }
    s = good();
    s.acquisitions[4].waits_for = {1}; // has another buffer
    refuses(s, "acquisition 4 waits for one that is not in its way");
    s = good();
    s.acquisitions[0].waits_for = {1};
    refuses(s, "acquisition 0 has its set, and waits");
}

TEST_CASE("wounds of what cannot be wounded are seen") {
    domain_snapshot s = good();
    s.acquisitions[0].wounded = true;
    refuses(s, "acquisition 0 is wounded, and no transaction");
    s = good();
    s.acquisitions[4].transaction = 0;
    s.acquisitions[4].wounded = true;
    refuses(s, "acquisition 4 is wounded, and waits");
}

TEST_CASE("transactions that wait for each other are seen") {
    domain_snapshot s = good();
    s.acquisitions[0].transaction = 0;
    s.acquisitions[3].transaction = 0; // it holds what it waits for
    refuses(s, "acquisition 3 waits in a circle");
}

TEST_CASE("a counter that goes back is seen") {
    domain_counters before;
    domain_counters after;
    CHECK(snapshot_checker::has_counted_on(before, after));
    after.retries = 1;
    CHECK(snapshot_checker::has_counted_on(before, after));
    CHECK(!snapshot_checker::has_counted_on(after, before));
}
