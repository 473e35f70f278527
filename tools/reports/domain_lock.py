# SPDX-License-Identifier: MIT
"""What the lock of a domain could be made of: what each costs, and what a real-time thread sees that preempts its holder."""

import json
import re
import subprocess
import sys

from . import PROJECT, Part, table

REFERENCE = "ref"
COLUMNS = {
    "one thread": "one_thread<schemes::{}>",
    "2 threads": "several_threads<schemes::{}>/real_time/threads:2",
    "8 threads": "several_threads<schemes::{}>/real_time/threads:8",
}
REFUSED = 77


def schemes():
    """Names in the programs, and what they are called."""
    source = (PROJECT / "bench/lock_schemes.hpp").read_text(encoding="utf-8")
    return re.findall(r"^(?:class|struct) (\w+)[^{]*\{\s*(?:public:\s*)?static constexpr const char\* what = \"([^\"]+)\";",
                      source, re.MULTILINE)


def run_benchmark(program, repetitions):
    command = [program, "--benchmark_format=json", f"--benchmark_repetitions={repetitions}",
               "--benchmark_enable_random_interleaving=true", "--benchmark_min_time=0.1",
               "--benchmark_report_aggregates_only=true"]
    return json.loads(subprocess.run(command, stdout=subprocess.PIPE, check=True).stdout)


def medians(results):
    return {entry["run_name"]: entry["real_time"] for entry in results["benchmarks"]
            if entry.get("aggregate_name") == "median"}


def cost_table(times):
    rows = []
    for name, what in schemes():
        ratios = [times[column.format(name)] / times[REFERENCE] for column in COLUMNS.values()]
        rows.append([what, *(f"{ratio:.2f}" for ratio in ratios)])
    return table(["the lock", *COLUMNS], rows)


def make(request):
    repetitions, rounds = request.repetitions or 9, (request.repetitions or 25)
    folder = request.build / "bench"
    results = run_benchmark(folder / "dmasync_bench_domain_lock", repetitions)
    preemption = subprocess.run([folder / "dmasync_rt_preemption", str(rounds)], stdout=subprocess.PIPE, text=True, check=False)
    if preemption.returncode not in (0, REFUSED):
        sys.exit(preemption.returncode)
    if preemption.returncode == REFUSED:
        print(preemption.stdout, file=sys.stderr)
    request.out.write_text(json.dumps({
        "times": medians(results), "processors": results["context"]["num_cpus"], "repetitions": repetitions, "rounds": rounds,
        "preemption": preemption.stdout.rstrip("\n") if preemption.returncode == 0 else None}), encoding="utf-8")


def texts(kept):
    """Where real-time threads are refused, their table stays as it is."""
    found = json.loads(kept)
    made = {
        "machine": f"{found['processors']} processors; ref = {found['times'][REFERENCE]:.3g} ns; medians of "
                   f"{found['repetitions']} repetitions in one run, and of {found['rounds']} rounds.",
        "costs": cost_table(found["times"]),
    }
    return made | ({"preemption": found["preemption"]} if found["preemption"] else {})


PART = Part("docs/performance.md", "bench/bench_domain_lock, and bench/rt_preemption: as root, or with ulimit -r", make, texts)
