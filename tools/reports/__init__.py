# SPDX-License-Identifier: MIT
"""What the parts of tools/report share: what a part is, tables, and the places of a page that are filled."""

import dataclasses
import pathlib
import re
import sys
import typing

PROJECT = pathlib.Path(__file__).resolve().parent.parent.parent
SKIPPED = 77


@dataclasses.dataclass
class Request:
    """How to make the results of a part."""

    out: pathlib.Path  # the file that keeps them
    build: pathlib.Path = PROJECT / "build/release"
    repetitions: int | None = None  # None: as many as the part needs for its page
    only: str | None = None


@dataclasses.dataclass
class Part:
    page: str
    about: str
    make: typing.Callable[[Request], None]  # writes `out`
    texts: typing.Callable[[str], dict[str, str]]  # what `out` holds -> the text of each place; "" is the only place
    pictures: typing.Callable[[str], dict[str, str]] = lambda kept: {}  # the same for files in images/ beside the page
    comparable: typing.Callable[[str, str], None] = lambda content, text: None  # exits with 77 where a page is of another build
    quick: bool = False  # made anew each time


def table(head, rows):
    lines = ["| " + " | ".join(row) + " |" for row in [head, *rows]]
    return "\n".join([lines[0], "|" + "---|" * len(head), *lines[1:]])


def place_of(part, place):
    return f"tools/report: {part} {place}".rstrip()


def pattern(part, place):
    return re.compile(rf"(<!-- {re.escape(place_of(part, place))} -->\n)(.*?)(\n<!-- end -->)", re.DOTALL)


def shown(content, part, place=""):
    """The text at a place of a page."""
    return pattern(part, place).search(content)[2]


def fill(content, part, texts):
    """The page with `texts` at the places of `part`; each place has to be there once."""
    for place, text in texts.items():
        content, count = pattern(part, place).subn(lambda m, t=text: m[1] + t + m[3], content)
        if count != 1:
            sys.exit(f"tools/report: {count} places in the page for <!-- {place_of(part, place)} -->, not one")
    return content
