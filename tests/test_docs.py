#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""The documentation says what the headers say."""

import pathlib
import re
import sys
import unittest
import xml.etree.ElementTree

PROJECT = pathlib.Path(__file__).resolve().parent.parent
sys.path.insert(0, str(PROJECT / "tools"))
sys.dont_write_bytecode = True

import reports  # noqa: E402
from reports import domain_lock, instructions, locks, trace  # noqa: E402


def text_of(path):
    return (PROJECT / path).read_text(encoding="utf-8")


class Errors(unittest.TestCase):
    def test_every_error_has_its_line_in_the_table_and_no_other_has(self):
        body = re.search(r"enum class errc \{(.*?)\};", text_of("include/dmasync/error.hpp"), re.DOTALL)[1]
        declared = re.findall(r"^ +(\w+)[,= ]", body, re.MULTILINE)
        table = text_of("docs/errors.md").split("## Misuse")[0]
        documented = re.findall(r"^\| `(\w+)` \|", table, re.MULTILINE)
        self.assertEqual(declared, [name for name in documented if name != "errc"])


class Links(unittest.TestCase):
    def test_every_relative_link_leads_somewhere(self):
        for page in [PROJECT / "README.md", PROJECT / "CONTRIBUTING.md",
                     *(page for folder in ("docs", "tests", "examples") for page in (PROJECT / folder).rglob("*.md"))]:
            for target in re.findall(r"\]\((?!https?:|#)([^)#]+)", page.read_text(encoding="utf-8")):
                self.assertTrue((page.parent / target).exists(), f"{page.name}: {target}")


class NamedTests(unittest.TestCase):
    """Tests of a program that pages name."""

    CASE = re.compile(r"^TEST_CASE(?:_TEMPLATE)?\(([^{]*)\{([^\n]*\}$|.*?^\})", re.DOTALL | re.MULTILINE)

    @classmethod
    def cases_of(cls, path):
        """The cases of a file that run, and check something: name -> text of the body. What is within #if 0 or a comment
        is not there; a case that doctest is told to skip or to expect failures of is not, either."""
        text = re.sub(r"^#if 0$.*?^#endif$|/\*.*?\*/|//[^\n]*", "", text_of(path), flags=re.DOTALL | re.MULTILINE)
        cases = {}
        for declaration, body in cls.CASE.findall(text):
            name = re.match(r'\s*"((?:[^"\\]|\\.)*)"', declaration)
            decorators = declaration[name.end():]
            if "doctest::" not in decorators and re.search(r"\b(?:CHECK|REQUIRE|check|tell)\w*\(", body):
                cases[name[1]] = body
        return cases

    def check_names(self, named, path):
        for name in sorted(set(named) - set(self.cases_of(path))):
            with self.subTest(path=path, name=name):
                self.fail("is no test there, or does not run, or checks nothing")


class DmaBufTests(NamedTests):
    """The page names tests that there are."""

    def test_every_test_that_is_named_is_in_its_file_runs_and_checks_something(self):
        named = re.findall(r'`(\w+)` "([^"]+)"', text_of("tests/vm/dma-buf-tests.md"))
        self.assertGreater(len(named), 40)
        for program in sorted({program for program, _ in named}):
            sources = list((PROJECT / "tests").glob(f"**/{program}.cpp"))
            self.assertEqual(len(sources), 1, program)
            self.check_names([name for of, name in named if of == program], sources[0].relative_to(PROJECT))


class Transactions(NamedTests):
    """The page answers every case of the kernel's, by tests that there are."""

    KERNEL = """fail_acquire normal unneeded_slow two_contexts diff_class context_done_twice context_unlock_twice context_fini_early
        context_lock_after_done object_unlock_twice object_lock_unbalanced object_lock_stale_context edeadlk_normal
        edeadlk_normal_slow edeadlk_no_unlock edeadlk_no_unlock_slow edeadlk_acquire_more edeadlk_acquire_more_slow
        edeadlk_acquire_more_edeadlk edeadlk_acquire_more_edeadlk_slow edeadlk_acquire_wrong edeadlk_acquire_wrong_slow
        spin_nest_unlocked spin_nest_lock context_block context_try context_context try_block try_try try_context block_block
        block_try block_context spin_block spin_try spin_context""".split()  # lib/locking-selftest.c of Linux 6.1: ww_tests

    def test_every_case_of_misuse_that_is_answered_by_a_test_is_in_its_file_runs_and_checks_something(self):
        named = re.findall(r'\| "([^"]+)" \|', text_of("docs/transactions.md"))
        self.assertGreater(len(named), 25)
        self.check_names(named, "tests/lock/test_transaction_misuse.cpp")

    def test_every_case_of_the_kernels_is_answered_once(self):
        answered = re.findall(r"`ww_test_(\w+)`", text_of("docs/transactions.md"))
        self.assertEqual(sorted(answered), sorted(self.KERNEL))


