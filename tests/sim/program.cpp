// SPDX-License-Identifier: MIT
#include <sim/program.hpp>
#include <sim/random.hpp>

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstdio>
#include <iterator>

namespace sim {

namespace {

constexpr std::int64_t ms = 1'000'000;

/// Makes the operations of one program.
class author {
public:
    explicit author(std::uint64_t seed) : random_{seed * 2 + 1} { p_.seed = seed; }

    program write() {
        set_the_scene();
        const std::uint32_t count = 20 + random_.below(random_.percent(40) ? 240 : 80);
        while (p_.operations.size() < count) { p_.operations.push_back(make()); }
        if (closes_domain_) {
            operation end;
            end.what = verb::close_domain;
            p_.operations[p_.operations.size() - 1 - random_.below(count / 3)] = end;
        }
        if (p_.loops > 1 && random_.percent(15)) { p_.closed = p_.loops - 1; }
        return std::move(p_);
    }

private:
    void set_the_scene() {
        p_.threads = 1 + static_cast<int>(random_.below(most_threads));
        p_.loops = 1 + static_cast<int>(random_.below(static_cast<std::uint32_t>(p_.threads)));
        p_.buffers = 2 + static_cast<int>(random_.below(most_buffers - 1));
        p_.dma_bufs = random_.percent(50) ? static_cast<unsigned>(random_.next() & 0x3fU) : 0U;
        p_.lease = 20 * ms + random_.below(80) * ms;
        p_.overdue_limit = random_.percent(80) ? 200 * ms : INT64_MAX;
        p_.first_ticket = random_.percent(50) ? 0 - std::uint64_t{random_.below(8)} : 0;
        constexpr std::array<std::uint32_t, 6> periods{1, 2, 4, 10, 40, 400};
        p_.period = periods.at(random_.below(periods.size()));
        p_.ends_by_leases = random_.percent(30);
        if (p_.loops > 1 && random_.percent(40)) { p_.stalled = random_.percent(70) ? 1U : 2U; }
        writes_ = 20 + random_.below(70);
        crowd_ = random_.below(3);
        closes_domain_ = random_.percent(10);
        transacts_ = random_.percent(75);
        p_.wait_die = random_.percent(40);
        set_domain_options();
    }

    void set_domain_options() {
        p_.stuck_after = random_.percent(50) ? ms * (1 + random_.below(60)) : 0;
        p_.reports_stuck = random_.percent(75);
        p_.reports_leases = random_.percent(90);
        constexpr std::array<std::size_t, 4> reserves{0, 1, 8, 64};
        p_.reserve = reserves.at(random_.below(reserves.size()));
        p_.single_threaded = p_.threads == 1 && random_.percent(40);
    }

    operation make() {
        operation o;
        o.thread = static_cast<std::int8_t>(random_.below(static_cast<std::uint32_t>(p_.threads)));
        o.in_turn = o.thread < p_.loops && random_.percent(25);
        const std::uint32_t dice = random_.below(100);
        if (dice < 30) { return ask(o); }
        if (dice < 72) { return act(o); }
        return change_world(o);
    }

    operation ask(operation o) {
        const std::uint32_t dice = random_.below(100);
        o.what = dice < 35 ? verb::lock : dice < 50 ? verb::lock_set : dice < 60 ? verb::try_lock : verb::transact;
        if (!transacts_ && o.what == verb::transact) { o.what = verb::lock; }
        if (o.thread >= p_.loops && random_.percent(50)) { o.what = verb::block; }
        if (o.what != verb::lock_set || !random_.percent(3)) { add_wishes(o); } // else an empty set
        o.on = random_.percent(50) ? std::int8_t{nothing}
                                   : static_cast<std::int8_t>(random_.below(static_cast<std::uint32_t>(p_.loops)));
        o.blocks = o.what == verb::transact && o.thread >= p_.loops && random_.percent(50);
        o.pauses = random_.percent(60);
        o.pairs = random_.percent(25);
        o.runs = random_.percent(50);
        o.amount = static_cast<std::int64_t>(random_.below(1U << 16U)); // what a transaction does in between
        o.tries = o.amount >> 14 == 3;                                  // two bits that are not looked at in between
        o.always = random_.percent(15);
        o.ignore = random_.percent(15);
        o.stoppable = random_.percent(40);
        o.quick = random_.percent(25);
        o.lease = random_.percent(60) ? 0 : random_.percent(10) ? -1 : ms * (1 + random_.below(60));
        if (random_.percent(2)) { o.lease = -2; } // an invalid one
        o.deadline = random_.percent(70) ? 0 : ms * random_.below(80);
        o.fence_timeout = random_.percent(75) ? 0 : random_.percent(20) ? -1 : ms * (1 + random_.below(60));
        o.by_set = o.what == verb::lock_set && random_.percent(40);
        return o;
    }

