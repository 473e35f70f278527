#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""Tests of what judges benchmarks: the report's arithmetic, its plots, and the smoke run."""

import importlib.machinery
import importlib.util
import json
import pathlib
import subprocess
import sys
import tempfile
import unittest
import xml.etree.ElementTree

PROJECT = pathlib.Path(__file__).resolve().parent.parent
sys.dont_write_bytecode = True
sys.path.append(str(PROJECT / "tools"))

from reports import charts  # noqa: E402
from reports import locks as report  # noqa: E402


def load(name):
    loader = importlib.machinery.SourceFileLoader(f"bench_{name}", str(PROJECT / "bench" / name))
    module = importlib.util.module_from_spec(importlib.util.spec_from_loader(loader.name, loader))
    loader.exec_module(module)
    return module


smoke = load("smoke")
CONTEXT = {"num_cpus": 2, "mhz_per_cpu": 1000, "date": "2000-01-01T00:00:00"}


def entry(name, nanoseconds, **more):
    return {"run_type": "iteration", "run_name": name, "cpu_time": nanoseconds, "real_time": 7e7, "time_unit": "ns", **more}


def results(*entries):
    return report.Results({"context": CONTEXT, "benchmarks": [entry("ref", 5.0), *entries]})


class Figures(unittest.TestCase):
    def test_a_figure_is_the_median_of_the_repetitions(self):
        self.assertEqual(results(*(entry("a", t) for t in (30.0, 10.0, 12.0))).time("a"), 12.0)

    def test_aggregates_of_the_benchmark_library_are_no_repetitions(self):
        self.assertEqual(results(entry("a", 10.0), {**entry("a", 99.0), "run_type": "aggregate"}).samples["a"], [10.0])

    def test_a_benchmark_that_failed_has_no_figure(self):
        self.assertIsNone(results(entry("a", 10.0, error_occurred=True)).time("a"))

    def test_a_ratio_is_to_the_ref_of_the_same_run(self):
        self.assertEqual(results(entry("a", 12.5)).ratio("a"), 2.5)

    def test_without_ref_there_is_no_report(self):
        with self.assertRaisesRegex(SystemExit, "no `ref`"):
            report.Results({"context": CONTEXT, "benchmarks": [entry("a", 1.0)]})

    def test_an_iteration_of_several_items_counts_for_each(self):
        self.assertEqual(results(entry("a", 640.0, items_per_second=1e8)).time("a"), 10.0)

    def test_what_threads_do_together_is_measured_by_the_clock_on_the_wall(self):
        self.assertEqual(results(entry("a/manual_time", 1.0, real_time=8.0)).time("a"), 8.0)
        self.assertEqual(results(entry("a/real_time", 1.0, real_time=8.0)).time("a"), 8.0)

    def test_times_in_other_units_are_converted(self):
        self.assertEqual(results(entry("a", 3.0, time_unit="us")).time("a"), 3000.0)

    def test_sizes_are_told_apart_and_come_in_their_order(self):
        r = results(entry("a/100/manual_time", 0.0, real_time=20.0), entry("a/9", 5.0), entry("ab/1", 1.0))
        self.assertEqual(r.growth("a"), [(9, 1.0), (100, 4.0)])

    def test_a_difference_is_of_medians(self):
        self.assertEqual(results(entry("a", 12.0), entry("b", 10.0)).time(report.Minus("a", "b")), 2.0)

    def test_a_difference_of_something_unmeasured_is_unknown(self):
        self.assertIsNone(results(entry("a", 12.0)).ratio(report.Minus("a", "b")))

    def test_quartiles_are_in_multiples_of_ref(self):
        self.assertEqual(results(*(entry("a", t) for t in (5.0, 10.0, 15.0, 20.0, 25.0))).spread("a"), (2.0, 4.0))


