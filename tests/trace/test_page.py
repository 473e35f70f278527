#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""The page of a timeline in a browser: test_page.py MAKE_TRACE. Exits with 77 where there is no Chromium."""

import json
import pathlib
import re
import subprocess
import sys
import tempfile
import unittest
import xml.etree.ElementTree

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent.parent.parent / "tools"))
sys.dont_write_bytecode = True
import webdriver  # noqa: E402

MAKE_TRACE = pathlib.Path(sys.argv[1]).resolve()
HOSTILE = "</script><b>\"'&\\\ufffd\u2028 \n\ufffd"
SVG = "{http://www.w3.org/2000/svg}"


class Page(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        folder = tempfile.TemporaryDirectory()
        cls.addClassCleanup(folder.cleanup)
        cls.folder = pathlib.Path(folder.name)
        cls.expected = {}
        for what in "story", "many", "lossy":
            (cls.folder / what).mkdir()
            subprocess.run([MAKE_TRACE, what, cls.folder / what], check=True)
            cls.expected[what] = json.loads((cls.folder / what / "expected.json").read_text(encoding="utf-8"))
        cls.browser = webdriver.Browser()
        cls.addClassCleanup(cls.browser.__exit__)

    def open(self, what, view=""):
        self.browser.open("about:blank")
        self.browser.messages()
        self.browser.open(f"{self.folder / what / 'trace.html'}{view}")
        self.browser.settle()

    def run_script(self, script, *arguments):
        return self.browser.run(script, *arguments)

    def state(self):
        """What the page says that it shows, as numbers."""
        return {k: int(v) for k, v in self.run_script("return {...document.documentElement.dataset}").items()}

    def details(self):
        return self.run_script("""return Object.fromEntries([...document.querySelectorAll("#details dd")]
            .map(e => [e.dataset.field, e.textContent]));""")

    def number_of(self, condition):
        [index] = self.run_script(f"return timeline.slices.filter(s => {condition}).map(s => s.index)")
        return index

    def middle_of(self, index):
        self.run_script('document.querySelector(`[data-i="${arguments[0]}"]`).scrollIntoView({block: "center"})', index)
        box = self.run_script('return document.querySelector(`[data-i="${arguments[0]}"]`).getBoundingClientRect()', index)
        return box["x"] + box["width"] / 2, box["y"] + box["height"] / 2

    def all_slices(self, what):
        e = self.expected[what]
        return e["holds"] + e["waits"] + e["fences"]

    # ---- what is drawn ------------------------------------------------------------------------------------------------

    def test_it_draws_every_slice_and_nothing_goes_wrong(self):
        for what in "story", "many":
            with self.subTest(what=what):
                self.open(what)
                state = self.state()
                self.assertEqual(state["slices"], self.all_slices(what))
                self.assertEqual(state["drawn"], self.all_slices(what))
                shapes = self.run_script('return document.querySelectorAll("#chart rect.s").length')
                self.assertEqual(state["shapes"], shapes)
                self.assertEqual(self.browser.messages(), [])

    def test_a_slice_that_is_wide_enough_is_a_shape_of_its_own(self):
        self.open("story", "#0-9")
        self.assertEqual(self.state()["shapes"], self.state()["drawn"])

    def test_slices_that_are_too_many_for_the_pixels_share_a_shape(self):
        self.open("many")
        state = self.state()
        self.assertGreater(state["drawn"], 50000)
        self.assertLess(state["shapes"], state["drawn"] // 2)

    def test_only_what_is_in_view_is_drawn(self):
        self.open("many", "#10-10.5")
        state = self.state()
        begins = self.run_script("return timeline.slices.filter(s => s.until >= 10e6 && s.begin <= 10.5e6).length")
        self.assertGreater(begins, 100)
        self.assertEqual(state["drawn"], begins)

    def test_marks_are_drawn(self):
        self.open("story")
        marks = self.run_script('return [...document.querySelectorAll("[data-m]")].reduce((n, e) => n + +e.dataset.n, 0)')
        self.assertEqual(marks, self.expected["story"]["marks"])

    def test_every_buffer_has_a_row_with_its_name(self):
        self.open("many")
        names = self.run_script('return [...document.querySelectorAll("#chart > text:not(.dim)")].map(e => e.textContent)')
        self.assertEqual([n for n in names if n.startswith("buffer ")], [f"buffer {i}" for i in range(50)])

    def test_it_says_how_many_records_are_lost_and_shows_where(self):
        self.open("lossy")
        summary = self.run_script('return document.getElementById("summary").textContent')
        self.assertIn(f"{self.expected['lossy']['lost']:,} of ", summary)
        self.assertEqual(self.run_script('return document.querySelectorAll("#chart .lost").length'), 1)
        self.open("story")
        self.assertEqual(self.run_script('return document.querySelectorAll("#chart .lost").length'), 0)

    def test_it_is_dark_where_that_is_preferred(self):
        paper = "return getComputedStyle(document.body).backgroundColor"
        self.open("story")
        self.assertEqual(self.run_script(paper), "rgb(255, 255, 255)")
        with webdriver.Browser(dark=True) as browser:
            browser.open(self.folder / "story" / "trace.html")
            self.assertEqual(browser.run(paper), "rgb(13, 17, 23)")

    # ---- names stay text ----------------------------------------------------------------------------------------------

    def test_names_stay_text_whatever_they_are(self):
        self.open("story")
        index = self.number_of("timeline.tracks[s.track].index === 1 && s.mode === 3")
        self.run_script("timeline.choose(arguments[0])", index)
        self.assertEqual(self.run_script('return document.querySelectorAll("b").length'), 1)  # the lease in the summary
        self.assertEqual(self.run_script("return document.title"), re.sub("[ \n]+", " ", HOSTILE))
        self.assertEqual(self.run_script('return document.querySelector("h1").textContent'), HOSTILE)
        self.assertEqual(self.details()["buffer"], HOSTILE)
        self.assertEqual(self.details()["set"], HOSTILE)
        self.assertEqual(self.browser.messages(), [])

    def test_it_loads_nothing(self):
        self.open("story")
        self.assertEqual(self.run_script('return performance.getEntriesByType("resource").length'), 0)
        text = (self.folder / "story" / "trace.html").read_text(encoding="utf-8")
        self.assertIn("default-src 'none'", text)
        self.assertNotIn("src=", text.replace("default-src=", ""))

    # ---- details ------------------------------------------------------------------------------------------------------

    def test_a_click_on_a_hold_tells_everything_about_it(self):
        self.open("story", "#0-9")
        index = self.number_of("s.kind === 0 && timeline.tracks[s.track].name === 'camera' && s.mode === 1")
        self.browser.click(*self.middle_of(index))
        details = self.details()
        self.assertEqual(details["buffer"], "camera")
        self.assertEqual(details["set"], "show")
        self.assertEqual(details["access"], "read")
        self.assertEqual(details["from"], "2 ms")
        self.assertEqual(details["to"], "5 ms")
        self.assertEqual(details["lasted"], "3 ms")
        self.assertEqual(details["waited"], "2 ms, for capture")
        self.assertEqual(details["ended by"], "unlock")
        self.assertEqual(details["with"], "screen")
        self.assertRegex(details["thread"], r"\(\d+\)")

    def test_a_click_on_a_wait_tells_who_was_waited_for(self):
        self.open("story", "#0-9")
        self.browser.click(*self.middle_of(self.number_of("s.kind === 1 && s.mode === 1")))
        self.assertEqual(self.details()["what"], "waited in the queue")
        self.assertEqual(self.details()["waits for"], "capture (dma_write)")
        box = self.run_script("""return document.querySelector('#details [data-field="waits for"] button')
            .getBoundingClientRect();""")
        self.browser.click(box["x"] + 5, box["y"] + 5)
        self.assertEqual(self.details()["set"], "capture")
        self.assertEqual(self.details()["ended by"], "the device had finished")

    def test_how_holds_and_waits_end_is_told(self):
        self.open("story")
        for end, text in (5, "lease expired"), (7, "gave up: deadline passed"), (6, "went on with another access"):
            with self.subTest(text=text):
                index = self.run_script(f"return timeline.slices.find(s => s.end === {end}).index")
                self.run_script("timeline.choose(arguments[0])", index)
                self.assertIn(text.split(":")[0], self.details()["ended by"])

    def test_a_click_on_a_mark_tells_what_happened(self):
        self.open("story", "#1000-1010")
        box = self.run_script('return document.querySelector("#chart .mark.alarm").getBoundingClientRect()')
        self.browser.click(box["x"] + box["width"] / 2, box["y"] + 3)
        self.assertEqual(self.details()["what"], "expired")
        self.assertEqual(self.details()["set"], "show")

    def test_a_click_on_a_shape_of_several_slices_says_how_many_and_leads_to_them(self):
        self.open("many")
        box = self.run_script("""const e = [...document.querySelectorAll("#chart rect.s")].find(e => +e.dataset.n > 3);
            e.scrollIntoView({block: "center"});
            const b = e.getBoundingClientRect();
            return {x: b.x + b.width / 2, y: b.y + b.height / 2, n: e.dataset.n};""")
        self.browser.click(box["x"], box["y"])
        self.assertRegex(self.details()["here"], r"^\d+ slices")
        before = self.state()
        self.run_script('document.querySelector("#details button").click()')
        self.browser.settle()
        self.assertLess(self.state()["to"] - self.state()["from"], (before["to"] - before["from"]) / 10)

    # ---- looking around -----------------------------------------------------------------------------------------------

    def test_the_wheel_zooms_around_the_pointer(self):
        self.open("story")
        before = self.state()
        x = self.run_script("""const b = document.getElementById("chart").getBoundingClientRect();
            return b.x + 132 + (b.width - 132) / 4;""")
        under = before["from"] + (before["to"] - before["from"]) / 4
        self.browser.wheel(x, 150, -600)
        after = self.state()
        self.assertLess(after["to"] - after["from"], before["to"] - before["from"])
        still_under = after["from"] + (after["to"] - after["from"]) / 4
        self.assertAlmostEqual(still_under, under, delta=(before["to"] - before["from"]) / 200)

    def test_a_drag_moves_the_view_and_is_no_click(self):
        self.open("story", "#0-9")
        before = self.state()
        x, y = self.middle_of(self.number_of("s.kind === 0 && timeline.tracks[s.track].name === 'camera' && s.mode === 1"))
        self.browser.drag(x, y, x - 100, y)
        after = self.state()
        self.assertGreater(after["from"], before["from"])
        self.assertAlmostEqual(after["to"] - after["from"], before["to"] - before["from"], delta=2)
        self.assertEqual(self.details(), {})
        self.browser.click(*self.middle_of(self.number_of("s.kind === 1 && s.mode === 1")))
        self.assertEqual(self.details()["set"], "show")  # the next click is one again

    def test_a_drag_on_the_scale_zooms_to_what_is_marked(self):
        self.open("story")
        box = self.run_script('return document.getElementById("axis").getBoundingClientRect()')
        before = self.state()
        self.browser.drag(box["x"] + 400, box["y"] + 10, box["x"] + 500, box["y"] + 10)
        after = self.state()
        width = (before["to"] - before["from"]) * 100 / (box["width"] - 132)
        self.assertAlmostEqual(after["to"] - after["from"], width, delta=width / 20)

    def test_buttons_and_keys_zoom_and_move(self):
        self.open("story")
        whole = self.state()
        for do in ('document.getElementById("zoom-in").click()', 'dispatchEvent(new KeyboardEvent("keydown", {key: "+"}))'):
            before = self.state()
            self.run_script(do)
            self.browser.settle()
            self.assertAlmostEqual((self.state()["to"] - self.state()["from"]) * 2, before["to"] - before["from"], delta=4)
        before = self.state()
        self.run_script('document.getElementById("right").click()')
        self.browser.settle()
        self.assertGreater(self.state()["from"], before["from"])
        self.run_script('dispatchEvent(new KeyboardEvent("keydown", {key: "0"}))')
        self.browser.settle()
        self.assertEqual(self.state(), whole)

    # ---- pictures -----------------------------------------------------------------------------------------------------

    def test_a_picture_is_complete_by_itself(self):
        self.open("story")
        picture = xml.etree.ElementTree.fromstring(self.run_script("return timeline.picture(0, 9e6, 900)"))
        shapes = [e for e in picture.iter(SVG + "rect") if "data-i" in e.attrib]
        in_view = self.run_script("return timeline.slices.filter(s => s.begin <= 9e6).length")
        self.assertEqual(sum(int(e.attrib["data-n"]) for e in shapes), in_view)
        self.assertIn("--read", picture.find(SVG + "style").text)
        self.assertFalse([e for e in picture.iter() if any(name.endswith(("href", "src")) for name in e.attrib)])

    def test_the_tool_saves_the_same_picture(self):
        tool = pathlib.Path(webdriver.__file__).parent / "trace-picture"
        picture = self.folder / "picture.svg"
        page = self.folder / "story" / "trace.html"
        subprocess.run([sys.executable, tool, "--from", "0", "--to", "9", "--width", "900", page, picture], check=True)
        self.open("story")
        self.assertEqual(picture.read_text(encoding="utf-8"), self.run_script("return timeline.picture(0, 9e6, 900)"))
        subprocess.run([sys.executable, tool, "--around", "expired", page, picture], check=True)
        shapes = xml.etree.ElementTree.parse(picture).iter(SVG + "rect")
        self.assertTrue([e for e in shapes if e.get("class") == "late"])


if __name__ == "__main__":
    if why := webdriver.missing():
        print("[skipped] the page of a timeline in a browser: " + why)
        sys.exit(77)
    unittest.main(argv=sys.argv[:1])
