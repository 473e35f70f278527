// SPDX-License-Identifier: MIT
#include "model_loop.hpp"
#include "programs.hpp"

#include <dmasync/detail/loop/stop_relay.hpp>

#include <optional>
#include <stop_token>

namespace {

using dmasync::detail::stop_relay;
using interleave::canary;
using interleave::check;
using interleave::model_loop;

struct relay : stop_relay {
    explicit relay(canary& c, model_loop* l = nullptr) noexcept : stop_relay{stopped}, calls{&c}, loop{l} {}
    static void stopped(stop_relay& r) noexcept {
        auto& self = static_cast<relay&>(r);
        self.calls->write();
        self.cancel();
        if (self.loop != nullptr) { self.loop->stop(); }
    }
    canary* calls;
    model_loop* loop;
};

/// A stop request wakes the loop, and the function is called there once.
void called() {
    model_loop loop;
    std::stop_source source;
    const std::stop_token token = source.get_token();
    canary calls;
    interleave::run_threads({
        [&] {
            relay r{calls, &loop};
            check(r.start(loop, &token), "there is memory");
            loop.run();
        },
        [&] { source.request_stop(); },
    });
    check(calls.read() == 1, "it is called once");
}

/// A relay is destroyed while stop is requested: it is called before or never, and nothing is left.
void destroyed() {
    model_loop loop;
    std::stop_source source;
    const std::stop_token token = source.get_token();
    canary calls;
    interleave::run_threads({
        [&] {
            {
                relay r{calls};
                check(r.start(loop, &token), "there is memory");
                loop.poll();
            }
            const unsigned before = calls.read();
            loop.run_ready();
            check(calls.read() == before, "a relay that is gone is not called");
        },
        [&] { source.request_stop(); },
    });
    check(calls.read() <= 1, "it is called once at most");
}

/// The same with a loop that goes away right after: a message that is under way is discarded, and frees itself.
void discarded() {
    std::optional<model_loop> loop{std::in_place};
    std::stop_source source;
    const std::stop_token token = source.get_token();
    canary calls;
    interleave::run_threads({
        [&] {
            {
                relay r{calls};
                check(r.start(*loop, &token), "there is memory");
            }
            loop.reset();
        },
        [&] { source.request_stop(); },
    });
    check(calls.read() == 0, "without a turn of the loop it is not called");
}

const interleave::registration programs{
    {"stop_relay", "stop_relay.called", called},
    {"stop_relay", "stop_relay.destroyed", destroyed},
    {"stop_relay", "stop_relay.discarded", discarded},
};

} // namespace
