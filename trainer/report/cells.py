"""One backbone in one arm: means over its seeds, their intervals, how far to trust them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from trainer.experiments.results import Comparison, RunResult
from trainer.metrics import AnyMetrics
from trainer.predictions import Predictions, measured_difference
from trainer.report.inputs import ReportInputs
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
    found = measured_difference([], main, resamples, seed)
    return found.low, found.high


_SHOWN: dict[str, Sequence[str]] = {
    "auc": ("auc", "logloss", "gauc"),
    "ndcg_at_10": ("ndcg_at_10", "map_at_10", "auc"),
    "new_items_recall_at_10": ("new_items_recall_at_10", "recall_at_10", "mrr"),
}
"""Main metric of a kind of model -> what its tables show, itself first."""


@dataclass(frozen=True)
class Cell:
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

    @property
    def value(self) -> float:
        """Mean of the main metric over seeds."""
        return self.means[self.metric]

    @property
    def seed_deviation(self) -> float | None:
        """Standard deviation of the main metric between seeds; None of one seed."""
        return float(np.std(self.seed_values, ddof=1)) if len(self.seed_values) > 1 else None


def result_cells(inputs: ReportInputs) -> list[Cell]:
    """All cells, ordered by backbone, then arm."""
    comparisons = {(found.backbone, found.knowledge): found for found in inputs.comparisons}
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


def shown_metrics(metrics: AnyMetrics, main: str) -> list[str]:
    """The metrics that tables show, the main one first."""
    return [name for name in _SHOWN.get(main, (main,)) if name in metrics]


def _cell(inputs: ReportInputs, runs: Sequence[RunResult], comparison: Comparison | None) -> Cell:
    metric = inputs.experiment.metric
    evaluation = inputs.scenario.evaluation
    low, high = main_metric_interval(
        [run.predictions for run in runs],
        evaluation.bootstrap_resamples,
        evaluation.bootstrap_seed,
    )
    return Cell(
        backbone=runs[0].backbone,
        knowledge=runs[0].knowledge,
        metric=metric,
        means={
            name: float(np.mean([run.test[name] for run in runs]))
            for name in shown_metrics(runs[0].test, metric)
        },
        seed_values=tuple(run.test[metric] for run in runs),
        low=low,
        high=high,
        comparison=comparison,
        train_seconds=float(np.mean([run.train_seconds for run in runs])),
        epochs=float(np.mean([run.epochs for run in runs])),
        trainable_weights=runs[0].trainable_weights,
    )
