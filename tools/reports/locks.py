# SPDX-License-Identifier: MIT
"""What locks cost: in nanoseconds, in multiples of `ref`, beside the targets, and how it grows.

Everything is measured in one run of one program, repeated in random order; shown are medians."""

import json
import pathlib
import platform
import re
import statistics
import subprocess
import sys

from . import Part, charts, table

REFERENCE = "ref"


class Minus:
    """What one figure is more than another one."""

    def __init__(self, all_of_it, without):
        self.parts = (all_of_it, without)


def each(name, *sizes):
    return [f"{name}<{n}>" for n in sizes]


# What is to be reached: what it is, the figure, the target in multiples of ref, what else does something like it in the same
# run, and the best of what is no part of this project: measured elsewhere, on another day, in multiples of its ref.
TARGETS = [
    ("1 buffer, lease", "dmasync_lock<1>", 1.3, ("`std::mutex`", "scoped_lock<1>"), (1.05, "nsync `nsync_mu`")),
    ("set of 4, lease", "dmasync_lock<4>", 1.5, ("`std::scoped_lock`", "scoped_lock<4>"),
     (4.19, "nsync `nsync_mu`, sorted")),
    ("set of 16, lease", "dmasync_lock<16>", 3.0, ("`std::scoped_lock`", "scoped_lock<16>"),
     (16.7, "nsync `nsync_mu`, sorted")),
    ("the lease's share: arm and disarm", Minus("dmasync_lock<1>", "dmasync_lock_without_lease<1>"), 0.3,
     ("io_uring timeout", Minus("mutex_and_uring_timeout", "scoped_lock<1>")), (6.9, "asio `steady_timer`")),
    ("`lock_set` of 4, every frame", "dmasync_lock_set<4>", 1.5, ("`std::scoped_lock`", "scoped_lock<4>"), None),
    ("hand-over, 64 coroutines on one loop", "dmasync_hand_over", 1.6, None, (1.01, "YACLib `Mutex`, no lease")),
    ("2 threads, sets of 2 of 8", "two_threads_dmasync_lock", 1.6, ("`std::scoped_lock`", "two_threads_scoped_lock"),
     (4.84, "`std::mutex`, sorted")),
    ("2 threads, disjoint sets, one domain", "two_threads_disjoint_one_domain", 1.6,
     ("`std::scoped_lock`", "two_threads_disjoint_scoped_lock"), None),
    ("2 threads, disjoint sets, two domains", "two_threads_disjoint_two_domains", 0.8,
     ("`std::scoped_lock`", "two_threads_disjoint_scoped_lock"), None),
    ("transaction of 4, uncontended", "dmasync_transaction<4>", 3.0, None, None),
    ("single-threaded domain, 1 buffer, lease", "dmasync_single_threaded<1>", 0.5, None, None),
    ("single-threaded domain, set of 4, lease", "dmasync_single_threaded<4>", 0.9, None, None),
]

# name: (columns, rows); a row: what it is, and a benchmark for each column, or None.
TABLES = {
    "uncontended": (
        ["1", "4", "16"],
        [
            ("`std::scoped_lock` of `std::mutex`", each("scoped_lock", 1, 4, 16)),
            ("`std::shared_mutex`, sorted", each("shared_mutex", 1, 4, 16)),
            ("`std::shared_lock` of `std::shared_mutex`", ["shared_mutex_read", None, None]),
            ("`std::mutex` and an io_uring timeout", ["mutex_and_uring_timeout", None, None]),
            ("`co_await lock(write(...))`, lease", each("dmasync_lock", 1, 4, 16)),
            ("the same in a single-threaded domain", each("dmasync_single_threaded", 1, 4, 16)),
            ("the same in a domain that was another thread's", [*each("dmasync_lock_after_another_thread", 1, 4), None]),
            ("`co_await lock(write(...))`, no lease", each("dmasync_lock_without_lease", 1, 4, 16)),
            ("`co_await lock(read(...))`, lease", ["dmasync_lock_read", None, None]),
            ("`co_await lock_set.lock()`, lease", each("dmasync_lock_set", 1, 4, 16)),
            ("a transaction, buffer by buffer, lease", [None, "dmasync_transaction<4>", None]),
            ("`blocking_lock(write(...))`, lease", ["dmasync_blocking_lock", None, None]),
        ],
    ),
    "contended": (
        ["an acquisition"],
        [
            ("64 coroutines on one thread queue for one buffer", ["dmasync_hand_over"]),
            ("two threads, sets of 2 of 8: `std::scoped_lock`", ["two_threads_scoped_lock"]),
            ("two threads, sets of 2 of 8: `co_await lock(...)`", ["two_threads_dmasync_lock"]),
            ("two threads, disjoint sets: `std::scoped_lock`", ["two_threads_disjoint_scoped_lock"]),
            ("two threads, disjoint sets, one domain", ["two_threads_disjoint_one_domain"]),
            ("two threads, disjoint sets, two domains", ["two_threads_disjoint_two_domains"]),
        ],
    ),
}

