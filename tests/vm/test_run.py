#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""Tests of the test machine's scripts themselves. Each start of the machine takes a while: one command shows much."""

import os
import pathlib
import subprocess
import sys
import tempfile
import unittest

HERE = pathlib.Path(__file__).resolve().parent
SKIPPED = 77


def run(*arguments, script="run", **options):
    options = {"capture_output": True, "text": True, "check": False, "stdin": subprocess.DEVNULL, **options}
    return subprocess.run([sys.executable, HERE / script, *arguments], **options)


class InTemporaryFolder(unittest.TestCase):
    def setUp(self):
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.folder = pathlib.Path(folder.name)


class Run(InTemporaryFolder):
    def test_a_command_has_its_surroundings_and_what_it_leaves_comes_back(self):
        script = """pwd; id -u; echo "$DMASYNC_WORD"; cat "$1"; printf 'a\\0b' >&2
                    echo kept >"$DMASYNC_VM_SCRATCH/file"; sleep 1000 & exit 7"""
        argument = self.folder / "argument"
        argument.write_text("shown\n", encoding="utf-8")
        result = run("--scratch", self.folder / "scratch", "--", "sh", "-c", script, "sh", argument,
                     cwd=self.folder, env={**os.environ, "DMASYNC_WORD": "two 'words'"})
        self.assertEqual(result.stdout.splitlines(), [str(self.folder), "0", "two 'words'", "shown"], result.stderr)
        self.assertEqual(result.stderr, "a\0b")
        self.assertEqual((self.folder / "scratch" / "file").read_text(encoding="utf-8"), "kept\n")
        self.assertEqual(result.returncode, 7)

    def test_after_the_time_limit_the_machine_is_ended_and_the_kernels_messages_are_shown(self):
        console, temporary = self.folder / "console", self.folder / "temporary"
        temporary.mkdir()
        result = run("--timeout", "1", "--console", console, "--", "sleep", "1000",
                     env={**os.environ, "TMPDIR": str(temporary)})
        self.assertEqual(result.returncode, 124, result.stderr)
        self.assertIn("| [", result.stderr)
        self.assertIn("did not end within the time limit", result.stderr)
        self.assertIn("Linux version", console.read_text(encoding="utf-8", errors="replace"))
        self.assertEqual(list(temporary.iterdir()), [])

    def test_a_machine_that_does_not_start_is_no_failure_of_the_command(self):
        built = subprocess.run([HERE / "build-kernel"], capture_output=True, text=True, check=True).stdout
        kernel = self.folder / "dmasync" / pathlib.Path(built).parent.name / "bzImage"
        kernel.parent.mkdir(parents=True)
        kernel.write_text("no kernel", encoding="utf-8")
        result = run("--", "true", env={**os.environ, "XDG_CACHE_HOME": str(self.folder)})
        self.assertEqual(result.returncode, 125, result.stderr)
        self.assertIn("broke down", result.stderr)


class Without(InTemporaryFolder):
    """Where there can be no machine."""

    def setUp(self):
        super().setUp()
        self.environment = {"PATH": str(self.folder)}

    def test_a_command_is_skipped_and_the_reason_is_said(self):
        result = run("--", "true", env=self.environment)
        self.assertEqual((result.returncode, result.stdout),
                         (SKIPPED, "[skipped] qemu-system-x86_64 is not installed\n"))

    def test_every_suite_is_skipped(self):
        results = ("--results", self.folder / "results")
        self.assertEqual(run("run", *results, "a=true", "b=true", script="suites", env=self.environment).returncode, SKIPPED)
        shown = run("show", *results, "b", script="suites")
        self.assertEqual(shown.returncode, SKIPPED)
        self.assertIn("[skipped] qemu", shown.stdout)


if __name__ == "__main__":
    if run("--check").returncode == SKIPPED:
        print(run("--check").stdout, end="")
        sys.exit(SKIPPED)
    unittest.main()
