"""The tutorials as notebooks, made from their pages: `make docs` offers them for download.

A page is text, commands, files to save, and what commands print. A notebook has the text and the
prints as Markdown; its code cells run the commands and save the files.
"""

from __future__ import annotations

import re
import textwrap
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

FOLDER = Path(__file__).resolve().parent / "tutorials"
LESSONS = tuple(sorted(page.stem for page in FOLDER.glob("*.md") if page.stem != "index"))
"""Names of the tutorials' pages."""

BLOCK = re.compile(
    r"^```(?P<kind>[^\n`]*)\n(?P<text>.*?)^```\n?|(?P<lines>(?:^    [^\n]*\n)+)", re.M | re.S
)
"""A fenced or an indented block of a page."""

_COMMANDS = re.compile(r"(mkdir|python|PYTHONPATH=)")
_SAVED = re.compile(r"`(out/tutorial/\w+\.\w+)`")
_SERVER = re.compile(r"^python -m serving serve .*--model (?P<model>\w+)=.*$", re.MULTILINE)
_REST_PORT = re.compile(r"--rest-port (\d+)")
_RELATIVE_LINK = re.compile(r"\[([^\]]*)\]\((?!https?:)[^)]*\)")
_START = """\
import os

REPOSITORY = "."  # the folder of this project, in which `make setup` was run
os.chdir(REPOSITORY)
os.environ["PATH"] = f"{os.getcwd()}/.venv/bin:{os.environ['PATH']}"
assert os.path.exists(".venv/bin/python"), f"there is no .venv in {os.getcwd()}"
"""


@dataclass(frozen=True)
class TutorialStep:
    """A piece of a page.

    Attributes:
      kind: "text", "commands" of a shell, a "file" to save, or the "output" of commands.
      text: the commands or what the file holds, without indentation; of others as on the page.
      file: where a file is saved. A second one of the same name is added to the first.
    """

    kind: Literal["text", "commands", "file", "output"]
    text: str
    file: str = ""


def steps(page: str) -> Iterator[TutorialStep]:
    """The pieces of a page in order.

    Args:
      page: Markdown. A file stands in a fenced block, and its name in the text before it.
    """
    end = 0
    for block in BLOCK.finditer(page):
        if text := page[end : block.start()].strip("\n"):
            yield TutorialStep("text", text)
        end = block.end()
        if block["kind"]:
            yield TutorialStep("file", block["text"], _SAVED.findall(page[: block.start()])[-1])
        elif _COMMANDS.match(lines := textwrap.dedent(block["lines"] or block["text"])):
            yield TutorialStep("commands", lines)
        else:
            yield TutorialStep("output", block[0])
    if text := page[end:].strip("\n"):
        yield TutorialStep("text", text)


def notebook(page: str) -> dict[str, Any]:
    """A page as a notebook in the format nbformat 4.5.

    Args:
      page: Markdown.
    """
    sources: list[tuple[str, str]] = []
    saved: set[str] = set()
    for step in steps(page):
        if step.kind == "commands":
            sources += [("code", source) for source in _shell_cells(step.text)]
        elif step.kind == "file":
            magic = "%%writefile -a" if step.file in saved else "%%writefile"
            saved.add(step.file)
            sources.append(("code", f"{magic} {step.file}\n{step.text}"))
        else:
            # Pages beside this one are not beside a notebook.
            sources.append(("markdown", _RELATIVE_LINK.sub(r"\1", step.text)))
    sources.insert(1, ("code", _START))
    return {
        "nbformat": 4,
        "nbformat_minor": 5,
        "metadata": {
            "kernelspec": {"display_name": "Python 3", "language": "python", "name": "python3"},
            "language_info": {"name": "python"},
        },
        "cells": [
            {
                "id": f"cell-{number}",
                "cell_type": kind,
                "metadata": {},
                "source": source.rstrip("\n"),
                **({"execution_count": None, "outputs": []} if kind == "code" else {}),
            }
            for number, (kind, source) in enumerate(sources, start=1)
        ],
    }


def _shell_cells(commands: str) -> Iterator[str]:
    """Commands as cells; a server gets a cell of its own, and one that waits until it is ready."""
    server = _SERVER.search(commands)
    if server is None:
        yield f"%%bash\n{commands}"
        return
    if before := commands[: server.start()]:
        yield f"%%bash\n{before}"
    yield f"%%bash --bg\n{server[0]}"
    port = _REST_PORT.search(server[0])
    assert port is not None, f"name the REST port of the server: {server[0]}"
    status = f"http://127.0.0.1:{port[1]}/v1/models/{server['model']}"
    yield f"%%bash\nuntil curl --silent --fail {status}; do sleep 1; done"
    if after := commands[server.end() :].strip("\n"):
        yield f"%%bash\n{after}"
