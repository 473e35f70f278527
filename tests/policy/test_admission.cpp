// SPDX-License-Identifier: MIT
#include <dmasync/detail/policy/admission.hpp>

#include <doctest/doctest.h>

#include <array>
#include <cstddef>
#include <deque>
#include <limits>
#include <random>
#include <set>
#include <vector>

using namespace dmasync;
using namespace dmasync::detail;

namespace {

constexpr auto r = access_mode::read;
constexpr auto w = access_mode::write;

/// Buffers and claims of a small world, driven by hand.
class world {
public:
    explicit world(std::size_t buffers, std::uint64_t first_ticket = 0) : policy{first_ticket} {
        for (std::size_t i = 0; i < buffers; ++i) { nodes.emplace_back(policy); }
    }

    struct acquisition {
        claim_node node;
        std::array<entry, 4> room;
        std::vector<request> wants;
        enum { absent, waiting, held, gone } state = absent;
    };

    struct wish {
        std::size_t buffer;
        access_mode mode;
    };

    acquisition& make(const std::vector<wish>& wishes) {
        acquisition& a = claims.emplace_back();
        a.node.entries = a.room.data();
        for (entry& e : a.room) { e.claim = &a.node; }
        for (const wish& x : wishes) { a.wants.push_back({&nodes[x.buffer], x.mode}); }
        return a;
    }

    acquisition& arrive(std::vector<wish> wishes) {
        acquisition& a = make(std::move(wishes));
        arrive(a);
        return a;
    }

    void arrive(acquisition& a) {
        const errc why = policy.try_grant(a.node, a.wants);
        if (why == errc::would_block) {
            decisions out;
            admission::name(a.node, a.wants);
            policy.enqueue(a.node, out);
            a.state = acquisition::waiting;
        } else if (why == errc{}) {
            check_overtakes_nobody(a);
            a.state = acquisition::held;
        }
    }

    void leave(acquisition& a) {
        decisions out;
        if (a.state == acquisition::held && admission::release(a.node)) { policy.pass_on(a.node, out); }
        if (a.state == acquisition::waiting) { policy.withdraw(a.node, out); }
        a.state = acquisition::gone;
        settle(out);
    }

    void settle(decisions& out) {
        while (claim_node* n = out.ready.pop_front()) {
            for (acquisition& a : claims) {
                if (&a.node != n) { continue; }
                check_overtakes_nobody(a);
                a.state = acquisition::held;
            }
        }
    }

    static bool conflict(const acquisition& a, const acquisition& b) {
        for (const request& x : a.wants) {
            for (const request& y : b.wants) {
                if (x.buffer == y.buffer && dmasync::conflict(x.mode, y.mode)) { return true; }
            }
        }
        return false;
    }

    void check_overtakes_nobody(const acquisition& a) {
        for (const acquisition& b : claims) {
            if (&a == &b || b.state != acquisition::waiting || !conflict(a, b)) { continue; }
            const bool older_waits = a.state == acquisition::absent || older(b.node.ticket, a.node.ticket);
            if (older_waits) { ++overtaken; }
        }
    }

    /// S1, and that nothing waits that could go.
    void check_invariants() {
        for (const acquisition& a : claims) {
            bool obstacle = false;
            for (const acquisition& b : claims) {
                if (&a == &b || !conflict(a, b)) { continue; }
                if (a.state == acquisition::held && b.state == acquisition::held) { ++shared_by_conflicting; }
                obstacle |= b.state == acquisition::held ||
                            (b.state == acquisition::waiting && older(b.node.ticket, a.node.ticket));
            }
            if (a.state == acquisition::waiting && !obstacle) { ++waits_for_nothing; }
        }
    }

    admission policy;
    std::deque<buffer_node> nodes;
    std::deque<acquisition> claims;
    int overtaken = 0;
    int shared_by_conflicting = 0;
    int waits_for_nothing = 0;
};

using acquisition = world::acquisition;

} // namespace

TEST_CASE("readers share a buffer, a writer is alone") {
    world x{1};
    CHECK(x.arrive({{0, r}}).state == acquisition::held);
    CHECK(x.arrive({{0, access_mode::dma_read}}).state == acquisition::held);
    CHECK(x.arrive({{0, w}}).state == acquisition::waiting);
}

TEST_CASE("a set is granted whole or not at all") {
    world x{2};
    acquisition& first = x.arrive({{1, w}});
    acquisition& both = x.arrive({{0, w}, {1, w}});
    CHECK(both.state == acquisition::waiting);
    CHECK(x.nodes[0].state == buffer_node::waiting_writer);
    x.leave(first);
    CHECK(both.state == acquisition::held);
    CHECK(x.nodes[0].state == buffer_node::writer);
}

TEST_CASE("a newcomer does not overtake a conflicting waiter of a set, though its own buffer is free") {
    world x{2};
    acquisition& first = x.arrive({{1, w}});
    acquisition& both = x.arrive({{0, w}, {1, w}});
    acquisition& newcomer = x.arrive({{0, w}});
    CHECK(newcomer.state == acquisition::waiting);
    x.leave(first);
    CHECK(both.state == acquisition::held);
    CHECK(newcomer.state == acquisition::waiting);
}

