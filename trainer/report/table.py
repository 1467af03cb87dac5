"""The tables of a report: figures, intervals, marks of significance, slices."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from trainer.experiments.results import Comparison
from trainer.experiments.running import (
    SIGNIFICANT,
    is_significant,
    resamples_needed,
    smallest_adjusted_p,
)
from trainer.metrics import people_call
from trainer.predictions import SamplePredictions, measured_difference
from trainer.report.cells import Cell, shown_metrics
from trainer.report.inputs import PipelineStep, ReportInputs
from trainer.significance import Difference
from trainer.training_loop import counted

_MARKS = ((0.01, "**"), (SIGNIFICANT, "*"))


def mark(comparison: Comparison) -> str:
    """Two stars of p below 0.01, one below 0.05, none otherwise and where seeds do not count."""
    return next((text for limit, text in _MARKS if is_significant(comparison, limit)), "")


def p_text(adjusted_p: float) -> str:
    """A p-value with three decimals, or the bound that it is below."""
    if math.isnan(adjusted_p):
        return "–"
    return "<0.001" if adjusted_p < 0.001 else f"{adjusted_p:.3f}"


def marks_note(inputs: ReportInputs) -> str:
    """What the marks mean, and whether there can be any."""
    comparisons = len(inputs.comparisons)
    if not comparisons:
        return ""
    resamples = inputs.scenario.evaluation.bootstrap_resamples
    text = (
        f"p: two-sided, of a paired bootstrap over {covered_text(inputs)} ({resamples:,} "
        f"resamples), after Holm’s correction for the {comparisons} "
        f"{'comparison' if comparisons == 1 else 'comparisons'} of this experiment; ** below "
        "0.01, * below 0.05. Intervals are not corrected."
    )
    if not any(one.difference.covers_seeds for one in inputs.comparisons):
        return f"{text} Of single seeds no comparison is marked."
    if smallest_adjusted_p(inputs.scenario, comparisons) < SIGNIFICANT:
        return text
    return (
        f"{text} With so few resamples no comparison can be marked: that takes "
        f"evaluation.bootstrap_resamples={resamples_needed(comparisons)} or more."
    )


def covered_text(inputs: ReportInputs) -> str:
    """What intervals and p-values of an experiment cover."""
    covered = {one.difference.covers_seeds for one in inputs.comparisons}
    if covered == {True} or (not covered and len({run.seed for run in inputs.experiment.runs}) > 1):
        return "test users and training seeds"
    return "test users; seeds are not covered"


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
            *(f"{value:.4f}" for value in cell.means.values()),
            NOTHING if cell.seed_deviation is None else f"{cell.seed_deviation:.4f}",
            *_comparison_texts(cell),
        )
        for cell in cells
    ]
    metrics = [people_call(name) for name in cells[0].means]
    header = (
        "Backbone",
        "Knowledge",
        *metrics,
        "Seeds’ deviation",
        f"{metrics[0]} difference [95 % interval]",
        "Relative lift",
        "p (Holm)",
    )
    return Table(header, rows, text_columns=2)


def cost_table(cells: Sequence[Cell], tuning_seconds: Sequence[float | None]) -> Table:
    """What every cell costs in training.

    Args:
      cells: all of them.
      tuning_seconds: of the trials of each; None of cells that were not tuned.
    """
    rows = [
        (
            cell.backbone,
            cell.knowledge,
            f"{cell.trainable_weights:,}",
            f"{cell.epochs:.1f}",
            f"{cell.train_seconds:.1f}",
            NOTHING if seconds is None else f"{seconds:.0f}",
        )
        for cell, seconds in zip(cells, tuning_seconds, strict=True)
    ]
    header = (
        "Backbone",
        "Knowledge",
        "Trained numbers",
        "Epochs",
        "Seconds per run",
        "Seconds of all trials",
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
        "AUC baseline",
        "AUC knowledge",
        "AUC difference [95 % interval]",
        "Relative lift",
    )
    return Table(header, rows, text_columns=3)


def run_table(inputs: ReportInputs) -> Table:
    """Every single run."""
    metric = inputs.experiment.metric
    metrics = shown_metrics(inputs.experiment.runs[0].test, metric)
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
        f"Validation {people_call(metric)}",
        *(f"Test {people_call(name)}" for name in metrics),
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


def value_text(value: object) -> str:
    """A setting's value."""
    if isinstance(value, float):
        return f"{value:.4g}"
    return f"[{', '.join(map(str, value))}]" if isinstance(value, list | tuple) else str(value)


