#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""The documentation says what the headers say."""

import pathlib
import re
import unittest

PROJECT = pathlib.Path(__file__).resolve().parent.parent


def text_of(path):
    return (PROJECT / path).read_text(encoding="utf-8")


class Errors(unittest.TestCase):
    def test_every_error_has_its_line_in_the_table_and_no_other_has(self):
        body = re.search(r"enum class errc \{(.*?)\};", text_of("include/dmasync/error.hpp"), re.DOTALL)[1]
        declared = re.findall(r"^ +(\w+)[,= ]", body, re.MULTILINE)
        table = text_of("docs/errors.md").split("## Misuse")[0]
        documented = re.findall(r"^\| `(\w+)` \|", table, re.MULTILINE)
        self.assertEqual(declared, [name for name in documented if name != "errc"])


class Links(unittest.TestCase):
    def test_every_relative_link_leads_somewhere(self):
        for page in [PROJECT / "README.md", PROJECT / "CONTRIBUTING.md", *(PROJECT / "docs").glob("*.md")]:
            for target in re.findall(r"\]\((?!https?:|#)([^)#]+)", page.read_text(encoding="utf-8")):
                self.assertTrue((page.parent / target).exists(), f"{page.name}: {target}")


class Layers(unittest.TestCase):
    def test_every_public_header_is_named_in_the_design(self):
        design = text_of("docs/design.md")
        for header in (PROJECT / "include/dmasync").glob("*.hpp"):
            if header.stem not in ("dmasync", "version"):
                self.assertIn(f"`{header.stem}`", design, header.name)


if __name__ == "__main__":
    unittest.main()
