// SPDX-License-Identifier: MIT
#include "model_loop.hpp"
#include "programs.hpp"

#include <dmasync/task.hpp>
#include <dmasync/wait.hpp>
#include <dmasync/when_all.hpp>

#include <optional>

namespace {

using dmasync::task;
using interleave::canary;
using interleave::check;
using interleave::model_loop;

task<unsigned> hop(model_loop& to, canary& touched) {
    touched.write();
    co_await dmasync::resume_on(to);
    touched.write();
    co_return touched.read();
}

task<unsigned> await_hop(model_loop& to, canary& touched) {
    const unsigned n = co_await hop(to, touched);
    touched.write();
    co_return n;
}

task<> hop_and_end(model_loop& to, canary& touched) {
    co_await dmasync::resume_on(to);
    touched.write();
}

task<> touch(canary& touched) {
    touched.write();
    co_return;
}

/// A task that ends on another thread gives its result to the thread that runs it, which may destroy its loop at once.
void ends_elsewhere() {
    model_loop other;
    std::optional<model_loop> loop{std::in_place};
    canary touched;
    interleave::run_threads({
        [&] {
            const unsigned n = loop->run(hop(other, touched));
            loop.reset();
            touched.write();
            check(n == 2, "the result arrives");
            other.stop();
        },
        [&] { other.run(); },
    });
}

/// A task goes on once after the one that it awaits, though that ends on another thread before it is waited for.
void continued_elsewhere() {
    model_loop other;
    model_loop loop;
    canary touched;
    interleave::run_threads({
        [&] {
            const unsigned n = loop.run(await_hop(other, touched));
            check(n == 2 && touched.read() == 3, "each part has run once");
            other.stop();
        },
        [&] { other.run(); },
    });
}

/// The one that comes last goes on, and sees what all have done.
void joined() {
    model_loop other;
    model_loop loop;
    canary there;
    canary here;
    interleave::run_threads({
        [&] {
            loop.run(dmasync::when_all(hop_and_end(other, there), touch(here)));
            check(there.read() == 1 && here.read() == 1, "all have ended");
            other.stop();
        },
        [&] { other.run(); },
    });
}

task<> join_and_read(model_loop& one, model_loop& two, canary& a, canary& b) {
    co_await dmasync::when_all(hop_and_end(one, a), hop_and_end(two, b));
    check(a.read() == 1 && b.read() == 1, "all have ended");
}

/// The same with ends on two other threads.
void joined_elsewhere() {
    model_loop one;
    model_loop two;
    model_loop loop;
    canary a;
    canary b;
    interleave::run_threads({
        [&] {
            loop.run(join_and_read(one, two, a, b));
            one.stop();
            two.stop();
        },
        [&] { one.run(); },
        [&] { two.run(); },
    });
}

const interleave::registration programs{
    // Each changes loops, and what a loop does then is more than can be searched whole.
    {"task", "task.ends_elsewhere", ends_elsewhere, interleave::few_preemptions},
    {"task", "task.ends_elsewhere", ends_elsewhere, interleave::by_chance},
    {"task", "task.continued_elsewhere", continued_elsewhere, interleave::few_preemptions},
    {"task", "task.continued_elsewhere", continued_elsewhere, interleave::by_chance},
    {"task", "task.joined", joined, interleave::few_preemptions},
    {"task", "task.joined", joined, interleave::by_chance},
    {"task", "task.joined_elsewhere", joined_elsewhere, interleave::few_preemptions},
    {"task", "task.joined_elsewhere", joined_elsewhere, interleave::by_chance},
};

} // namespace