TEST_CASE("an older writer is not overtaken by younger readers") {
    world x{1};
    acquisition& reader = x.arrive({{0, r}});
    acquisition& writer = x.arrive({{0, w}});
    acquisition& late = x.arrive({{0, r}});
    CHECK(late.state == acquisition::waiting);
    x.leave(reader);
    CHECK(writer.state == acquisition::held);
    x.leave(writer);
    CHECK(late.state == acquisition::held);
}

TEST_CASE("a waiting writer that gives up lets the readers behind it go") {
    world x{1};
    x.arrive({{0, r}});
    acquisition& writer = x.arrive({{0, w}});
    acquisition& reader = x.arrive({{0, r}});
    x.leave(writer);
    CHECK(reader.state == acquisition::held);
}

TEST_CASE("while a writer holds, those that wait are not even looked at when another one gives up") {
    world x{1};
    acquisition& holder = x.arrive({{0, w}});
    acquisition& reader = x.arrive({{0, r}});
    acquisition& writer = x.arrive({{0, w}});
    reader.node.size = 0; // a look would see it wait for nothing
    x.leave(writer);
    CHECK(reader.state == acquisition::waiting);
    reader.node.size = 1;
    x.leave(holder);
    CHECK(reader.state == acquisition::held);
}

TEST_CASE("waiters are granted by ticket when the counter wraps") {
    world x{1, std::numeric_limits<std::uint64_t>::max()};
    acquisition& holder = x.arrive({{0, w}});
    acquisition& first = x.arrive({{0, w}});
    acquisition& second = x.arrive({{0, w}});
    CHECK(first.node.ticket > second.node.ticket);
    x.leave(holder);
    CHECK(first.state == acquisition::held);
    CHECK(second.state == acquisition::waiting);
}

TEST_CASE("a set is refused for a fault of any of its buffers, and nothing of it stays marked") {
    world x{3};
    world other{1};
    acquisition& a = x.make({{0, w}, {1, r}});
    errc expected{};
    SUBCASE("no buffer at all") {
        a.wants.clear();
        expected = errc::empty_set;
    }
    SUBCASE("the same writer twice") {
        a.wants.push_back(a.wants[0]);
        expected = errc::duplicate_buffer;
    }
    SUBCASE("the same reader twice") {
        a.wants.push_back(a.wants[1]);
        expected = errc::duplicate_buffer;
    }
    SUBCASE("a buffer of another domain") {
        a.wants.push_back({&other.nodes[0], r});
        expected = errc::wrong_domain;
    }
    SUBCASE("an empty handle") {
        a.wants.push_back({nullptr, r});
        expected = errc::wrong_domain;
    }
    SUBCASE("a closed buffer") {
        x.nodes[1].state |= buffer_node::closed;
        expected = errc::closed;
    }
    SUBCASE("a duplicate behind a buffer that is taken") {
        x.arrive({{0, w}});
        a.wants.push_back(a.wants[1]);
        expected = errc::duplicate_buffer;
    }
    const std::uint32_t before = x.nodes[0].state;
    CHECK(x.policy.try_grant(a.node, a.wants) == expected);
    CHECK(x.nodes[0].state == before);
    CHECK((x.nodes[1].state & buffer_node::held) == 0);
}

TEST_CASE("a token grows with every grant that conflicts with an earlier one, and not with readers that share") {
    world x{1};
    std::vector<std::uint64_t> tokens;
    const auto grant = [&](access_mode mode) {
        acquisition& a = x.arrive({{0, mode}});
        tokens.push_back(x.nodes[0].token());
        x.leave(a);
    };
    grant(w);
    grant(w);
    grant(r);
    grant(r);
    grant(w);
    CHECK(tokens[0] < tokens[1]);
    CHECK(tokens[1] < tokens[2]);
    CHECK(tokens[2] == tokens[3]);
    CHECK(tokens[3] < tokens[4]);
}

TEST_CASE("a revoked hold keeps its old token, and the buffer's has grown") {
    world x{1};
    for (const access_mode mode : {r, w}) {
        acquisition& a = x.arrive({{0, mode}});
        decisions out;
        x.policy.revoke(a.node, out);
        a.state = acquisition::gone;
        CHECK(a.room[0].token < x.nodes[0].token());
        CHECK(x.nodes[0].state == 0);
    }
}

TEST_CASE("a downgraded writer lets waiting readers in, but not past an older writer") {
    world x{1};
    acquisition& holder = x.arrive({{0, w}});
    acquisition& reader = x.arrive({{0, r}});
    acquisition& writer = x.arrive({{0, w}});
    acquisition& late = x.arrive({{0, r}});
    decisions out;
    x.policy.downgrade(holder.room[0], out);
    x.settle(out);
    CHECK(reader.state == acquisition::held);
    CHECK(writer.state == acquisition::waiting);
    CHECK(late.state == acquisition::waiting);
}

