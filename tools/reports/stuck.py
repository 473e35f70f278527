# SPDX-License-Identifier: MIT
"""What examples/stuck.cpp says. Times and inodes change from run to run; they stay as they come."""

import json
import pathlib
import re
import subprocess

from . import Part


def output_of(program, *arguments):
    return subprocess.run([program, *arguments], capture_output=True, text=True, check=True).stdout


def block(text, language=""):
    return f"```{language}\n{text.rstrip()}\n```"


def reports(text):
    return re.findall(r"^stuck: .*(?:\n  .*)*$", text, re.MULTILINE)


def excerpt(text):
    """Of the snapshot as JSON: the first buffer, and the first acquisition that waits."""
    seen = json.loads(text)
    waiting = next(a for a in seen["acquisitions"] if a["state"] == "waiting")
    for acquisition in seen["acquisitions"]:
        acquisition["file"] = pathlib.PurePath(acquisition["file"]).name
    text = json.dumps({"domain": seen["domain"], "buffers": seen["buffers"][:1], "acquisitions": [waiting]}, indent=1)
    for small in (r"\{[^{}\[\]]{0,60}\}", r"\[[^\[\]]{0,80}\]"): # on one line each
        text = re.sub(small, lambda m: re.sub(r"\n +", " ", m[0]), text)
    return text


def sections(program):
    """Maps the name of each place to its text."""
    text = output_of(program)
    return {"hanging": block("\n".join(reports(text))), "snapshot": block(text[text.rindex("domain 'studio': "):]),
            "cycle": block(reports(output_of(program, "cycle"))[0]),
            "json": block(excerpt(output_of(program, "--json").splitlines()[-1]), "json")}


def make(request):
    request.out.write_text(json.dumps(sections(request.build / "examples/dmasync_stuck")), encoding="utf-8")


PART = Part("docs/observability.md", "examples/stuck.cpp", make, json.loads)
