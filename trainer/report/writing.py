"""Writes the files of a report."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from trainer.report.cells import result_cells
from trainer.report.inputs import ReportInputs
from trainer.report.marks import marks_note
from trainer.report.page import page_html
from trainer.report.results import results_document
from trainer.report.slices import popularity_slices
from trainer.report.table import as_markdown, main_table, slice_table
from trainer.report.tuning import ordered_tuning, settings_table
from trainer.report.wording import summary_text

RESULTS_FILE = "results.json"
TABLE_FILE = "results.md"
PAGE_FILE = "report.html"


def write_report(folder: Path, report: ReportInputs) -> dict[str, Any]:
    """Writes report.html, results.md and results.json, each at once, results.json last.

    Args:
      folder: created if it does not exist.
      report: what the report is made from.

    Returns:
      The content of results.json.

    Raises:
      ValueError: a figure is not a finite number; no file is written then.
      OSError: the folder cannot be written.
    """
    cells = result_cells(report)
    slices = popularity_slices(report)
    results = results_document(report, cells, slices)
    results_text = json.dumps(results, indent=2, allow_nan=False, ensure_ascii=False) + "\n"
    tuning = ordered_tuning(report)
    table_text = "\n".join(
        [
            summary_text(report, slices) + "\n",
            as_markdown(main_table(cells)),
            *([marks_note(report) + "\n"] if report.comparisons else []),
            *(f"Warning: {text}\n" for text in results["warnings"]),
            *([as_markdown(settings_table(tuning))] if tuning else []),
            *([as_markdown(slice_table(slices))] if slices else []),
        ]
    )
    page_text = page_html(report, cells, slices)
    folder.mkdir(parents=True, exist_ok=True)
    for name, text in (
        (PAGE_FILE, page_text),
        (TABLE_FILE, table_text),
        (RESULTS_FILE, results_text),
    ):
        unfinished = folder / f".{name}.unfinished"
        unfinished.write_text(text, encoding="utf-8")
        unfinished.replace(folder / name)
    return results