class Arithmetic(unittest.TestCase):
    def test_least_squares_finds_a_line_that_goes_through_all_points(self):
        slope, intercept = report.least_squares([(x, 0.25 * x + 3) for x in (1, 2, 4, 256)])
        self.assertAlmostEqual(slope, 0.25)
        self.assertAlmostEqual(intercept, 3)

    def test_least_squares_goes_between_points_that_are_on_no_line(self):
        slope, intercept = report.least_squares([(0, 0), (0, 2), (2, 2), (2, 4)])
        self.assertAlmostEqual(slope, 1)
        self.assertAlmostEqual(intercept, 1)

    def test_unevenness_is_the_largest_by_the_smallest_wherever_they_are(self):
        self.assertEqual(report.unevenness([(1, 3.0), (2, 2.0), (3, 5.0)]), 2.5)


class Tables(unittest.TestCase):
    ROW = ("a lock", "a", 1.5, ("a mutex", "m"), (1.1, "another"))

    def test_a_target_is_reached_when_the_ratio_is_no_more(self):
        self.assertIn("yes", report.target_row(results(entry("a", 7.5)), self.ROW))
        self.assertIn("**no**", report.target_row(results(entry("a", 7.6)), self.ROW))

    def test_a_row_says_what_was_measured_beside_it_and_what_on_another_day(self):
        row = report.target_row(results(entry("a", 10.0), entry("m", 6.0)), self.ROW)
        self.assertEqual(row, ["a lock", "10.0", "**2.00**", "", "1.5", "**no**", "1.20, a mutex", "1.1, another"])

    def test_what_was_not_measured_is_not_shown(self):
        made = report.texts(results(entry("scoped_lock<1>", 10.0)))
        self.assertIn("| `std::scoped_lock` of `std::mutex` | 10.0 ns, 2.00 x |  |  |", made["uncontended"])
        self.assertEqual({name: len(made[name].splitlines()) for name in ("uncontended", "targets", "growth")},
                         {"uncontended": 3, "targets": 2, "growth": 2})

    def test_nothing_is_shown_without_a_sign(self):
        self.assertEqual([report.ratio_shown(r) for r in (-0.001, -0.01, 9.994, 99.94, 123.4)],
                         ["0.00", "-0.01", "9.99", "99.9", "123"])

    def test_a_cell_has_the_time_and_the_ratio(self):
        self.assertEqual(report.cell(results(entry("a", 12.5)), "a"), "12.5 ns, 2.50 x")


def some_run():
    """Of every benchmark there is; all take the same time."""
    names = {name for _, rows in report.TABLES.values() for _, cells in rows for name in cells if name}
    names |= {f"{name}/{size}" for name in report.GROWTH for size in (1, 4, 16)}
    counters = {"bytes_per_waiter": 700.0, "frame_bytes": 200.0}
    return {"context": CONTEXT, "benchmarks": [entry(name, 5.0, **counters) for name in [*names, "ref"]]}


class Program(unittest.TestCase):
    def setUp(self):
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.folder = pathlib.Path(folder.name)

    def report(self, *places):
        page, run = self.folder / "page.md", self.folder / "locks"
        page.write_text("".join(f"<!-- tools/report: locks {name} -->\nold\n<!-- end -->\n" for name in places), encoding="utf-8")
        run.write_text(json.dumps(some_run()), encoding="utf-8")
        command = [sys.executable, PROJECT / "tools/report", "--results", self.folder, "--fill", "--page", page, "locks"]
        return subprocess.run(command, capture_output=True, text=True, check=False), page

    @unittest.skipIf(charts.missing(), charts.missing())
    def test_tables_go_into_the_page_and_plots_beside_it(self):
        done, page = self.report("machine", "targets", *report.TABLES, "growth")
        self.assertEqual(done.stderr, "")
        self.assertNotIn("old", page.read_text(encoding="utf-8"))
        self.assertEqual({f.stem for f in (self.folder / "images").glob("*.svg")}, set(report.PLOTS))

    def test_a_page_without_a_place_for_a_table_is_refused(self):
        done, _ = self.report("machine")
        self.assertNotEqual(done.returncode, 0)
        self.assertIn("0 places in the page for <!-- tools/report: locks targets -->", done.stderr)

    def test_a_page_is_not_made_of_a_part_of_a_run(self):
        command = [sys.executable, PROJECT / "tools/report", "--only", "x", "--fill", "locks"]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        self.assertIn("a page is made of a whole run", done.stderr)

    def test_a_program_that_fails_makes_no_report(self):
        program = self.folder / "bench/dmasync_bench_lock"
        program.parent.mkdir()
        program.symlink_to("/bin/false")
        command = [sys.executable, PROJECT / "tools/report", "--results", self.folder, "--build", self.folder, "locks"]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        self.assertIn("a benchmark has failed", done.stderr)
        self.assertNotEqual(done.returncode, 0)


