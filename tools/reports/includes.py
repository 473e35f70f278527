# SPDX-License-Identifier: MIT
"""What it costs to include dmasync: seconds to compile, and lines after preprocessing.

Beside it stands what else a program with coroutines might include; what is not installed is left out."""

import json
import os
import pathlib
import shutil
import statistics
import subprocess
import tempfile
import time

from . import PROJECT, Part, table

STANDARD = "\n".join(f"#include <{name}>" for name in
                     ("algorithm", "chrono", "coroutine", "functional", "memory", "mutex", "optional", "stop_token",
                      "string", "thread", "vector"))
SOURCES = {
    "the standard headers of such a program": STANDARD,
    "`<dmasync/dmasync.hpp>`": "#include <dmasync/dmasync.hpp>",
    "`<dmasync/dmasync.hpp>`, `DMASYNC_WITHOUT_URING`": "#define DMASYNC_WITHOUT_URING\n#include <dmasync/dmasync.hpp>",
    "`<asio.hpp>`": "#include <asio.hpp>",
}


def measure(compiler, sources, repetitions):
    """Yields what, seconds and lines; compiles in turns, so that all see the same noise."""
    command = [compiler, "-std=c++20", f"-I{PROJECT / 'include'}", "-x", "c++"]
    with tempfile.TemporaryDirectory() as folder:
        files = {}
        for number, (what, text) in enumerate(sources.items()):
            file = pathlib.Path(folder) / f"{number}.cpp"
            file.write_text(text + "\n", encoding="utf-8")
            preprocessed = subprocess.run([*command, "-E", "-P", file], capture_output=True, text=True, check=False)
            if preprocessed.returncode == 0:
                files[what] = (file, sum(1 for line in preprocessed.stdout.splitlines() if line.strip()))
        seconds = {what: [] for what in files}
        for _ in range(repetitions):
            for what, (file, _) in files.items():
                start = time.monotonic()
                subprocess.run([*command, "-c", file, "-o", os.devnull], check=True)
                seconds[what].append(time.monotonic() - start)
        for what, (_, lines) in files.items():
            yield what, statistics.median(seconds[what]), lines


def make(request):
    rows = list(measure(shutil.which("g++") or "c++", SOURCES, request.repetitions or 7))
    request.out.write_text(json.dumps(rows), encoding="utf-8")


def texts(kept):
    return {"": table(["include", "seconds", "lines"],
                      [[what, f"{seconds:.2f}", str(lines)] for what, seconds, lines in json.loads(kept)])}


PART = Part("docs/performance.md", "g++ without optimisation, seven times", make, texts)