class Performance(unittest.TestCase):
    """The page shows what tools/report makes of what bench/lock measures."""

    report = locks
    page = text_of("docs/performance.md")

    def figures(self):
        """Every benchmark that the report knows, but those of several sizes."""
        rows = [row for _, rows in self.report.TABLES.values() for row in rows]
        return {name for _, cells in rows for name in cells if name} | {self.report.REFERENCE}

    def test_every_benchmark_has_its_place_in_a_table_or_a_plot_and_no_other_has(self):
        registered = []
        for source in (PROJECT / "bench/lock").glob("*.cpp"):
            registered += re.findall(r"^BENCHMARK\((.+?)\)(?:->|;)", source.read_text(encoding="utf-8"), re.MULTILINE)
        self.assertCountEqual([*self.figures(), *self.report.GROWTH], registered)

    def test_every_figure_that_has_a_target_is_in_a_table_too(self):
        for label, figure, _, here, _ in self.report.TARGETS:
            for each in (figure, here[1] if here else None):
                parts = each.parts if isinstance(each, self.report.Minus) else (each,)
                for part in parts:
                    self.assertTrue(part is None or part in self.figures(), f"{label}: {part}")

    def test_every_table_in_the_page_has_the_rows_of_the_report_and_a_figure_in_each(self):
        counters = {"bytes_per_waiter": 2.0, "frame_bytes": 1.0}
        keys = [*self.figures(), *(f"{name}/{size}" for name in self.report.GROWTH for size in (1, 2))]
        entries = [{"run_type": "iteration", "run_name": key, "real_time": 1.0, "cpu_time": 1.0, "time_unit": "ns", **counters}
                   for key in keys for _ in range(3)]
        context = {"num_cpus": 1, "mhz_per_cpu": 1, "date": "2000-01-01"}
        made = self.report.texts(self.report.Results({"context": context, "benchmarks": entries}))
        figure = re.compile(r"-?\d[\d.,]*|\*\*no\*\*|yes")
        for name in set(made) - {"machine"}:
            with self.subTest(table=name):
                shown = reports.shown(self.page, "locks", name)
                self.assertEqual(figure.sub("#", shown), figure.sub("#", made[name]))

    def test_every_plot_is_in_the_page_and_there(self):
        for name in self.report.PLOTS:
            self.assertIn(f"(images/{name}.svg)", self.page)
            self.assertIn("</svg>", text_of(f"docs/images/{name}.svg"))


class Costs(unittest.TestCase):
    """The page shows the budgets that are held. (That it shows the sizes is seen where they are known: bench.sizes.)"""

    def test_the_page_shows_the_budgets(self):
        shown = reports.shown(text_of("docs/performance.md"), "budgets")
        self.assertEqual(shown, instructions.budgets_table(*instructions.read_budget()), "tools/report --fill budgets")


class DomainLock(unittest.TestCase):
    """The page weighs the locks that the programs weigh."""

    report = domain_lock

    def test_every_lock_that_is_weighed_has_its_line_in_both_tables(self):
        names, texts = zip(*self.report.schemes())
        for program in ("bench_domain_lock", "rt_preemption"):
            source = text_of(f"bench/{program}.cpp")
            for name in names:
                self.assertRegex(source, rf"DMASYNC_WEIGH\({name}\)|row<schemes::{name}>", program)
        for table in ("costs", "preemption"):
            shown = reports.shown(text_of("docs/performance.md"), "domain-lock", table)
            self.assertEqual(re.findall(r"^\| (.+?) \|", shown, re.MULTILINE), ["the lock", *texts], table)