TEST_CASE("one buffer of a set can be released before the others") {
    world x{2};
    acquisition& holder = x.arrive({{0, w}, {1, w}});
    acquisition& a = x.arrive({{0, w}});
    acquisition& b = x.arrive({{1, w}});
    decisions out;
    x.policy.release(holder.room[0], out);
    x.settle(out);
    CHECK(a.state == acquisition::held);
    CHECK(b.state == acquisition::waiting);
    x.leave(holder);
    CHECK(b.state == acquisition::held);
}

namespace {

/// Every way in which claims can arrive (in order), be released and give up, for one table of wishes.
/// What the policy does next depends only on which claim is where, so each such state is visited once.
struct explorer {
    std::vector<std::vector<world::wish>> table;
    std::size_t buffers;
    std::set<std::vector<int>> seen;
    long states = 0;
    int faults = 0;

    void explore() { visit({}); }

    void visit(const std::vector<std::size_t>& path) {
        world x{buffers};
        for (const auto& wishes : table) { x.make(wishes); }
        for (const std::size_t step : path) { take(x, step); }
        x.check_invariants();
        faults += x.overtaken + x.shared_by_conflicting + x.waits_for_nothing;
        if (!seen.insert(status(x)).second) { return; }
        ++states;
        bool all_gone = true;
        for (std::size_t i = 0; i < x.claims.size(); ++i) {
            if (x.claims[i].state == acquisition::gone) { continue; }
            all_gone = false;
            const bool in_turn = i == 0 || x.claims[i - 1].state != acquisition::absent;
            if (x.claims[i].state == acquisition::absent && !in_turn) { continue; }
            std::vector<std::size_t> longer = path;
            longer.push_back(i);
            visit(longer);
        }
        if (all_gone) {
            for (const buffer_node& b : x.nodes) { faults += b.state != 0 || b.waiters != 0; }
        }
    }

    static void take(world& x, std::size_t i) {
        acquisition& a = x.claims[i];
        if (a.state == acquisition::absent) {
            x.arrive(a);
        } else {
            x.leave(a);
        }
    }

    static std::vector<int> status(const world& x) {
        std::vector<int> s;
        for (const acquisition& a : x.claims) { s.push_back(a.state); }
        return s;
    }
};

/// The table with a number: for every claim one of the non-empty choices of nothing, read or write for each buffer.
std::vector<std::vector<world::wish>> table_of(std::size_t number, std::size_t claims, std::size_t buffers) {
    std::size_t choices = 1;
    for (std::size_t i = 0; i < buffers; ++i) { choices *= 3; }
    std::vector<std::vector<world::wish>> table;
    for (std::size_t c = 0; c < claims; ++c) {
        std::size_t choice = number % (choices - 1) + 1;
        number /= choices - 1;
        std::vector<world::wish> wishes;
        for (std::size_t b = 0; b < buffers; ++b, choice /= 3) {
            if (choice % 3 != 0) { wishes.push_back({b, choice % 3 == 1 ? r : w}); }
        }
        table.push_back(wishes);
    }
    return table;
}

void explore_all(std::size_t claims, std::size_t buffers, std::size_t tables) {
    long states = 0;
    int faults = 0;
    for (std::size_t n = 0; n < tables; ++n) {
        explorer e{table_of(n, claims, buffers), buffers, {}};
        e.explore();
        states += e.states;
        faults += e.faults;
    }
    INFO("states visited: ", states);
    CHECK(faults == 0);
    CHECK(states > static_cast<long>(tables));
}

} // namespace

TEST_CASE(
    "in every state of every table of 4 sets over 2 buffers: exclusion, no overtaking, nothing waits for nothing") {
    explore_all(4, 2, std::size_t{8} * 8 * 8 * 8);
}

TEST_CASE(
    "in every state of every table of 3 sets over 3 buffers: exclusion, no overtaking, nothing waits for nothing") {
    explore_all(3, 3, std::size_t{26} * 26 * 26);
}

TEST_CASE("random sets over many buffers drain, and none is overtaken") {
    const unsigned seed = 20130613;
    INFO("seed ", seed);
    std::mt19937 random{seed};
    world x{6};
    std::deque<acquisition*> live;
    for (int step = 0; step < 3000; ++step) {
        if (live.size() < 12 && random() % 2 == 0) {
            std::vector<world::wish> wishes;
            for (std::size_t b = random() % 6; b < 6 && wishes.size() < 4; b += 1 + random() % 3) {
                wishes.push_back({b, random() % 2 == 0 ? r : w});
            }
            live.push_back(&x.arrive(wishes));
        } else if (!live.empty()) {
            const auto victim = live.begin() + static_cast<std::ptrdiff_t>(random() % live.size());
            x.leave(**victim);
            live.erase(victim);
        }
    }
    while (!live.empty()) {
        x.leave(*live.front());
        live.pop_front();
    }
    CHECK(x.overtaken == 0);
    for (const buffer_node& b : x.nodes) { CHECK(b.state == 0); }
}
