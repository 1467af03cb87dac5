"""The dead letters that encoding a source left."""

from __future__ import annotations

import json
from pathlib import Path

from preprocessing.records.layout import WorkDirectory


def letters_of(scenario, source: str = "item") -> list[tuple[str, int, str]]:
    """File name, line and reason of each, in the order of the file."""
    path = WorkDirectory(scenario.work_dir).knowledge(source).dead_letters
    letters = [json.loads(line) for line in path.read_text().splitlines()]
    return [(Path(entry["file"]).name, entry["line"], entry["reason"]) for entry in letters]
