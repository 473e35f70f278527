// SPDX-License-Identifier: MIT
#include "model_loop.hpp"
#include "programs.hpp"

#include <array>
#include <optional>

namespace {

using dmasync::disposition;
using dmasync::work;
using interleave::canary;
using interleave::check;
using interleave::model_loop;

/// Work that notes when it was run, and stops the loop when it is the last.
struct note : work {
    explicit note(model_loop& l, unsigned& c, unsigned last) noexcept
        : work{run}, loop{&l}, count{&c}, last_one{last} {}

    static void run(work& w, disposition d) noexcept {
        auto& self = static_cast<note&>(w);
        check(d == disposition::run, "work is run, not discarded");
        check(self.turn == 0, "work is run once");
        self.turn = ++*self.count;
        self.brought.read();
        if (self.turn == self.last_one) { self.loop->stop(); }
    }

    model_loop* loop;
    unsigned* count;
    unsigned last_one;
    unsigned turn = 0;
    canary brought; // written by what posts
};

void post(model_loop& loop, note& n) {
    n.brought.write();
    loop.post(n);
}

/// A loop that sleeps is woken for whatever is posted, and runs what one thread posts in its order.
void one_poster() {
    model_loop loop;
    unsigned count = 0;
    note a{loop, count, 2};
    note b{loop, count, 2};
    interleave::run_threads({
        [&] { loop.run(); },
        [&] {
            post(loop, a);
            post(loop, b);
        },
    });
    check(a.turn == 1 && b.turn == 2, "what one thread posts is run in its order");
}

/// The same for as much more as can be searched with few preemptions.
void one_busy_poster() {
    model_loop loop;
    unsigned count = 0;
    note a{loop, count, 3};
    note b{loop, count, 3};
    note c{loop, count, 3};
    interleave::run_threads({
        [&] { loop.run(); },
        [&] {
            post(loop, a);
            post(loop, b);
            post(loop, c);
        },
    });
    check(a.turn == 1 && b.turn == 2 && c.turn == 3, "what one thread posts is run in its order");
}

/// The same for whatever two threads post.
void two_posters() {
    model_loop loop;
    unsigned count = 0;
    note a{loop, count, 2};
    note b{loop, count, 2};
    interleave::run_threads({
        [&] { loop.run(); },
        [&] { post(loop, a); },
        [&] { post(loop, b); },
    });
    check(count == 2, "nothing is lost");
}

/// And for as much of both as can be searched with few preemptions.
void two_busy_posters() {
    model_loop loop;
    unsigned count = 0;
    note a{loop, count, 4};
    note b{loop, count, 4};
    note c{loop, count, 4};
    note d{loop, count, 4};
    interleave::run_threads({
        [&] { loop.run(); },
        [&] {
            post(loop, a);
            post(loop, b);
        },
        [&] {
            post(loop, c);
            post(loop, d);
        },
    });
    check(a.turn < b.turn && c.turn < d.turn, "what one thread posts is run in its order");
}

/// The same with a loop that is never told to stop but polled by a host, which sleeps while its descriptor is silent.
void hosted() {
    model_loop loop;
    unsigned count = 0;
    note a{loop, count, 0};
    note b{loop, count, 0};
    interleave::run_threads({
        [&] {
            while (count != 2) {
                loop.sleep_as_host();
                loop.poll();
            }
        },
        [&] { post(loop, a); },
        [&] { post(loop, b); },
    });
}

/// What is posted while `run` comes to its end shows on the descriptor, for the host that takes over.
void left_to_host() {
    model_loop loop;
    unsigned count = 0;
    note a{loop, count, 0};
    interleave::run_threads({
        [&] {
            loop.run();
            while (count != 1) {
                loop.sleep_as_host();
                loop.poll();
            }
        },
        [&] { post(loop, a); },
        [&] { loop.stop(); },
    });
}

/// A stop is heard by a loop that is about to sleep, and what the stopper did before is seen after `run`.
void stopped() {
    model_loop loop;
    canary before;
    interleave::run_threads({
        [&] {
            loop.run();
            before.read();
        },
        [&] {
            before.write();
            loop.stop();
        },
    });
}

/// Two stops end two runs or one, never none: the second run is stopped by a third.
void stopped_twice() {
    model_loop loop;
    unsigned count = 0;
    note a{loop, count, 1};
    interleave::run_threads({
        [&] {
            loop.run();
            if (count == 0) { loop.run(); }
        },
        [&] {
            loop.stop();
            post(loop, a);
        },
    });
    check(count == 1, "what was posted before the loop stops for good is run");
}

/// A thread that sees that virtual time has come sees what was done before it was moved.
void time_moved() {
    model_loop loop;
    const auto then = loop.now() + std::chrono::seconds{1};
    canary before;
    interleave::run_threads({
        [&] {
            before.write();
            loop.set(then);
        },
        [&] {
            if (loop.now() == then) { before.read(); }
        },
        [&] {
            if (loop.coarse_now() == then) { before.read(); }
        },
    });
}

/// A thread that sees that a loop has failed sees why, and what was done before.
void failed() {
    model_loop loop;
    canary before;
    interleave::run_threads({
        [&] {
            before.write();
            loop.break_down();
        },
        [&] {
            if (loop.error()) { before.read(); }
        },
    });
}

/// A loop that fails while another thread posts runs what it was posted, when it is polled.
void failed_while_posted() {
    model_loop loop;
    unsigned count = 0;
    note a{loop, count, 0};
    interleave::run_threads({
        [&] {
            loop.break_down();
            check(static_cast<bool>(loop.run()), "run says that the loop has failed");
        },
        [&] { post(loop, a); },
    });
    loop.poll();
    check(count == 1, "what was posted is run");
}

constexpr interleave::settings four_preemptions{.mode = interleave::settings::search::bounded, .bound = 4};

const interleave::registration programs{
    {"event_loop", "event_loop.one_poster", one_poster},
    {"event_loop", "event_loop.one_busy_poster", one_busy_poster, four_preemptions},
    {"event_loop", "event_loop.one_busy_poster", one_busy_poster, interleave::by_chance},
    {"event_loop", "event_loop.two_posters", two_posters, four_preemptions},
    {"event_loop", "event_loop.two_posters", two_posters, interleave::by_chance},
    {"event_loop", "event_loop.two_busy_posters", two_busy_posters, interleave::few_preemptions},
    {"event_loop", "event_loop.two_busy_posters", two_busy_posters, interleave::by_chance},
    {"event_loop", "event_loop.hosted", hosted},
    {"event_loop", "event_loop.left_to_host", left_to_host},
    {"event_loop", "event_loop.stopped", stopped},
    {"event_loop", "event_loop.stopped_twice", stopped_twice},
    {"event_loop", "event_loop.time_moved", time_moved},
    {"event_loop", "event_loop.failed", failed},
    {"event_loop", "event_loop.failed_while_posted", failed_while_posted},
};

} // namespace
