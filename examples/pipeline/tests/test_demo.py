#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""Tests of ./demo in a copy of what it needs, with the program that is built already: test_demo.py PROJECT PROGRAM."""

import json
import pathlib
import re
import shlex
import shutil
import subprocess
import sys
import tempfile
import unittest

PROJECT, PROGRAM = (pathlib.Path(argument).resolve() for argument in sys.argv[1:3])
sys.path.insert(0, str(PROJECT / "tools"))
sys.dont_write_bytecode = True
import webdriver  # noqa: E402


def video(width, height):
    return b"YUV4MPEG2 W%d H%d F25:1 Ip C444\n" % (width, height) + 3 * (b"FRAME\n" + bytes(width * height * 3))


class Demo(unittest.TestCase):
    def setUp(self):
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.folder = pathlib.Path(folder.name).resolve() / "a folder"
        self.output = self.folder / "demo-output"
        (self.folder / "tools").mkdir(parents=True)
        shutil.copy(PROJECT / "demo", self.folder)
        self.command("tools/install-missing", "exit 0")
        self.command("tools/cmake", "exit 0")
        program = self.folder / "build/demo/examples/pipeline/dmasync_pipeline"
        program.parent.mkdir(parents=True)
        program.symlink_to(PROGRAM)
        (self.folder / "examples").symlink_to(PROJECT / "examples")

    def command(self, name, script):
        (self.folder / name).write_text(f"#!/bin/sh\n{script}\n", encoding="utf-8")
        (self.folder / name).chmod(0o755)

    def write(self, name, content):
        path = self.folder / name
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(content)
        return path

    def demo(self, *arguments):
        return subprocess.run(
            [self.folder / "demo", *arguments],
            env={"PATH": f"{self.folder}/tools:/usr/bin:/bin"},
            cwd=self.folder,
            capture_output=True,
            text=True,
            check=False,
        )

    def lines_of(self, *arguments):
        result = self.demo(*arguments)
        self.assertEqual(result.returncode, 0, result.stderr)
        return result.stdout.splitlines()

    def told(self, label, lines):
        """The words that follow `label` in the line that has it."""
        [line] = [line for line in lines if label in line]
        return shlex.split(line.split(label, 1)[1])

    def test_it_tells_absolute_names_that_a_shell_understands(self):
        self.write("my film.y4m", video(4, 4))
        lines = self.lines_of("my film.y4m")
        self.assertEqual(self.told("Video", lines), [str(self.output / "my film.result.y4m")])
        self.assertEqual(self.told("Contact sheet", lines), [str(self.output / "my film.result.png")])
        self.assertEqual(self.told("play it:", lines)[:2], ["ffplay", str(self.output / "my film.result.y4m")])
        for name in self.told("Video", lines) + self.told("Contact sheet", lines):
            self.assertTrue(pathlib.Path(name).is_file())

    def test_the_traces_tell_of_every_lock_that_the_summary_counts(self):
        result = self.demo()
        self.assertEqual(result.returncode, 0, result.stderr)
        [perfetto] = self.output.glob("*.json")
        trace = json.loads(perfetto.read_text(encoding="utf-8"))
        locked = int(re.search(r"(\d+) sets of frames locked", result.stderr)[1])
        self.assertEqual(trace["otherData"]["locks"], locked)
        self.assertEqual(trace["otherData"]["records lost"], 0)
        self.assertEqual(len({e["args"]["lock"] for e in trace["traceEvents"] if e.get("cat") == "hold"}), locked)
        lines = result.stdout.splitlines()
        [page] = self.told("Timeline", lines)
        [stalled] = self.told("With a hang", lines)
        self.assertIn("denoise", pathlib.Path(page).read_text(encoding="utf-8"))
        if why := webdriver.missing():
            print("[skipped] the pages of the demo in a browser: " + why)
            return
        with webdriver.Browser() as browser:
            browser.open(page)
            self.assertEqual(browser.run("return +document.documentElement.dataset.drawn"), trace["otherData"]["slices"])
            browser.open(stalled)
            self.assertIn("1 lease expired", browser.run('return document.getElementById("summary").textContent'))
            # the label is cut where its slice is short, as on a slow machine
            self.assertIn("analyse wait", browser.run('return document.getElementById("chart").textContent'))
            self.assertEqual(browser.messages(), [])

    def test_the_lease_that_it_tells_how_to_see_is_seen(self):
        self.write("film.y4m", video(4, 4))
        command = self.told("See a lease", self.lines_of("film.y4m"))
        result = subprocess.run(command, capture_output=True, text=True, check=False)
        self.assertIn("lease expired: set 'denoise'", result.stderr)

    def test_with_the_clip_a_stage_hangs_and_the_result_is_the_same(self):
        result = self.demo()
        self.assertEqual(result.returncode, 0, result.stderr)
        self.assertRegex(result.stderr, "lease expired: set 'denoise' .*[1-9] waiter")
        self.assertIn("the result is the same, byte by byte", result.stdout)

    def test_only_odd_sides_are_padded_in_the_conversion(self):
        self.write("even.y4m", video(4, 4))
        self.write("odd.y4m", video(4, 5))
        self.assertNotIn("-vf", self.told("convert it:", self.lines_of("even.y4m")))
        self.assertIn("pad=ceil(iw/2)*2:ceil(ih/2)*2", self.told("convert it:", self.lines_of("odd.y4m")))

    def test_a_result_replaces_neither_an_input_nor_the_result_of_another_one(self):
        one = self.write("one/film.y4m", video(4, 4))
        two = self.write("two/film.y4m", video(8, 8))
        [first] = self.told("Video", self.lines_of(one))
        [second] = self.told("Video", self.lines_of(two))
        [third] = self.told("Video", self.lines_of(first))
        self.assertEqual(self.told("Video", self.lines_of(one)), [first])
        self.assertEqual(self.told("Video", self.lines_of(two)), [second])
        self.assertEqual(len({first, second, third}), 3)

    def test_the_commands_of_the_pages_work_where_they_say(self):
        for page in "media", "pipeline":
            text = (PROJECT / "examples" / page / "README.md").read_text(encoding="utf-8")
            commands = re.findall(r"^ *((?:gunzip|cmp) .*)$", text, re.MULTILINE)
            self.assertTrue(commands)
            for command in commands:
                result = subprocess.run(command, shell=True, cwd=self.folder, capture_output=True, text=True, check=False)
                self.assertEqual(result.returncode, 0, f"{command}: {result.stderr}")

    def test_the_options_of_the_page_are_those_of_the_program(self):
        page = (PROJECT / "examples/pipeline/README.md").read_text(encoding="utf-8")
        usage = subprocess.run([PROGRAM, "--help"], capture_output=True, text=True, check=True).stdout
        told = re.findall(r"^\| `(--[a-z-]+)", page, re.MULTILINE)
        self.assertEqual(told + ["--help"], re.findall(r"^  (--[a-z-]+)", usage, re.MULTILINE))

    def test_a_wrong_command_line_is_refused(self):
        for arguments in ["--fast"], ["one", "two"]:
            result = self.demo(*arguments)
            self.assertEqual(result.returncode, 2)
            self.assertIn("usage:", result.stderr)
        for arguments, why in ([""], "the name of FILE is empty"), (["none.y4m"], "there is no file"):
            result = self.demo(*arguments)
            self.assertEqual(result.returncode, 1)
            self.assertIn(why, result.stderr)


if __name__ == "__main__":
    unittest.main(argv=sys.argv[:1])