    void add_wishes(operation& o) {
        const std::uint32_t most = o.what == verb::transact ? 6 : 4;
        const std::uint32_t wanted = 1 + (crowd_ == 0 ? 0 : random_.below(most));
        const auto buffers = static_cast<std::uint32_t>(p_.buffers);
        for (std::uint32_t i = 0; i < wanted; ++i) {
            const auto b = static_cast<std::int8_t>(random_.below(buffers));
            const bool twice =
                std::any_of(o.wishes.begin(), o.wishes.begin() + o.size, [b](const wish& w) { return w.buffer == b; });
            if (twice && !random_.percent(3)) { continue; }
            o.wishes.at(static_cast<std::size_t>(o.size++)) = {b, random_mode(b)};
        }
    }

    dmasync::access_mode random_mode(int buffer) {
        using enum dmasync::access_mode;
        constexpr std::array readers{read, dma_read};
        constexpr std::array writers{write, read_write, dma_write, dma_read_write};
        const bool dma = random_.percent((p_.dma_bufs >> static_cast<unsigned>(buffer) & 1U) != 0 ? 50 : 10);
        if (!random_.percent(writes_)) { return readers.at(dma ? 1 : 0); }
        return writers.at((dma ? 2U : 0U) + random_.below(2));
    }

    operation act(operation o) {
        o.target = recent([](const operation& x) { return is_acquisition(x.what); });
        if (o.target == nothing) { return ask(o); }
        const operation& of = p_.operations[static_cast<std::size_t>(o.target)];
        o.buffer = of.wishes.at(random_.below(static_cast<std::uint32_t>(of.size))).buffer;
        constexpr std::array<verb, 30> verbs{
            verb::unlock,     verb::unlock,         verb::unlock,       verb::unlock,     verb::unlock,
            verb::unlock,     verb::unlock,         verb::unlock,       verb::release,    verb::release,
            verb::upgrade,    verb::upgrade,        verb::downgrade,    verb::downgrade,  verb::split,
            verb::renew,      verb::renew,          verb::use,          verb::use,        verb::look_at_token,
            verb::watch_stop, verb::hand_to_device, verb::release_on,   verb::release_on, verb::release_part_on,
            verb::publish,    verb::request_stop,   verb::request_stop, verb::destroy,    verb::destroy};
        o.what = verbs.at(random_.below(verbs.size()));
        if (o.what == verb::destroy) {
            o.thread = of.on == nothing ? std::int8_t{0} : of.on;
            o.in_turn = random_.percent(30);
        }
        o.amount = random_.percent(5) ? -1 : ms * (1 + random_.below(100));
        return o;
    }

    operation change_world(operation o) {
        o.buffer = static_cast<std::int8_t>(random_.below(static_cast<std::uint32_t>(p_.buffers)));
        const std::uint32_t dice = random_.below(100);
        if (dice < 25) {
            o.what = verb::pass_time;
            o.amount = random_.percent(15) ? ms * random_.below(400) : ms * random_.below(25);
        } else if (dice < 60) {
            o.what = verb::poll;
            o.in_turn = false;
        } else if (dice < 70) {
            o.what = verb::begin_work;
            o.amount = random_.below(2);
        } else if (dice < 88) {
            return end_work(o);
        } else if (dice < 93) {
            return inject(o);
        } else if (dice < 95) {
            o.what = verb::close_buffer;
        } else {
            o.what = random_.percent(50) ? verb::drop_buffer : verb::import_again;
        }
        return o;
    }

    operation end_work(operation o) {
        o.what = verb::end_work;
        o.target = recent([](const operation& x) {
            return x.what == verb::begin_work || x.what == verb::release_on || x.what == verb::release_part_on ||
                   x.what == verb::publish;
        });
        o.error = random_.percent(20) ? EIO : 0;
        return o;
    }

    operation inject(operation o) {
        o.what = verb::inject;
        constexpr std::array errors{EINTR, ENOMEM, ENOTTY};
        o.error = errors.at(random_.below(errors.size()));
        o.amount = random_.below(3);
        return o;
    }

    /// The place of a late operation of this kind: old ones are over, most of the time.
    template <class Is>
    int recent(Is is) {
        int skip = static_cast<int>(random_.below(8));
        int found = nothing;
        for (int i = static_cast<int>(p_.operations.size()) - 1; i >= 0; --i) {
            if (!is(p_.operations[static_cast<std::size_t>(i)])) { continue; }
            found = i;
            if (skip-- == 0) { break; }
        }
        return found;
    }

