"""Sphinx builds the site of this folder with it: `make docs`."""

from __future__ import annotations

import json
import re
import sys
from pathlib import Path
from typing import TYPE_CHECKING

HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parent))

import nbformat  # noqa: E402

from docs import generated_reference, notebooks  # noqa: E402

if TYPE_CHECKING:
    from sphinx.application import Sphinx

project = "REKI for TensorFlow"
extensions = ["myst_parser"]
myst_heading_anchors = 4
smartquotes = False  # Code and shapes such as [...] stand in running text.
html_theme = "furo"
html_title = project
html_show_copyright = False
html_copy_source = False


def setup(app: Sphinx) -> None:
    """Changes the text of pages as Sphinx reads them, and writes the notebooks."""
    app.connect("source-read", _prepare)
    app.connect("build-finished", _write_notebooks)


def _prepare(_: Sphinx, page: str, source: list[str]) -> None:
    """Adds what is made from the code; of links to files outside this folder the text stays."""
    folder = (HERE / page).parent

    def kept(link: re.Match[str]) -> str:
        is_inside = (folder / link[2]).resolve().is_relative_to(HERE)
        return link[0] if is_inside else link[1]

    source[0] = re.sub(r"\[([^\]]*)\]\((\.\./[^)]*)\)", kept, generated_reference.filled(source[0]))
    if folder == notebooks.FOLDER and Path(page).name in notebooks.LESSONS:
        heading, _, rest = source[0].partition("\n")
        link = (
            f'<a href="../notebooks/{Path(page).name}.ipynb" download>This lesson as a notebook</a>'
        )
        source[0] = f"{heading}\n\n{link}\n{rest}"


def _write_notebooks(app: Sphinx, error: Exception | None) -> None:
    """Writes `notebooks/`, to which the tutorials' pages link."""
    if error is not None or app.builder.format != "html":
        return
    (folder := Path(app.outdir) / "notebooks").mkdir(exist_ok=True)
    for name in notebooks.LESSONS:
        made = notebooks.notebook((notebooks.FOLDER / f"{name}.md").read_text(encoding="utf-8"))
        nbformat.validate(made)
        (folder / f"{name}.ipynb").write_text(json.dumps(made, indent=1) + "\n", encoding="utf-8")
