"""Writes the files of a report: results.json, a Markdown summary and one self-contained page."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date
from functools import partial
from pathlib import Path
from typing import Any

from configs.documents import render
from configs.files import replaced_when_complete
from configs.scenario import Scenario
from trainer.evaluation.reports import NOTHING
from trainer.experiments.results import CellTuning, ExperimentResult
from trainer.inspection import item_titles, mean_gates, training_counts
from trainer.metrics import display_name
from trainer.report.inputs import (
    SERVING_TOLERANCE,
    PipelineStep,
    ReportInputs,
    leak_report,
    machine_text,
    versions_text,
)
from trainer.report.plots import (
    NARROW,
    WIDE,
    gate_figure,
    image_source,
    learning_figure,
    popularity_figure,
    quality_figure,
    tuning_figure,
)
from trainer.report.protocol import cautions, leak_sentences, protocol_values
from trainer.report.results import example_rankings, results_document
from trainer.report.sentences import (
    difference_text,
    headlines,
    lift_text,
    mark,
    marks_note,
    p_text,
    summary_text,
    value_text,
)
from trainer.report.statistics import (
    MINIMUM_SAMPLES,
    CellResult,
    PopularitySlice,
    popularity_slices,
    result_cells,
)
from trainer.significance import FEWEST_USERS, Difference
from trainer.tuning import best_trial

RESULTS_FILE = "results.json"
TABLE_FILE = "results.md"
PAGE_FILE = "report.html"
_TEMPLATES = Path(__file__).parent


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
    table_text = render(_TEMPLATES / "results.md.jinja", _common_values(report, cells, slices))
    page_text = page_html(report, cells, slices)
    for name, text in (
        (PAGE_FILE, page_text),
        (TABLE_FILE, table_text),
        (RESULTS_FILE, results_text),
    ):
        with replaced_when_complete(folder / name) as partial:
            partial.write_text(text, encoding="utf-8")
    return results


def write_experiment_report(
    folder: Path,
    scenario: Scenario,
    experiment: ExperimentResult,
    command: str,
    steps: Sequence[PipelineStep] = (),
    served_max_abs_difference: float | None = None,
) -> dict[str, Any]:
    """Writes report.html, results.md and results.json.

    Args:
      folder: created if it does not exist.
      scenario: that was run.
      experiment: its results.
      command: that does the same again, only said in the report.
      steps: of the job that the experiment was a part of.
      served_max_abs_difference: between checkpoint and served scores; None if nothing was served.

    Returns:
      The content of results.json.
    """
    inputs = ReportInputs(
        scenario=scenario,
        experiment=experiment,
        training_counts=training_counts(scenario),
        titles=item_titles(scenario),
        gates=mean_gates(experiment),
        leak=leak_report(Path(scenario.work_dir)),
        served_max_abs_difference=served_max_abs_difference,
        steps=steps,
        command=command,
        machine=machine_text(),
        versions=versions_text(),
        made_at=date.today().isoformat(),
    )
    return write_report(folder, inputs)


def page_html(
    inputs: ReportInputs, cells: Sequence[CellResult], slices: Sequence[PopularitySlice]
) -> str:
    """report.html: the results for a reader who knows CTR models, in one self-contained page."""
    figures = {
        "quality": partial(quality_figure, inputs, cells),
        "learning": partial(learning_figure, inputs),
        **({"tuning": partial(tuning_figure, inputs)} if inputs.tuning else {}),
        **({"popularity": partial(popularity_figure, inputs, slices)} if slices else {}),
        **({"gates": partial(gate_figure, inputs.gates)} if inputs.gates else {}),
    }
    images = {
        name: {"wide": image_source(draw, WIDE), "narrow": image_source(draw, NARROW)}
        for name, draw in figures.items()
    }
    values = {
        **_common_values(inputs, cells, slices),
        **protocol_values(inputs),
        "leak": leak_sentences(inputs),
        "seed_deviations": [
            cell.seed_deviation for cell in cells if cell.seed_deviation is not None
        ],
        "run_table": run_table(inputs),
        "cost_table": cost_table(cells),
        "step_table": step_table(inputs.steps),
        "lossy_steps": [step["name"] for step in inputs.steps if unaccounted_records(step)],
        "minimum_samples": MINIMUM_SAMPLES,
        "fewest_users": FEWEST_USERS,
        "tolerance": SERVING_TOLERANCE,
        "rankings": example_rankings(inputs),
        "figures": images,
    }
    return render(_TEMPLATES / "report.html.jinja", values)


def _common_values(
    inputs: ReportInputs, cells: Sequence[CellResult], slices: Sequence[PopularitySlice]
) -> dict[str, object]:
    """What the page and the Markdown summary have in common."""
    return {
        "headlines": headlines(inputs, slices),
        "summary": summary_text(inputs, slices),
        "main_table": main_table(cells),
        "marks_note": marks_note(inputs),
        "warnings": cautions(inputs),
        "settings_table": settings_table(inputs.tuning) if inputs.tuning else None,
        "slice_table": slice_table(slices) if slices else None,
    }


TOO_FEW = "too few"


@dataclass(frozen=True)
class ReportTable:
    """Texts in rows and columns.

    Attributes:
      header: column names.
      rows: one text per column each.
      text_columns: how many columns, from the left, hold names; the others hold figures.
    """

    header: tuple[str, ...]
    rows: Sequence[tuple[str, ...]]
    text_columns: int


def main_table(cells: Sequence[CellResult]) -> ReportTable:
    """Test metrics of every backbone and arm, means over seeds."""
    rows = [
        (
            cell.backbone,
            cell.knowledge,
            *(f"{value:.4f}" for value in cell.means.values()),
            NOTHING if cell.seed_deviation is None else f"{cell.seed_deviation:.4f}",
            *_comparison_texts(cell),
        )
        for cell in cells
    ]
    metrics = [display_name(name) for name in cells[0].means]
    header = (
        "Backbone",
        "Knowledge",
        *metrics,
        "Seeds’ deviation",
        f"{metrics[0]} difference [95 % interval]",
        "Relative lift",
        "p (Holm)",
    )
    return ReportTable(header, rows, text_columns=2)


def cost_table(cells: Sequence[CellResult]) -> ReportTable:
    """What every cell costs in training."""
    rows = [
        (
            cell.backbone,
            cell.knowledge,
            f"{cell.trainable_weights:,}",
            f"{cell.epochs:.1f}",
            f"{cell.train_seconds:.1f}",
            NOTHING if cell.tuning_seconds is None else f"{cell.tuning_seconds:.0f}",
        )
        for cell in cells
    ]
    header = (
        "Backbone",
        "Knowledge",
        "Trained numbers",
        "Epochs",
        "Seconds per run",
        "Seconds of all trials",
    )
    return ReportTable(header, rows, text_columns=2)


def slice_table(slices: Sequence[PopularitySlice]) -> ReportTable:
    """AUC with and without knowledge by the item's training interactions."""
    rows = []
    for popularity_slice in slices:
        difference = popularity_slice.difference
        rows.append(
            (
                popularity_slice.backbone,
                popularity_slice.knowledge,
                popularity_slice.bucket.name,
                f"{popularity_slice.samples:,}",
                f"{popularity_slice.users:,}",
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
        "AUC baseline",
        "AUC knowledge",
        "AUC difference [95 % interval]",
        "Relative lift",
    )
    return ReportTable(header, rows, text_columns=3)


def run_table(inputs: ReportInputs) -> ReportTable:
    """Every single run."""
    metric, metrics = inputs.experiment.metric, inputs.shown_metrics
    rows = [
        (
            run.backbone,
            run.knowledge,
            str(run.seed),
            f"{run.validation[metric]:.4f}",
            *(f"{run.test[name]:.4f}" for name in metrics),
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
        f"Validation {display_name(metric)}",
        *(f"Test {display_name(name)}" for name in metrics),
        "Epochs",
        "Seconds",
    )
    return ReportTable(header, rows, text_columns=2)


def step_table(steps: Sequence[PipelineStep]) -> ReportTable:
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
    return ReportTable(header, rows, text_columns=1)


def _repetition_text(step: PipelineStep) -> str:
    if step.get("skipped", False):
        return "unchanged, not repeated"
    reused = step.get("reused", 0)
    return f"{reused:,} of {step['records_out']:,} reused" if reused else NOTHING


def unaccounted_records(step: PipelineStep) -> int:
    """Records read less those handed on or rejected; should be 0."""
    return step["records_in"] - step["records_out"] - step["dead_letters"]


def settings_table(tuning: Sequence[CellTuning]) -> ReportTable:
    """The settings that were chosen for every cell, with their validation result."""
    keys = list(tuning[0].settings)
    rows = []
    for tuned in tuning:
        best = best_trial(tuned.trials)
        results = [trial.value for trial in tuned.trials if trial.value is not None]
        rows.append(
            (
                tuned.backbone,
                tuned.knowledge,
                *(value_text(tuned.settings[key]) for key in keys),
                f"{len(results)} of {len(tuned.trials)}",
                NOTHING if best is None else str(best.number),
                f"{max(results):.4f}",
                f"{min(results):.4f}",
            )
        )
    header = (
        "Backbone",
        "Knowledge",
        *keys,
        "Trials with a result",
        "Best trial",
        "Its validation",
        "The worst",
    )
    return ReportTable(header, rows, text_columns=2)


def _comparison_texts(cell: CellResult) -> tuple[str, str, str]:
    if cell.comparison is None:
        return NOTHING, NOTHING, NOTHING
    adjusted_p = cell.comparison.adjusted_p
    difference, lift = _difference_texts(cell.comparison.difference, NOTHING)
    return f"{difference} {mark(cell.comparison)}".rstrip(), lift, p_text(adjusted_p)


def _difference_texts(difference: Difference | None, instead: str) -> tuple[str, str]:
    if difference is None:
        return instead, instead
    return difference_text(difference), lift_text(difference)