    program p_;
    random_numbers random_;
    std::uint32_t writes_ = 50;
    std::uint32_t crowd_ = 1;
    bool closes_domain_ = false;
    bool transacts_ = false;
};

std::string buffer_name(const program& p, int b) {
    return (((p.dma_bufs >> static_cast<unsigned>(b)) & 1U) != 0 ? "dma-buf " : "buffer ") +
           std::string(1, static_cast<char>('a' + b));
}

std::string in_ms(std::int64_t ns) { return std::to_string(ns / ms) + " ms"; }

std::string request_in_words(const program& p, const operation& o) {
    std::string s;
    for (int i = 0; i < o.size; ++i) {
        const wish& w = o.wishes.at(static_cast<std::size_t>(i));
        s += (i == 0 ? " " : ", ") + std::string{to_string(w.mode)} + " " + buffer_name(p, w.buffer);
    }
    if (o.lease != 0) {
        s += o.lease == -1 ? ", no lease" : o.lease < 0 ? ", an invalid lease" : ", lease " + in_ms(o.lease);
    }
    if (o.by_set) { s += " of the set's"; }
    if (o.fence_timeout != 0) {
        s += o.fence_timeout < 0 ? ", fences without a limit" : ", fences for " + in_ms(o.fence_timeout);
    }
    if (o.deadline != 0) { s += ", deadline in " + in_ms(o.deadline); }
    if (o.on != nothing) { s += ", resume on loop " + std::to_string(o.on); }
    if (o.always) { s += ", cpu_access::always"; }
    if (o.ignore) { s += ", fences::ignore"; }
    if (o.stoppable) { s += ", can be stopped"; }
    if (o.what == verb::transact) {
        s += o.blocks ? ", blocking" : o.runs ? ", by run_transaction" : "";
        if (o.pauses && !o.blocks) { s += ", pausing"; }
        if (o.pairs && !o.blocks) { s += ", two at a time"; }
        if (o.tries) { s += ", trying first"; }
    }
    if (o.quick) { s += ", unlock at once"; }
    return s;
}

const char* name_of(verb v) {
    constexpr std::array names{"lock",
                               "lock a set",
                               "try_lock",
                               "blocking_lock",
                               "transaction",
                               "unlock",
                               "release of",
                               "downgrade of",
                               "try_upgrade of",
                               "split off",
                               "renew",
                               "use",
                               "look at token of",
                               "watch the stop token",
                               "hand_to_device",
                               "release_on a new fence",
                               "release_on a new fence, of",
                               "publish a new fence on",
                               "request stop",
                               "destroy the coroutine",
                               "a device begins to use",
                               "end the work of",
                               "time passes:",
                               "poll the loop",
                               "errors of",
                               "close",
                               "drop the handle of",
                               "import again",
                               "destroy the domain"};
    return names.at(static_cast<std::size_t>(v));
}

} // namespace

program make_program(std::uint64_t seed) { return author{seed}.write(); }

std::string in_words(const program& p, int index) {
    const operation& o = p.operations[static_cast<std::size_t>(index)];
    std::string s = "#" + std::to_string(index) + " thread " + std::to_string(o.thread) +
                    (o.in_turn ? ", in a turn of its loop: " : ": ");
    s += name_of(o.what);
    if (is_acquisition(o.what)) { return s + request_in_words(p, o); }
    switch (o.what) {
    case verb::pass_time: return s + " " + in_ms(o.amount);
    case verb::poll:
    case verb::close_domain: return s;
    case verb::end_work: return s + " #" + std::to_string(o.target) + (o.error != 0 ? " with an error" : "");
    case verb::release:
    case verb::downgrade:
    case verb::upgrade:
    case verb::split:
    case verb::use:
    case verb::look_at_token:
    case verb::release_part_on:
    case verb::publish: s += " " + buffer_name(p, o.buffer); break;
    case verb::renew: s += " for " + in_ms(o.amount); break;
    case verb::inject: return s + " " + buffer_name(p, o.buffer) + ": errno " + std::to_string(o.error);
    case verb::begin_work: return s + " " + buffer_name(p, o.buffer) + (o.amount != 0 ? ", writing" : ", reading");
    case verb::close_buffer:
    case verb::drop_buffer:
    case verb::import_again: return s + " " + buffer_name(p, o.buffer);
    default: break;
    }
    return s + " by #" + std::to_string(o.target);
}

} // namespace sim
