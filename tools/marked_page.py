# SPDX-License-Identifier: MIT
"""Text that tools produce has its place in a page: between `<!-- tools/TOOL: NAME -->` and `<!-- end -->`.

A tool that is elsewhere is named with its folder."""

import re
import sys


def put(page, tool, texts):
    """Replaces what stands at each place of `tool`'s in the page by the text of that name; prints them without a page."""
    if page is None:
        print("\n\n".join(texts.values()))
        return
    content = page.read_text(encoding="utf-8")
    path = tool if "/" in tool else f"tools/{tool}"
    for name, text in texts.items():
        place = rf"(<!-- {re.escape(path)}: {re.escape(name)} -->\n).*?(<!-- end -->)"
        content, count = re.subn(place, lambda m, t=text: f"{m[1]}{t}\n{m[2]}", content, flags=re.DOTALL)
        if count != 1:
            sys.exit(f"{page}: {count} places for {path}: {name}, not one")
    page.write_text(content, encoding="utf-8")