@unittest.skipIf(charts.missing(), charts.missing())
class Plots(unittest.TestCase):
    SVG = "{http://www.w3.org/2000/svg}"

    def words_of(self, picture):
        return ["".join(e.itertext()) for e in xml.etree.ElementTree.fromstring(picture).iter(self.SVG + "text")]

    def test_every_plot_is_well_formed_and_has_its_words_as_text(self):
        for name, plot in report.PLOTS.items():
            with self.subTest(plot=name):
                self.assertIn("dmasync" if name == "performance-targets" else "lock and unlock, x ref",
                              [word.replace("hand-over", "lock and unlock") for word in self.words_of(plot(report.Results(some_run())))])

    def test_the_same_figures_give_the_same_file(self):
        plot = report.PLOTS["growth-waiters"]
        self.assertEqual(plot(report.Results(some_run())), plot(report.Results(some_run())))

    def test_an_axis_of_decades_or_doublings_has_a_tick_at_each(self):
        chart = charts.Lines("title", ("x", "doublings"), ("y", "decades"))
        chart.add("line", [(1, 1), (2, 30), (8, 2_000_000)])
        words = self.words_of(charts.picture(chart))
        for tick in ("1", "2", "4", "8", "10", "100", "1,000", "1 million"):
            self.assertIn(tick, words)

    def test_what_is_not_above_zero_is_written_as_it_is_and_can_be_drawn(self):
        self.assertIn("-0.17", self.words_of(charts.picture(charts.Rows("", "", [("a", "-0.17", (0.3, 9.0, -0.17))]))))

    def test_names_are_escaped(self):
        self.assertIn("a < b", self.words_of(charts.picture(charts.Rows("a < b", "", [("r", "1", (1, 1, 1))]))))


class SmokeRun(unittest.TestCase):
    CAUGHT = (1, {"a": "check: counted 1, expected 2"})

    def test_counts_that_add_up_and_are_seen_when_they_do_not_are_fine(self):
        self.assertEqual(smoke.complaints((0, {"a": ""}), self.CAUGHT), [])

    def test_a_count_that_does_not_add_up_is_a_failure(self):
        self.assertEqual(smoke.complaints(self.CAUGHT, self.CAUGHT), ["a: check: counted 1, expected 2"])

    def test_a_benchmark_without_a_check_is_a_failure(self):
        self.assertEqual(smoke.complaints((0, {"a": "", "b": ""}), (1, {**self.CAUGHT[1], "b": ""})), ["b: has no check"])

    def test_a_program_that_does_not_fail_with_its_benchmarks_is_a_failure(self):
        self.assertEqual(smoke.complaints((0, {"a": ""}), (0, self.CAUGHT[1])),
                         ["exit code 0 though counts do not add up"])

    def test_a_program_that_fails_for_no_benchmark_is_a_failure(self):
        self.assertEqual(smoke.complaints((3, {"a": ""}), self.CAUGHT), ["exit code 3"])

    def test_a_program_without_benchmarks_is_a_failure(self):
        self.assertEqual(smoke.complaints((0, {}), (0, {})), ["there is no benchmark"])

    def test_what_is_skipped_is_no_failure(self):
        skipped = {"a": "skipped: there is no such thing here"}
        self.assertEqual(smoke.complaints((0, skipped), (0, skipped)), [])


if __name__ == "__main__":
    if charts.missing():
        print("[skipped] plots are not tested: " + charts.missing())
    unittest.main()
