# SPDX-License-Identifier: MIT
"""How many bytes objects of the library take, as bench/sizes.cpp prints them."""

import subprocess
import sys

from . import SKIPPED, Part


def head(text):
    return next(line for line in text.splitlines() if line.endswith("| bytes |"))


def make(request):
    printed = subprocess.run([request.build / "bench/dmasync_sizes"], stdout=subprocess.PIPE, text=True, check=True).stdout
    request.out.write_text(printed.rstrip("\n"), encoding="utf-8")


def compare(content, text):
    """Exits with 77 where the page shows the sizes of another compiler or processor."""
    if head(content) != head(text):
        print(f"[skipped] the sizes of the page are of another build: {head(content)}")
        sys.exit(SKIPPED)


PART = Part("docs/performance.md", "bench/sizes.cpp", make, lambda kept: {"": kept}, comparable=compare, quick=True)
