"""The report of an experiment: results.json, a Markdown table and one self-contained HTML page."""

from __future__ import annotations

from trainer.report.inputs import ReportInputs
from trainer.report.render import write_report

__all__ = ["ReportInputs", "write_report"]
