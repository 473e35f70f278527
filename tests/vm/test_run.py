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


def find_kernel():
    """The folder of the default kernel, which is there already when these tests run."""
    return pathlib.Path(subprocess.run([HERE / "kernel"], capture_output=True, text=True, check=True).stdout.strip())


def put_kernel(cache, like, image):
    """Puts a kernel into a cache, under the name of another; no more than its image is looked at."""
    folder = cache / "dmasync" / like.name
    (folder / "modules").mkdir(parents=True)
    (folder / "bzImage").write_text(image, encoding="utf-8")
    os.utime(folder, (0, 0))  # apt's lists are newer
    return folder


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
        put_kernel(self.folder, find_kernel(), "no kernel")
        result = run("--", "true", env={**os.environ, "XDG_CACHE_HOME": str(self.folder)})
        self.assertEqual(result.returncode, 125, result.stderr)
        self.assertIn("broke down", result.stderr)


class Kernel(InTemporaryFolder):
    """What tests/vm/kernel makes of what is in the cache; nothing is made here."""

    def setUp(self):
        super().setUp()
        self.made = find_kernel()
        self.commands = self.folder / "bin"
        self.commands.mkdir()
        self.environment = {"XDG_CACHE_HOME": str(self.folder), "PATH": f"{self.commands}:{os.environ['PATH']}"}

    def replace_command(self, name, script):
        (self.commands / name).write_text(f"#!/bin/sh\n{script}\n", encoding="utf-8")
        (self.commands / name).chmod(0o755)

    def replace_packages(self, version):
        """Debian has an image of this version, which cannot be downloaded."""
        name = f"linux-image-{version.partition('-')[0]}+deb12-amd64-unsigned"
        self.replace_command("apt-cache", f"case $* in *pkgnames*) echo {name};; *) echo Version: {version};; esac")
        self.replace_command("apt-get", "exit 100")

    def put_version(self, version):
        hashed = self.made.name[:-len(self.version())]
        return put_kernel(self.folder, pathlib.Path(hashed + version), "image")

    def version(self):
        return (self.made / "package").read_text(encoding="utf-8").strip()

    def kernel(self, *arguments):
        result = subprocess.run([HERE / "kernel", *arguments, "6.12"], capture_output=True, text=True, check=False,
                                env=self.environment)
        return result.returncode, result.stdout.strip(), result.stderr

    def test_the_newest_of_those_that_were_made_is_used_without_a_network(self):
        self.replace_packages("6.12.9-1")
        self.put_version("6.12.9-1")
        newest = self.put_version("6.12.10-1")
        self.assertEqual(self.kernel(), (0, str(newest), ""))

    def test_apt_is_not_asked_again_unless_its_lists_are_newer_than_its_answer(self):
        self.replace_packages("6.12.10-1")
        made = self.put_version("6.12.10-1")
        self.assertEqual(self.kernel(), (0, str(made), ""))
        answered = made.stat().st_mtime
        self.assertGreater(answered, 0)
        os.utime(made, (answered + 1e6, answered + 1e6))
        self.replace_packages("6.12.11-1")
        self.assertEqual(self.kernel(), (0, str(made), ""))

    def test_where_a_newer_package_cannot_be_had_an_older_kernel_is_used_and_that_is_said(self):
        self.replace_packages("6.12.10-1")
        older = self.put_version("6.12.9-1")
        status, output, errors = self.kernel()
        self.assertEqual((status, output), (0, str(older)), errors)
        self.assertIn(f"cannot be downloaded: staying with {older.name}", errors)

    def test_where_none_can_be_had_the_reason_is_said(self):
        self.replace_packages("6.12.10-1")
        status, output, errors = self.kernel()
        self.assertEqual((status, output), (SKIPPED, "[skipped] the lists of Debian's packages cannot be downloaded"), errors)
        self.assertEqual([path.name for path in (self.folder / "dmasync").iterdir() if path.is_dir()], [])

    def test_a_failure_shows_the_end_of_the_log_and_leaves_nothing_but_it(self):
        self.replace_packages("6.12.10-1")
        self.replace_command("apt-get", "exit 0")  # and has downloaded nothing
        status, output, errors = self.kernel()
        self.assertEqual((status, output), (1, ""), errors)
        self.assertIn("dpkg-deb: error", errors)
        self.assertEqual([path.name for path in (self.folder / "dmasync").iterdir() if path.is_dir()], [])

    def test_another_computer_is_told_why_there_is_none(self):
        self.replace_packages("6.12.10-1")
        self.replace_command("uname", "echo riscv64")
        for arguments in ([], ["--check"]):
            self.assertEqual(self.kernel(*arguments)[:2],
                             (SKIPPED, "[skipped] the test machine runs on x86_64 only"))

    def test_asking_whether_there_may_be_one_makes_none(self):
        self.replace_packages("6.12.10-1")
        self.assertEqual(self.kernel("--check"), (0, "", ""))
        self.assertFalse((self.folder / "dmasync").exists())


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