# Benchmarks of several sizes.
GROWTH = ["growth_waiters", "growth_buffers_cached", "growth_buffers_in_turn", "growth_buffers_at_random", "growth_set_size",
          "growth_set_size_mutexes", "growth_leases"]
MOST_PER_BUFFER = 0.12  # of ref, in a set
FLAT_WAITERS, FLAT_BUFFERS = 2.0, 1.5  # how much the largest figure may be of the smallest


class Results:
    """What a run has given, by benchmark: `name<1>`, or `name/size` where there are several sizes."""

    def __init__(self, run):
        self.context = run["context"]
        self.samples, self.counters = {}, {}
        for entry in run["benchmarks"]:
            if entry["run_type"] == "iteration" and not entry.get("error_occurred"):
                key = self.key(entry["run_name"])
                self.samples.setdefault(key, []).append(self.nanoseconds(entry))
                self.counters[key] = entry
        self.times = {key: statistics.median(values) for key, values in self.samples.items()}
        if REFERENCE not in self.times:
            sys.exit("tools/report: the results hold no `ref`")
        self.ref = self.times[REFERENCE]

    @staticmethod
    def key(run_name):
        name, *rest = run_name.split("/")
        return "/".join([name, *(part for part in rest if part.isdigit())])

    @staticmethod
    def nanoseconds(entry):
        """Of an item where an iteration has several; where threads wait for each other by the clock on the wall."""
        if entry.get("items_per_second"):
            return 1e9 / entry["items_per_second"]
        on_the_wall = re.search(r"/(manual|real)_time\b", entry["run_name"])
        return entry["real_time" if on_the_wall else "cpu_time"] * {"ns": 1, "us": 1e3, "ms": 1e6, "s": 1e9}[entry["time_unit"]]

    def time(self, figure):
        """Nanoseconds, or None where something has not been measured."""
        if isinstance(figure, Minus):
            a, b = map(self.time, figure.parts)
            return None if a is None or b is None else a - b
        return self.times.get(figure)

    def ratio(self, figure):
        time = self.time(figure)
        return None if time is None else time / self.ref

    def spread(self, figure):
        """The first and the third quartile of a benchmark's repetitions, in multiples of ref; None when there are too few."""
        samples = self.samples.get(figure, []) if isinstance(figure, str) else []
        if len(samples) < 3:
            return None
        first, _, third = statistics.quantiles(samples, n=4, method="inclusive")
        return first / self.ref, third / self.ref

    def sizes(self, name):
        return sorted(int(key.split("/")[1]) for key in self.times if key.startswith(name + "/"))

    def growth(self, name):
        """Size and multiple of ref, by size."""
        return [(n, self.ratio(f"{name}/{n}")) for n in self.sizes(name)]

    def counter(self, name, counter):
        return [(n, self.counters[f"{name}/{n}"][counter]) for n in self.sizes(name)]


# ---- arithmetic ---------------------------------------------------------------------------------------------------------


def least_squares(points):
    """Slope and intercept of the line that is nearest to them."""
    n = len(points)
    mean_x, mean_y = sum(x for x, _ in points) / n, sum(y for _, y in points) / n
    slope = sum((x - mean_x) * (y - mean_y) for x, y in points) / sum((x - mean_x) ** 2 for x, _ in points)
    return slope, mean_y - slope * mean_x


def unevenness(points):
    """How much the largest is of the smallest."""
    values = [y for _, y in points]
    return max(values) / min(values)


# ---- tables -------------------------------------------------------------------------------------------------------------


def rounded(number):
    return f"{number:.1f}" if abs(number) < 100 else f"{number:.0f}"


