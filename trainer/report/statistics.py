"""The figures of a report: each backbone in each arm over its seeds, and by item popularity."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from trainer.experiments.results import Comparison, RunResult
from trainer.predictions import Predictions, SamplePredictions, measured_difference
from trainer.report.inputs import ReportInputs
from trainer.significance import FEWEST_USERS, Difference
from trainer.training_loop import counted


def main_metric_interval(
    runs: Sequence[Predictions], resamples: int, seed: int
) -> tuple[float, float]:
    """95 % interval of the mean over runs; of a single run it is about users only.

    Args:
      runs: predictions of the seeds of one model, all of one kind.
      resamples: of users.
      seed: of the resampling.
    """
    main = [run.measures()[run.selection_metric] for run in runs]
    interval = measured_difference([], main, resamples, seed)
    return interval.low, interval.high


@dataclass(frozen=True)
class CellResult:
    """Test results of one backbone in one arm.

    Attributes:
      backbone: registry name.
      knowledge: name of the arm.
      metric: the main metric.
      means: metric -> mean over seeds, the main one first.
      seed_values: [seeds], main metric of every run.
      low: lower end of the 95 % interval of the main metric over the choice of test users and, of
        several seeds, of seeds.
      high: upper end.
      comparison: with the baseline, None for the baseline itself and where there is none.
      train_seconds: mean over seeds.
      epochs: mean over seeds.
      trainable_weights: numbers that training changes.
      tuning_seconds: wall time of all trials; None without a search.
    """

    backbone: str
    knowledge: str
    metric: str
    means: Mapping[str, float]
    seed_values: tuple[float, ...]
    low: float
    high: float
    comparison: Comparison | None
    train_seconds: float
    epochs: float
    trainable_weights: int
    tuning_seconds: float | None = None

    @property
    def value(self) -> float:
        """Mean of the main metric over seeds."""
        return self.means[self.metric]

    @property
    def seed_deviation(self) -> float | None:
        """Standard deviation of the main metric between seeds; None of one seed."""
        return float(np.std(self.seed_values, ddof=1)) if len(self.seed_values) > 1 else None


def result_cells(inputs: ReportInputs) -> list[CellResult]:
    """All cells, ordered by backbone, then arm."""
    comparisons = {
        (comparison.backbone, comparison.knowledge): comparison for comparison in inputs.comparisons
    }
    names = [
        (backbone, arm)
        for backbone in inputs.backbones
        for arm in inputs.arms
        if inputs.experiment.runs_of(backbone, arm)
    ]
    return [
        _cell(inputs, inputs.experiment.runs_of(*name), comparisons.get(name))
        for name in counted(names, "intervals of models")
    ]


def _cell(
    inputs: ReportInputs, runs: Sequence[RunResult], comparison: Comparison | None
) -> CellResult:
    metric = inputs.experiment.metric
    evaluation = inputs.scenario.evaluation
    low, high = main_metric_interval(
        [run.predictions for run in runs],
        evaluation.bootstrap_resamples,
        evaluation.bootstrap_seed,
    )
    return CellResult(
        backbone=runs[0].backbone,
        knowledge=runs[0].knowledge,
        metric=metric,
        means={
            name: float(np.mean([run.test[name] for run in runs])) for name in inputs.shown_metrics
        },
        seed_values=tuple(run.test[metric] for run in runs),
        low=low,
        high=high,
        comparison=comparison,
        train_seconds=float(np.mean([run.train_seconds for run in runs])),
        epochs=float(np.mean([run.epochs for run in runs])),
        trainable_weights=runs[0].trainable_weights,
        tuning_seconds=next(
            (
                sum(trial.seconds for trial in tuned.trials)
                for tuned in inputs.experiment.tuning
                if (tuned.backbone, tuned.knowledge) == (runs[0].backbone, runs[0].knowledge)
            ),
            None,
        ),
    )


MINIMUM_SAMPLES = 50
"""Buckets of fewer test samples are not compared."""


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
        `MINIMUM_SAMPLES`, samples of fewer than `FEWEST_USERS` users, or only one class.
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
    users = len(np.unique(auc.user_ids))
    enough = (
        labels is not None
        and len(labels) >= MINIMUM_SAMPLES
        and users >= FEWEST_USERS
        and labels.min() != labels.max()
    )
    evaluation = inputs.scenario.evaluation
    return PopularitySlice(
        backbone=backbone,
        knowledge=knowledge,
        bucket=bucket,
        samples=len(auc.values),
        users=users,
        difference=measured_difference(
            baseline, candidate, evaluation.bootstrap_resamples, evaluation.bootstrap_seed
        )
        if enough
        else None,
    )
