# SPDX-License-Identifier: MIT
"""What the claims of docs/proof.md are shown by. The presets dev, release and asan-ubsan have to be built."""

import json
import os
import re
import subprocess
import sys

from . import PROJECT, Part, table


# name: the command, as it is typed in the project's folder; {out} is the file that keeps what it gives.
COMMANDS = {
    "model": "proof/run --full --report {out}",
    "simulation": "build/dev/tests/sim/dmasync_sim --seeds 1000000 1000000 > {out}",
    "simulation-mutants": "tests/sim/mutants --all > {out}",
    "interleavings": "build/dev/tests/interleaving/dmasync_interleaving "
                     "$(ls tests/interleaving | sed -n 's/^program_\\(.*\\).cpp$/\\1/p') > {out}",
    "interleaving-mutants": "build/dev/tests/interleaving/dmasync_interleaving --mutants > {out}",
    "fuzzing": "ctest --preset asan-ubsan -L fuzz --output-on-failure && grep . build/asan-ubsan/tests/fuzz/*.stats > {out}",
    "stress": "DMASYNC_STRESS_SECONDS=60 build/release/tests/dmasync_stress_transactions > {out}",
    "batches": "build/release/bench/dmasync_bench_transactions --benchmark_repetitions=9 --benchmark_min_time=0.1 "
               "--benchmark_report_aggregates_only=true --benchmark_format=json > {out}",
}


def grouped(number):
    return "-" if number is None else f"{int(number):,}"


def pairs(line):
    """Reads `a 1 b 2` as {a: 1, b: 2}."""
    words = line.split()
    return dict(zip(words[::2], words[1::2]))


def model(text):
    rows = json.loads(text)
    shown = [[f"`{r['name']}`", r["size"], str(r["events"]), *(grouped(r[k]) for k in ("states", "depth", "transitions", "megabytes")),
              f"{r['seconds']:.1f}", ("" if r["passed"] else "FAILED: ") + r["result"]] for r in rows]
    head = ["configuration", "acquisitions x buffers", "events", "states", "depth", "transitions", "MB", "CPU s", "result"]
    models = [s for r, s in zip(rows, shown) if not r["mutant"]]
    mutants = [s for r, s in zip(rows, shown) if r["mutant"]]
    return {"models": table(head, models), "mutants": table(head, mutants)}


def simulation(text):
    line = next(l for l in text.splitlines() if l.startswith("sim seeds"))
    words = {name.replace("_", " "): value for name, value in pairs(line.removeprefix("sim ")).items()}
    longest = words.pop("longest wait of oldest in leases")
    del words["hash"]
    counts = [[name, grouped(value)] for name, value in words.items()]
    return table(["in all", ""], counts) + f"\n\nLongest wait of the oldest acquisition: {longest} leases."


def simulation_mutants(text):
    rows = re.findall(r"^found after +(\d+) seeds: (.*?): ([SR]\d[^:]*|\w+): .*$", text, re.MULTILINE)
    total, killed = re.search(r"^mutants (\d+) killed (\d+)$", text, re.MULTILINE).groups()
    return (table(["fault", "seeds", "what is violated"], [[what, grouped(n), rule] for n, what, rule in rows]) +
            f"\n\n{killed} of {total} are found.")


def interleavings(text):
    rows = re.findall(r"^interleave (?!checker)(\S+) schedules (\d+) mode (\S+)$", text, re.MULTILINE)
    total = sum(int(n) for _, n, _ in rows)
    shown = [[f"`{name}`", grouped(n), mode] for name, n, mode in rows]
    return table(["program", "schedules", "search"], shown) + f"\n\n{grouped(total)} schedules in all."


def interleaving_mutants(text):
    rows = re.findall(r"^mutant (caught|SURVIVED) (.*) (\S+) after (\d+) schedules", text, re.MULTILINE)
    caught = sum(verdict == "caught" for verdict, *_ in rows)
    shown = [[what, f"`{program}`", grouped(n)] for _, what, program, n in rows]
    return table(["weakened", "noticed by", "after schedules"], shown) + f"\n\n{caught} of {len(rows)} are caught."


def fuzzing(text):
    stats = {}
    for name, key, value in re.findall(r"(\w+)\.stats:(\w+) (\d+)$", text, re.MULTILINE):
        stats.setdefault(name, {})[key] = grouped(value)
    rows = [[f"`{name}`"] + [values[k] for k in ("executions", "edges", "files", "seconds")] for name, values in stats.items()]
    return table(["what is fed", "executions", "edges", "files", "seconds"], rows)


def stress(text):
    rows = []
    for line in re.findall(r"stress (\S+ threads .*)$", text, re.MULTILINE):
        name, rest = line.split(" ", 1)
        values = pairs(rest)
        values.pop("seed")
        rows.append([f"{name}, {'wait-die' if values['deaths'] != '0' else 'wound-wait'}"] +
                    [grouped(v) for v in values.values()] +
                    [f"{(int(values['wounds']) + int(values['deaths'])) / int(values['transactions']):.4f}"])
        head = [name.replace("_", " ") for name in values] + ["wounds or deaths per transaction"]
    return table(["", *head], rows)


def batches(text):
    found = {b["run_name"]: b for b in json.loads(text)["benchmarks"] if b.get("aggregate_name") == "median"}
    rows = []
    for how, at in (("in turns on one loop", "in_turns"), ("on threads", "on_threads")):
        for policy in ("wound_wait", "wait_die"):
            row = [f"{how}, {policy.replace('_', '-')}"]
            for n in (2, 4, 16):
                b = next(v for k, v in found.items() if k.startswith(f"{at}<{policy}, {n}>"))
                row.append(f"{b['rollbacks']:.2f}, {100 * b['wasted_locks']:.0f} %, {b['us_per_batch']:.0f} us")
            rows.append(row)
    return table(["", "2 at once", "4 at once", "16 at once"], rows)


def make(name):
    def run(request):
        command = COMMANDS[name].format(out=request.out)
        print(command, file=sys.stderr)
        environment = {**os.environ, "PYTHONDONTWRITEBYTECODE": "1"}
        if subprocess.run(command, shell=True, cwd=PROJECT, env=environment, check=False).returncode != 0:
            sys.exit(f"tools/report: {name} failed; what it said is in {request.out}")

    return run


def texts(name):
    function = globals()[name.replace("-", "_")]

    def of(kept):
        text = function(kept)
        return text if isinstance(text, dict) else {"": text}

    return of


PARTS = {name: Part("docs/proof.md", command.format(out="FILE"), make(name), texts(name)) for name, command in COMMANDS.items()}