def ratio_shown(ratio):
    return f"{round(ratio, 2) + 0.0:.2f}" if abs(ratio) < 10 else rounded(ratio)  # no -0.00


def verdict(figure, target):
    return "yes" if figure <= target else "**no**"


def cell(results, figure):
    time = results.time(figure) if figure else None
    return "" if time is None else f"{rounded(time)} ns, {ratio_shown(time / results.ref)} x"


def plain_table(results, columns, rows):
    shown = [[label, *(cell(results, f) for f in figures)] for label, figures in rows]
    return table(["", *columns], [row for row in shown if any(row[1:])])


def target_row(results, row):
    label, figure, target, here, elsewhere = row
    ratio, spread = results.ratio(figure), results.spread(figure)
    there = f"{elsewhere[0]:g}, {elsewhere[1]}" if elsewhere else ""
    beside = f"{ratio_shown(results.ratio(here[1]))}, {here[0]}" if here and results.ratio(here[1]) is not None else ""
    quartiles = f"{ratio_shown(spread[0])} to {ratio_shown(spread[1])}" if spread else ""
    return [label, rounded(results.time(figure)), f"**{ratio_shown(ratio)}**", quartiles, f"{target:g}",
            verdict(ratio, target), beside, there]


def targets_table(results):
    return table(["one lock and unlock", "ns", "x ref", "quartiles", "at most", "reached", "in the same run",
                  "elsewhere, on another day"],
                 [target_row(results, row) for row in TARGETS if results.ratio(row[1]) is not None])


def growth_table(results):
    rows = []
    for label, name, most in (("waiters for one buffer: time of a grant", "growth_waiters", FLAT_WAITERS),
                              ("buffers in a domain, used ones in the cache", "growth_buffers_cached", FLAT_BUFFERS),
                              ("live leases", "growth_leases", FLAT_BUFFERS)):
        points = results.growth(name)
        if not points:
            continue
        values = [y for _, y in points]
        rows.append([label, f"{points[0][0]:,} to {points[-1][0]:,}",
                     f"{ratio_shown(min(values))} to {ratio_shown(max(values))} x ref",
                     f"largest / smallest {unevenness(points):.2f}", f"{most:g}", verdict(unevenness(points), most)])
    points = results.growth("growth_set_size")
    if len(points) > 1:
        slope, intercept = least_squares(points)
        rows.append(["buffers in a set", f"{points[0][0]} to {points[-1][0]}",
                     f"{ratio_shown(points[0][1])} to {ratio_shown(points[-1][1])} x ref",
                     f"{intercept:.2f} + {slope:.3f} x ref for each", f"{MOST_PER_BUFFER:g}", verdict(slope, MOST_PER_BUFFER)])
    memory = results.counter("growth_waiters", "bytes_per_waiter")
    if memory:
        frame = results.counter("growth_waiters", "frame_bytes")[-1][1]
        rows.append(["waiters for one buffer: memory of each", f"{memory[0][0]:,} to {memory[-1][0]:,}",
                     f"{min(b for _, b in memory):.0f} to {max(b for _, b in memory):.0f} bytes",
                     f"{frame:.0f} of them the coroutine's frame", "", ""])
    return table(["", "how many", "a lock and unlock", "how it grows", "at most", "reached"], rows)


def machine_text(results):
    c = results.context
    repetitions = max(map(len, results.samples.values()))
    return (f"{c.get('processor', 'a processor')}, {c['num_cpus']} processors of {c['mhz_per_cpu']} MHz, "
            f"{c.get('kernel', 'Linux')}, {c.get('compiler', 'a compiler')}, {c['date'][:10]}:\n"
            f"ref = {results.ref:.3g} ns; medians of {repetitions} repetitions, in random order, in one run.")


def texts(results):
    made = {"machine": machine_text(results), "targets": targets_table(results)}
    made |= {name: plain_table(results, columns, rows) for name, (columns, rows) in TABLES.items()}
    return made | {"growth": growth_table(results)}


# ---- plots --------------------------------------------------------------------------------------------------------------

X_REF = ("lock and unlock, x ref", "linear")


def targets_plot(results):
    rows = []
    for label, figure, target, here, elsewhere in TARGETS:
        others = [r for r in (results.ratio(here[1]) if here else None, elsewhere[0] if elsewhere else None) if r is not None]
        ratio = results.ratio(figure)
        written = "" if ratio is None else ratio_shown(ratio)
        rows.append((label.replace("`", ""), written, (target, min(others, default=None), ratio)))
    return charts.picture(charts.Rows("One lock and unlock", "multiples of ref, less is better", rows))


