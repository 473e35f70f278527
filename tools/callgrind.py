# SPDX-License-Identifier: MIT
"""Counts instructions with valgrind: how many a program needs in all, and in which file of source they are."""

import collections
import concurrent.futures
import os
import pathlib
import re
import shutil
import subprocess
import sys
import tempfile

WARM_UP, COUNTED = 20_000, 10_000  # caches, pools and whatever else settles do not count
SKIPPED = 77


def skip(why):
    print(f"[skipped] {why}")
    sys.exit(SKIPPED)


def skip_without_valgrind():
    if shutil.which("valgrind") is None:
        skip("there is no valgrind; Debian and Ubuntu: apt-get install valgrind")


def describe(program):
    """How the program was built, and its operations: what it says when it is asked for nothing."""
    build, *operations = subprocess.run([program], stdout=subprocess.PIPE, text=True, check=True).stdout.splitlines()
    return build, operations


def run(program, operation, times, report=os.devnull):
    """How many instructions the program needs in all; `report` is told where."""
    command = ["valgrind", "--tool=callgrind", f"--callgrind-out-file={report}", program, operation, str(times)]
    ran = subprocess.run(command, capture_output=True, text=True, check=False)
    found = re.search(r"Collected : (\d+)", ran.stderr)
    if ran.returncode != 0 or found is None:
        sys.exit(f"valgrind could not count {operation}:\n{ran.stderr}")
    return int(found[1])


def read_report(text):
    """A report's instructions by file of source; None for those without."""
    names, by_file, current, of_call = {}, collections.Counter(), None, False
    for line in text.splitlines():
        if named := re.match(r"c?f[lie]=\((\d+)\)(?: (.*))?$", line):
            number, name = named.groups()
            if name is not None:
                names[number] = name
            if not line.startswith("c"):
                current = names[number]
        elif line.startswith("calls="):
            of_call = True  # the next line is what was called
        elif cost := re.match(r"(?:[+-]?\d+|\*) (\d+)$", line):
            if not of_call:
                by_file[None if current == "???" else current] += int(cost[1])
            of_call = False
    return by_file


def run_by_file(program, operation, times):
    with tempfile.TemporaryDirectory() as folder:
        report = pathlib.Path(folder) / "report"
        run(program, operation, times, report)
        return read_report(report.read_text(encoding="utf-8"))


def per_operation(measure, program, operations):
    """What `measure(program, operation, times)`, a number or a Counter, comes to for one of each operation."""
    with concurrent.futures.ThreadPoolExecutor(len(os.sched_getaffinity(0))) as pool:
        short = {o: pool.submit(measure, program, o, WARM_UP) for o in operations}
        long = {o: pool.submit(measure, program, o, WARM_UP + COUNTED) for o in operations}

        def difference(operation):
            before, after = short[operation].result(), long[operation].result()
            if isinstance(after, collections.Counter):
                return {key: (after[key] - before[key]) / COUNTED for key in after}
            return (after - before) / COUNTED

        return {o: difference(o) for o in operations}
