"""The tables of a report as rows of texts, and as Markdown."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from trainer.bootstrap import Difference
from trainer.report.cells import Cell
from trainer.report.inputs import PipelineStep, ReportInputs
from trainer.report.slices import PopularitySlice

NOTHING = "–"
TOO_FEW = "too few"


@dataclass(frozen=True)
class Table:
    """Texts in rows and columns.

    Attributes:
      header: column names.
      rows: one text per column each.
      text_columns: how many columns, from the left, hold names; the others hold figures.
    """

    header: tuple[str, ...]
    rows: Sequence[tuple[str, ...]]
    text_columns: int


def main_table(cells: Sequence[Cell]) -> Table:
    """Test metrics of every backbone and arm, means over seeds."""
    rows = [
        (
            cell.backbone,
            cell.knowledge,
            f"{cell.auc:.4f}",
            f"{cell.logloss:.4f}",
            f"{cell.gauc:.4f}",
            *_difference_texts(cell.difference, NOTHING),
        )
        for cell in cells
    ]
    header = (
        "Backbone",
        "Knowledge",
        "AUC",
        "LogLoss",
        "GAUC",
        "AUC difference [95 % interval]",
        "Relative lift",
    )
    return Table(header, rows, text_columns=2)


def slice_table(slices: Sequence[PopularitySlice]) -> Table:
    """AUC with and without knowledge by the item's training interactions."""
    rows = []
    for found in slices:
        difference = found.difference
        rows.append(
            (
                found.backbone,
                found.knowledge,
                found.bucket.name,
                f"{found.samples:,}",
                f"{found.users:,}",
                TOO_FEW if difference is None else f"{difference.baseline:.4f}",
                TOO_FEW if difference is None else f"{difference.candidate:.4f}",
                *_difference_texts(difference, TOO_FEW),
            )
        )
    header = (
        "Backbone",
        "Knowledge",
        "Training interactions of the item",
        "Test samples",
        "Users",
        "AUC none",
        "AUC knowledge",
        "AUC difference [95 % interval]",
        "Relative lift",
    )
    return Table(header, rows, text_columns=3)


def run_table(inputs: ReportInputs) -> Table:
    """Every single run."""
    rows = [
        (
            run.backbone,
            run.knowledge,
            str(run.seed),
            f"{run.validation['auc']:.4f}",
            f"{run.test['auc']:.4f}",
            f"{run.test['logloss']:.4f}",
            f"{run.test['gauc']:.4f}",
            str(run.epochs),
            f"{run.train_seconds:.1f}",
        )
        for backbone in inputs.backbones
        for arm in inputs.arms
        for run in inputs.experiment.runs_of(backbone, arm)
    ]
    header = (
        "Backbone",
        "Knowledge",
        "Seed",
        "Validation AUC",
        "Test AUC",
        "Test LogLoss",
        "Test GAUC",
        "Epochs",
        "Seconds",
    )
    return Table(header, rows, text_columns=2)


def step_table(steps: Sequence[PipelineStep]) -> Table:
    """Steps of the job with their record counts and whether these add up."""
    rows = []
    for step in steps:
        missing = unaccounted_records(step)
        rows.append(
            (
                step["name"],
                f"{step['seconds']:.1f}",
                f"{step['records_in']:,}",
                f"{step['records_out']:,}",
                f"{step.get('history_only', 0):,}",
                f"{step['dead_letters']:,}",
                "yes" if missing == 0 else f"no, {missing:+,}",
                _repetition_text(step),
            )
        )
    header = (
        "Step",
        "Seconds",
        "Records in",
        "Records out",
        "of which history only",
        "Dead letters",
        "Adds up",
        "From an earlier job",
    )
    return Table(header, rows, text_columns=1)


def _repetition_text(step: PipelineStep) -> str:
    if step.get("skipped", False):
        return "unchanged, not repeated"
    reused = step.get("reused", 0)
    return f"{reused:,} of {step['records_out']:,} reused" if reused else NOTHING


def unaccounted_records(step: PipelineStep) -> int:
    """Records read less those handed on or rejected; should be 0."""
    return step["records_in"] - step["records_out"] - step["dead_letters"]


def as_markdown(table: Table) -> str:
    """A table in GitHub's Markdown, figures aligned to the right."""
    alignments = ["---" if n < table.text_columns else "---:" for n in range(len(table.header))]
    lines = [table.header, alignments, *table.rows]
    return "".join(
        "| " + " | ".join(text.replace("|", r"\|") for text in line) + " |\n" for line in lines
    )


def difference_text(difference: Difference) -> str:
    """Difference and interval, e.g. "+0.0119 [+0.0101, +0.0137]"."""
    return f"{difference.difference:+.4f} [{difference.low:+.4f}, {difference.high:+.4f}]"


def lift_text(difference: Difference) -> str:
    """Relative lift in percent, e.g. "+1.50 %"."""
    return f"{100 * difference.relative_lift:+.2f} %"


def _difference_texts(difference: Difference | None, instead: str) -> tuple[str, str]:
    if difference is None:
        return instead, instead
    return difference_text(difference), lift_text(difference)
