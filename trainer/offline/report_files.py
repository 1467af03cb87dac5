"""The files of `evaluate --report`."""

from __future__ import annotations

import csv
import json
from collections.abc import Mapping
from pathlib import Path

from trainer.offline import slice_table
from trainer.offline.part_metrics import PartMetrics
from trainer.offline.plots import reliability_figure, save, slices_figure


def write_report(folder: Path, kind: str, found: PartMetrics, result: Mapping[str, object]) -> None:
    """Writes metrics.json, tables and plots; of what there is not, no file, and none is left.

    Args:
      folder: made if it is not there.
      kind: of the model.
      found: the metrics.
      result: the command's JSON result.
    """
    folder.mkdir(parents=True, exist_ok=True)
    for name in ("slices.csv", "slices.md", "reliability.png", "slices.png"):
        (folder / name).unlink(missing_ok=True)
    (folder / "metrics.json").write_text(json.dumps(result, indent=2) + "\n", encoding="utf-8")
    if found.reliability:
        save(reliability_figure(found), folder / "reliability.png")
    if found.slices:
        _write_csv(folder / "slices.csv", found)
        lines = [slice_table.header(kind), *slice_table.rows(found.slices, kind)]
        (folder / "slices.md").write_text(_markdown(lines), encoding="utf-8")
        save(slices_figure(found, kind), folder / "slices.png")


def _write_csv(path: Path, found: PartMetrics) -> None:
    """One line for each group, with all of its metrics at full length."""
    rows = [
        {"slice": name, "group": group, **metrics}
        for name, groups in found.slices.items()
        for group, metrics in groups.items()
    ]
    names = list(dict.fromkeys(name for row in rows for name in row))
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, fieldnames=names)
        writer.writeheader()
        writer.writerows(rows)


def _markdown(lines: list[list[str]]) -> str:
    """A table in GitHub's Markdown, figures aligned to the right."""
    alignments = ["---" if name in ("slice", "group", "remark") else "---:" for name in lines[0]]
    return "".join(
        "| " + " | ".join(text.replace("|", r"\|") for text in line) + " |\n"
        for line in [lines[0], alignments, *lines[1:]]
    )
