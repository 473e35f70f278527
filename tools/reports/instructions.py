# SPDX-License-Identifier: MIT
"""The budgets of instructions, and for what the instructions of an operation are.

Shares are counted as tools/instruction-budget counts, but by file of source, inlined or not; files with the same purpose are
taken together. A share below 1 % is under `the rest`."""

import collections
import json
import sys

import callgrind

from . import PROJECT, Part
from . import table as table_of

OPERATIONS = ["lock_1", "lock_4", "lock_16", "lock_set_4", "single_1", "hand_over", "transaction_4"]

# purpose: the headers, below include/dmasync
PARTS = {
    "what stands in the coroutine: requests, outcome": ["lock", "lock_set", "detail/lock/operation", "detail/lock/awaitable", "call_site", "transaction", "lock_options",
                                                        "run_transaction", "task", "error", "detail/base/failure"],
    "admission: look at each buffer, mark it, take the mark off": ["detail/policy/admission", "detail/policy/nodes", "detail/policy/marks",
                                                                    "detail/policy/wounding", "access_mode"],
    "steps of the domain": ["detail/domain/acquire", "detail/domain/core", "detail/domain/critical_section", "detail/domain/holds",
                            "detail/domain/leases", "detail/domain/transactions", "detail/domain/fences", "detail/domain/loans",
                            "detail/domain/brackets", "detail/domain/buffers", "detail/domain/callbacks"],
    "records of acquisitions, from the pool and back": ["detail/domain/claim", "detail/domain/claim_pool", "detail/domain/buffer_state", "detail/base/intrusive_list"],
    "the lock around it": ["detail/sync/biased_lock", "detail/sync/spin_lock", "detail/sync/threading"],
    "the lease: what is entered and left": ["detail/base/deadline_index", "detail/domain/clock"],
    "the loop: posts, turns": ["event_loop", "epoll_loop", "work", "detail/base/timer_heap", "detail/loop/wake_fd"],
    "the trace, off": ["detail/observe/tracepoints", "observe/trace", "detail/observe/trace_ring"],
    "the guard": ["guard", "buffer"],
}
PART_OF = {f"include/dmasync/{header}.hpp": part for part, headers in PARTS.items() for header in headers}
CLOCK = "the clock: the C library and the kernel's page"
LIBRARY = "inlined from the standard library"
CALLER = "the coroutine itself"
REST = "the rest"


def part_of(file):
    if file is None or "/sysdeps/" in file:
        return CLOCK
    for header, part in PART_OF.items():
        if file.endswith(header):
            return part
    if "/c++/" in file:
        return LIBRARY
    return CALLER if file.endswith("bench/instructions.cpp") else REST


def by_part(by_file):
    parts = collections.Counter()
    for file, instructions in by_file.items():
        parts[part_of(file)] += instructions
    total = sum(parts.values())
    small = [part for part, instructions in parts.items() if part != REST and instructions < total / 100]
    for part in small:
        parts[REST] += parts.pop(part)
    return parts


def table(shares):
    order = sorted({part for parts in shares.values() for part in parts} - {REST},
                   key=lambda part: -max(parts[part] / sum(parts.values()) for parts in shares.values()))
    rows = [[part, *(f"{parts[part]:.0f}" if parts[part] >= 0.5 else "" for parts in shares.values())] for part in [*order, REST]]
    rows.append(["**together**", *(f"**{sum(parts.values()):.0f}**" for parts in shares.values())])
    head = ["instructions", *(f"`{operation}`" for operation in shares)]
    return "\n".join("| " + " | ".join(row) + " |" for row in [head, ["---"] * len(head), *rows])


def read_budget(path=PROJECT / "bench/instructions.budget"):
    """The build that the budgets are of, and what each operation may need."""
    lines = [line.split("#")[0].strip() for line in path.read_text(encoding="utf-8").splitlines()]
    entries = dict(line.rsplit(None, 1) for line in lines if line and not line.startswith("build "))
    builds = [line.removeprefix("build ") for line in lines if line.startswith("build ")]
    if len(builds) != 1:
        sys.exit(f"{path}: {len(builds)} lines `build ...`, not one")
    return builds[0], {name: float(count) for name, count in entries.items()}


def budgets_table(build, budgets):
    return table_of([build, "instructions"], [[f"`{name}`", f"{needed:.0f}"] for name, needed in budgets.items()])


def make_shares(request):
    callgrind.skip_without_valgrind()
    counted = callgrind.per_operation(callgrind.run_by_file, request.build / "bench/dmasync_instructions", OPERATIONS)
    request.out.write_text(json.dumps({operation: list(files.items()) for operation, files in counted.items()}), encoding="utf-8")


def shares(kept):
    return {"": table({operation: by_part(dict(files)) for operation, files in json.loads(kept).items()})}


SHARES = Part("docs/performance.md", "bench/instructions.cpp under valgrind, by file of source", make_shares, shares)
BUDGETS = Part("docs/performance.md", "bench/instructions.budget",
               lambda request: request.out.write_text(json.dumps(read_budget()), encoding="utf-8"),
               lambda kept: {"": budgets_table(*json.loads(kept))}, quick=True)