class Trace(unittest.TestCase):
    """The page names every record and every end, and shows what the tools make."""

    cost = trace
    page = text_of("docs/observability.md")

    def names_in(self, heading):
        table = re.search(rf"^\| {heading} \|.*\n\|---\|---\|\n((?:\|.*\n)+)", self.page, re.MULTILINE)[1]
        return re.findall(r"^\| `([\w ]+)` \|", table, re.MULTILINE)

    def declared(self, header, function):
        body = re.search(rf"to_string\({function} \w\).*?names\{{(.*?)\}}", text_of(header), re.DOTALL)[1]
        return re.findall(r'"([^"]+)"', body)

    def test_every_kind_of_record_has_its_line_and_no_other_has(self):
        self.assertEqual(self.names_in("record"), self.declared("include/dmasync/observe/trace.hpp", "trace_kind"))

    def test_every_end_of_a_slice_has_its_line_and_no_other_has(self):
        self.assertEqual(self.names_in("a bar"), self.declared("include/dmasync/observe/trace_timeline.hpp", "slice_end"))

    def test_the_table_of_costs_has_the_rows_of_its_tool_and_a_figure_in_each(self):
        shown = reports.shown(self.page, "trace")
        every = {(program, f"{name}<{n}>"): 1.0 for _, program, name in self.cost.ROWS for n in self.cost.SIZES}
        figures = re.compile(r"[\d.]+ x")
        self.assertEqual(figures.sub("*", shown), figures.sub("*", self.cost.table(every)))

    def test_the_benchmarks_of_that_table_are_those_that_there_are(self):
        registered = set(re.findall(r"^BENCHMARK\((.+?)\);", text_of("bench/bench_trace.cpp"), re.MULTILINE))
        self.assertEqual(registered, {f"{name}<{n}>" for _, _, name in self.cost.ROWS for n in self.cost.SIZES} | {"ref"})

    def test_the_picture_shows_a_lease_that_ran_out_and_who_waited(self):
        picture = xml.etree.ElementTree.parse(PROJECT / "docs/images/timeline.svg")
        texts = [e.text for e in picture.iter("{http://www.w3.org/2000/svg}text")]
        self.assertIn("analyse waits for denoise", texts)
        self.assertIn("overlay copy waits for denoise", texts)
        self.assertTrue([e for e in picture.iter() if e.get("class") == "late"])

    def test_the_options_that_it_tells_of_are_those_of_the_recorder(self):
        header = text_of("include/dmasync/observe/trace.hpp")
        self.assertIn("records = 1U << 14U", header)
        self.assertIn("threads = 16", header)


class Layers(unittest.TestCase):
    def test_every_public_header_is_named_in_the_design(self):
        design = text_of("docs/design.md")
        for header in (PROJECT / "include/dmasync").rglob("*.hpp"):
            if "detail" not in header.parts and header.stem not in ("dmasync", "version"):
                self.assertIn(f"`{header.stem}`", design, header.name)


class Recipes(unittest.TestCase):
    """CONTRIBUTING.md says which files a new value of a kind takes: the present ones are named in these headers only."""

    VALUES = {
        "an access type": r"\bdma_write\b",
        "a kind of memory": r"memory_kind::(udmabuf|dma_heap)\b",
        "an event loop": r"\bepoll_loop\b",
    }

    def test_the_values_of_a_kind_are_named_only_where_the_recipe_says(self):
        for what, value in self.VALUES.items():
            row = re.search(rf"^\| {what} \| (.*) \|$", text_of("CONTRIBUTING.md"), re.MULTILINE)[1]
            recipe = {name for name in re.findall(r"`([\w/]+\.hpp)`", row) if not name.startswith("tests/")}
            headers = PROJECT / "include/dmasync"
            naming = {str(header.relative_to(headers)) for header in headers.rglob("*.hpp")
                      if re.search(value, header.read_text(encoding="utf-8"))}
            self.assertEqual(naming, recipe, what)

    def test_the_event_loops_are_listed_once_for_all_tests(self):
        lists = [str(path.relative_to(PROJECT)) for pattern in ("*.cpp", "*.hpp")
                 for path in (PROJECT / "tests").rglob(pattern)
                 if re.search(r"\buring_loop, (dmasync::)?epoll_loop\b", path.read_text(encoding="utf-8"))]
        self.assertEqual(lists, ["tests/support/every_loop.hpp"])


if __name__ == "__main__":
    unittest.main()
