#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""What is written for Perfetto is what has happened: test_json.py MAKE_TRACE."""

import collections
import json
import pathlib
import subprocess
import sys
import tempfile
import unittest

MAKE_TRACE = pathlib.Path(sys.argv[1]).resolve()
ACCESSES = {"read", "write", "read_write", "dma_read", "dma_write", "dma_read_write"}


class Trace:
    """A trace that make_trace writes, parsed."""

    def __init__(self, what):
        with tempfile.TemporaryDirectory() as folder:
            subprocess.run([MAKE_TRACE, what, folder], check=True)
            text = (pathlib.Path(folder) / "trace.json").read_bytes().decode("utf-8")  # strictly
            self.trace = json.loads(text)
            self.expected = json.loads((pathlib.Path(folder) / "expected.json").read_text(encoding="utf-8"))
        self.events = self.trace["traceEvents"]
        self.slices = [e for e in self.events if e["ph"] == "X"]
        self.instants = [e for e in self.events if e["ph"] == "i"]

    def named(self, what):
        return {e["pid"]: e["args"]["name"] for e in self.events if e["ph"] == "M" and e["name"] == what}


class Json(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.all = {what: Trace(what) for what in ("story", "many", "lossy")}

    def test_every_hold_every_wait_and_every_event_is_in_it(self):
        for what in "story", "many":
            trace = self.all[what]
            kinds = collections.Counter(e["cat"] for e in trace.slices)
            with self.subTest(what=what):
                self.assertEqual(kinds["hold"], trace.expected["holds"])
                self.assertEqual(kinds["wait"], trace.expected["waits"])
                self.assertEqual(kinds["fence"], trace.expected["fences"])
                self.assertEqual(len(trace.instants), trace.expected["marks"])

    def test_it_counts_as_many_locks_as_the_domain(self):
        for what in "story", "many":
            trace = self.all[what]
            with self.subTest(what=what):
                self.assertEqual(trace.trace["otherData"]["locks"], trace.expected["locks"])
                self.assertEqual(trace.trace["otherData"]["records lost"], 0)

    def test_what_has_been_overwritten_is_told(self):
        trace = self.all["lossy"]
        self.assertGreater(trace.expected["lost"], 0)
        self.assertEqual(trace.trace["otherData"]["records lost"], trace.expected["lost"])
        self.assertEqual(trace.trace["otherData"]["records"], trace.expected["lost"] + 512)

    def test_slices_of_one_lane_do_not_overlap(self):
        for what, trace in self.all.items():
            lanes = collections.defaultdict(list)
            for e in trace.slices:
                lanes[e["pid"], e["tid"]].append((e["ts"], e["ts"] + e["dur"]))
            with self.subTest(what=what):
                for lane in lanes.values():
                    lane.sort()
                    for (_, end), (begin, _) in zip(lane, lane[1:]):
                        self.assertLessEqual(end, begin + 1e-6)

    def test_every_buffer_has_its_name_whatever_it_is(self):
        trace = self.all["story"]
        names = trace.named("process_name")
        self.assertEqual(len(names), trace.expected["buffers"])
        self.assertEqual({e["pid"] for e in trace.slices} - set(names), set())
        hostile = "</script><b>\"'&\\\ufffd\u2028 \n\ufffd (media)"
        self.assertEqual(list(names.values()), ["camera (media)", hostile, "screen (media)", "unused (media)"])

    def test_every_slice_says_what_it_is(self):
        for trace in self.all.values():
            for e in trace.slices:
                self.assertIn(e["args"]["access"], ACCESSES)
                self.assertGreaterEqual(e["dur"], 0)
                self.assertTrue(e["cname"])

    def test_how_the_story_ended_is_told(self):
        ends = collections.Counter(e["args"]["ended by"] for e in self.all["story"].slices)
        self.assertEqual(ends["expired"], 1)
        self.assertEqual(ends["device done"], 1)
        self.assertEqual(ends["gave up"], 1)
        self.assertEqual(ends["changed"], 1)
        kinds = sorted(e["name"].split(":")[0] for e in self.all["story"].instants)
        self.assertEqual(kinds, ["expired", "lent", "refused", "renewed", "wounded"])


if __name__ == "__main__":
    unittest.main(argv=sys.argv[:1])