def difference_text(difference: Difference) -> str:
    """Difference and interval, e.g. "+0.0119 [+0.0101, +0.0137]"."""
    return f"{difference.difference:+.4f} [{difference.low:+.4f}, {difference.high:+.4f}]"


def lift_text(difference: Difference) -> str:
    """Relative lift in percent, e.g. "+1.50 %"; nothing where the baseline is 0."""
    lift = difference.relative_lift
    return NOTHING if math.isnan(lift) else f"{100 * lift:+.2f} %"


def _comparison_texts(cell: Cell) -> tuple[str, str, str]:
    if cell.comparison is None:
        return NOTHING, NOTHING, NOTHING
    adjusted_p = cell.comparison.adjusted_p
    difference, lift = _difference_texts(cell.comparison.difference, NOTHING)
    return f"{difference} {mark(cell.comparison)}".rstrip(), lift, p_text(adjusted_p)


def _difference_texts(difference: Difference | None, instead: str) -> tuple[str, str]:
    if difference is None:
        return instead, instead
    return difference_text(difference), lift_text(difference)


MINIMUM_SAMPLES = 50


@dataclass(frozen=True)
class PopularityBucket:
    """Items whose number of training interactions lies between two bounds.

    Attributes:
      lowest: smallest count that belongs to the bucket.
      highest: largest count, or None without an upper bound.
    """

    lowest: int
    highest: int | None

    @property
    def name(self) -> str:
        """What a table calls the bucket, e.g. "0 (cold)", "1-4" or "100+"."""
        if self.highest is None:
            return f"{self.lowest}+"
        if self.highest == 0:
            return "0 (cold)"
        return f"{self.lowest}-{self.highest}"

    def contains(self, counts: np.ndarray) -> np.ndarray:
        """Which counts [n] belong to the bucket -> bool [n]."""
        inside = counts >= self.lowest
        return inside if self.highest is None else inside & (counts <= self.highest)


COLD = PopularityBucket(0, 0)
BUCKETS = (
    COLD,
    PopularityBucket(1, 4),
    PopularityBucket(5, 19),
    PopularityBucket(20, 99),
    PopularityBucket(100, None),
)


@dataclass(frozen=True)
class PopularitySlice:
    """One comparison, restricted to the test samples of one bucket.

    Attributes:
      backbone: registry name.
      knowledge: the arm compared with the baseline.
      bucket: which items.
      samples: test samples in the bucket.
      users: users with such a sample.
      difference: the paired comparison on these samples, or None when there are fewer than
        `MINIMUM_SAMPLES` or only one class.
    """

    backbone: str
    knowledge: str
    bucket: PopularityBucket
    samples: int
    users: int
    difference: Difference | None


def popularity_slices(inputs: ReportInputs) -> list[PopularitySlice]:
    """All comparisons in all buckets, ordered by backbone, arm and bucket.

    They are about ranking models: there are none of other kinds.
    """
    if not isinstance(inputs.experiment.runs[0].predictions, SamplePredictions):
        return []
    places = [(comparison, bucket) for comparison in inputs.comparisons for bucket in BUCKETS]
    return [
        _slice(inputs, comparison.backbone, comparison.knowledge, bucket)
        for comparison, bucket in counted(places, "comparing by item popularity")
    ]


def interaction_counts(item_ids: np.ndarray, counts: Mapping[str, int]) -> np.ndarray:
    """Training interactions of the item of every sample: ids [n] -> int [n]."""
    items, index = np.unique(item_ids, return_inverse=True)
    return np.array([counts.get(str(item), 0) for item in items], dtype=np.int64)[index]


def _slice(
    inputs: ReportInputs, backbone: str, knowledge: str, bucket: PopularityBucket
) -> PopularitySlice:
    sides = [inputs.experiment.runs_of(backbone, arm) for arm in (inputs.baseline, knowledge)]
    items = sides[0][0].predictions.item_ids
    chosen = bucket.contains(interaction_counts(items, inputs.training_counts))
    baseline, candidate = (
        [run.predictions.of_rows(chosen).measures()["auc"] for run in side] for side in sides
    )
    auc, labels = baseline[0], baseline[0].labels
    enough = labels is not None and len(labels) >= MINIMUM_SAMPLES and labels.min() != labels.max()
    evaluation = inputs.scenario.evaluation
    return PopularitySlice(
        backbone=backbone,
        knowledge=knowledge,
        bucket=bucket,
        samples=len(auc.values),
        users=len(np.unique(auc.user_ids)),
        difference=measured_difference(
            baseline, candidate, evaluation.bootstrap_resamples, evaluation.bootstrap_seed
        )
        if enough
        else None,
    )
