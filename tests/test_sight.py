#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""examples/stuck.cpp says what is to blame, at which line, and docs/observability.md shows what it says. Takes the program."""

import json
import pathlib
import re
import subprocess
import sys
import unittest

PROJECT = pathlib.Path(__file__).resolve().parent.parent
PROGRAM = sys.argv.pop(1)
sys.dont_write_bytecode = True
sys.path.insert(0, str(PROJECT / "tools"))

SOURCE = (PROJECT / "examples/stuck.cpp").read_text(encoding="utf-8").splitlines()
PAGE = (PROJECT / "docs/observability.md").read_text(encoding="utf-8")
import reports  # noqa: E402
from reports import stuck as report  # noqa: E402


def run(*arguments):
    return subprocess.run([PROGRAM, *arguments], capture_output=True, text=True, check=True).stdout


def without_figures(text):
    """What is the same on every machine: no times, inodes, kinds of memory, nor the columns that depend on them."""
    text = re.sub(r"\b(memfd|udmabuf|dma_heap|dma_buf)\b", "MEMORY", text)
    text = re.sub(r"\d+(\.\d+)? (ns|us|ms|s)\b", "TIME", text)
    text = re.sub(r'"function": "[^"]*"', '"function": ""', text)  # each compiler has its own way to write it
    text = re.sub(r"(_ns\"?: |\"inode\": |\"device\": |\"user\": )\d+", r"\1N", text)
    text = re.sub(r"told \d+, saved \d+", "told N, saved N", re.sub(r"\d+:\d+/\d+", "IDENTITY", text))
    return re.sub(r"[ \t]+", " ", text)


def lines_of(code):
    """The numbers of the lines of the source with this in them."""
    return [i for i, line in enumerate(SOURCE, 1) if code in line]


class Culprit(unittest.TestCase):
    def test_who_hangs_is_named_with_the_line_that_locked(self):
        [line] = lines_of('.name = "archive"')
        last = report.reports(run())[0].splitlines()[-2:]
        self.assertRegex(last[0], rf"^  behind 'archive', which has held 'frame' to read for .*\(stuck\.cpp:{line}\)$")
        self.assertTrue(last[1].startswith("  'archive' does not move"), last[1])

    def test_who_waits_is_named_with_its_line(self):
        [line] = lines_of('.name = "preview"')
        self.assertRegex(run().splitlines()[0], rf"^stuck: 'preview' has waited .* \(stuck\.cpp:{line}\), in domain 'studio'$")

    def test_the_chain_goes_through_those_who_wait_themselves(self):
        second = report.reports(run())[1]
        self.assertEqual(re.findall(r"^(?:stuck:|  behind) '(\w+)'", second, re.MULTILINE), ["encode", "preview", "archive"])

    def test_each_wait_is_reported_once(self):
        self.assertEqual(len(report.reports(run())), 2)


class Cycle(unittest.TestCase):
    def test_two_that_wait_for_each_other_are_a_cycle_with_all_their_lines(self):
        [outer] = lines_of("lock(write(first)")
        [inner] = lines_of("lock(write(second)")
        text = report.reports(run("cycle"))[0]
        self.assertIn("\n  a cycle: ", text)
        places = [int(n) for n in re.findall(r"\(stuck\.cpp:(\d+)\)", text)]
        self.assertEqual(places, [inner, outer, inner, outer, inner])


class Json(unittest.TestCase):
    def test_it_can_be_parsed_and_followed_to_the_culprit(self):
        seen = json.loads(run("--json").splitlines()[-1])
        all_of_them = seen["acquisitions"]
        encode = next(a for a in all_of_them if a["set"] == "encode")
        self.assertEqual(all_of_them[encode["waits_for"][0]]["set"], "preview")
        archive = all_of_them[all_of_them[encode["waits_for"][0]]["waits_for"][0]]
        self.assertEqual((archive["set"], archive["state"], archive["lease_ns"]), ("archive", "held", None))
        self.assertEqual([archive["line"]], lines_of('.name = "archive"'))
        self.assertEqual(pathlib.PurePath(archive["file"]).name, "stuck.cpp")


class Page(unittest.TestCase):
    def test_it_shows_what_the_example_says(self):
        for name, text in report.sections(PROGRAM).items():
            with self.subTest(name=name):
                shown = reports.shown(PAGE, "stuck", name)
                self.assertEqual(without_figures(shown), without_figures(text))

    def test_every_counter_has_its_line(self):
        header = (PROJECT / "include/dmasync/domain_counters.hpp").read_text(encoding="utf-8")
        table = PAGE.split("\n## Counters")[1].split("\n## ")[0]
        for counter in re.findall(r"std::uint64_t (\w+)\b(?= =|\n)", header):
            if counter != "brackets_naive":
                self.assertIn(f"`{counter}", table)


if __name__ == "__main__":
    unittest.main()