def flat_plot(title, x, lines, most, y=X_REF, size=(640, 360)):
    """Lines that should be flat: `lines` are names and points, the first of which has the limit."""
    chart = charts.Lines(title, (x, "decades"), y, size)
    for name, points in lines:
        chart.add(name, points)
    points = lines[0][1]
    level = min(v for _, v in points) * most
    chart.limit(f"{most:g} times the least", [(points[0][0], level), (points[-1][0], level)])
    return chart


def waiters_plot(results):
    time = flat_plot("Waiters for one buffer: time", "coroutines that wait", [("a grant", results.growth("growth_waiters"))],
                     FLAT_WAITERS, ("hand-over, x ref", "linear"), (460, 340))
    memory = charts.Lines("Waiters for one buffer: memory", ("coroutines that wait", "decades"),
                             ("bytes for each", "linear"), (460, 340))
    memory.add("in all", results.counter("growth_waiters", "bytes_per_waiter"))
    memory.add("of which its frame", results.counter("growth_waiters", "frame_bytes"))
    return charts.picture(time, memory)


def buffers_plot(results):
    lines = [("the same 8 of them", results.growth("growth_buffers_cached")),
             ("all, in turn", results.growth("growth_buffers_in_turn")),
             ("all, at random", results.growth("growth_buffers_at_random"))]
    return charts.picture(flat_plot("A lock in a domain of many buffers", "buffers", lines, FLAT_BUFFERS,
                                       (X_REF[0], "doublings")))


def set_size_plot(results):
    points = results.growth("growth_set_size")
    slope, intercept = least_squares(points)
    largest = points[-1][0]
    near = charts.Lines("A lock of many buffers", ("buffers", "linear"), X_REF, (460, 340))
    near.add("lock_set", points)
    near.limit(f"{MOST_PER_BUFFER:g} for each", [(0, intercept), (largest, intercept + MOST_PER_BUFFER * largest)])
    far = charts.Lines("The same beside mutexes", ("buffers, or mutexes", "doublings"), (X_REF[0], "decades"), (460, 340))
    far.add("lock_set", points)
    far.add("std::mutex, sorted", results.growth("growth_set_size_mutexes"))
    return charts.picture(near, far)


def leases_plot(results):
    return charts.picture(flat_plot("A lock while there are many others, with leases", "other locks",
                                       [("one more", results.growth("growth_leases"))], FLAT_BUFFERS))


PLOTS = {
    "performance-targets": targets_plot,
    "growth-waiters": waiters_plot,
    "growth-buffers": buffers_plot,
    "growth-set-size": set_size_plot,
    "growth-leases": leases_plot,
}

# ---- the run ------------------------------------------------------------------------------------------------------------


def processor():
    found = re.search(r"^model name\s*: (.*)$", pathlib.Path("/proc/cpuinfo").read_text(encoding="utf-8"), re.MULTILINE)
    return " ".join(found[1].split()) if found else platform.machine()


def make(request):
    command = [request.build / "bench/dmasync_bench_lock", f"--benchmark_out={request.out}", "--benchmark_out_format=json",
               f"--benchmark_repetitions={request.repetitions or 9}", "--benchmark_enable_random_interleaving=true",
               "--benchmark_min_time=0.1"]
    if request.only:
        command.append(f"--benchmark_filter=^{REFERENCE}$|{request.only}")
    if subprocess.run(command, stdout=sys.stderr, check=False).returncode != 0:
        request.out.unlink(missing_ok=True)
        sys.exit("tools/report: a benchmark has failed")
    results = json.loads(request.out.read_text(encoding="utf-8"))
    results["context"] |= {"processor": processor(), "kernel": f"Linux {platform.release()}"}
    request.out.write_text(json.dumps(results, indent=1), encoding="utf-8")


def pictures(results):
    if charts.missing():
        sys.exit(f"tools/report: the plots stay as they are: {charts.missing()}")
    return {f"{name}.svg": plot(results) for name, plot in PLOTS.items()}


PART = Part("docs/performance.md", "bench/lock/*.cpp, for a minute or two", make, lambda kept: texts(Results(json.loads(kept))),
            lambda kept: pictures(Results(json.loads(kept))))
