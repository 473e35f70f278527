# SPDX-License-Identifier: MIT
"""What a trace costs a lock, in multiples of `ref`."""

import json
import statistics
import subprocess

from . import Part

ROWS = [
    ("not compiled in (`DMASYNC_TRACE=0`)", "trace_out", "lock_untraced"),
    ("compiled in, not traced", "trace", "lock_untraced"),
    ("recorded", "trace", "lock_traced"),
]
SIZES = (1, 4)


def times_of(program):
    """Nanoseconds by name, in one run."""
    command = [program, "--benchmark_format=json", "--benchmark_min_time=0.05", "--benchmark_enable_random_interleaving=true"]
    results = json.loads(subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, check=True).stdout)
    return {entry["run_name"]: entry["cpu_time"] for entry in results["benchmarks"]}


def table(multiples):
    """`multiples`: of ref, by program and benchmark."""
    lines = ["| one lock and unlock | a set of 1 | a set of 4 |", "|---|---|---|"]
    for label, program, name in ROWS:
        lines.append(f"| {label} | " + " | ".join(f"{multiples[program, f'{name}<{n}>']:.2f} x" for n in SIZES) + " |")
    return "\n".join(lines)


def make(request):
    """Runs the benchmark without the trace and with it in turns, so that both see the same noise of the machine."""
    found = {}
    for _ in range(request.repetitions or 21):
        for program in "trace_out", "trace":
            times = times_of(request.build / f"bench/dmasync_bench_{program}")
            for name, time in times.items():
                found.setdefault((program, name), []).append(time / times["ref"])
    request.out.write_text(json.dumps([[*key, statistics.median(values)] for key, values in found.items()]), encoding="utf-8")


def texts(kept):
    return {"": table({(program, name): multiple for program, name, multiple in json.loads(kept)})}


PART = Part("docs/observability.md", "bench/bench_trace with and without DMASYNC_TRACE", make, texts)
