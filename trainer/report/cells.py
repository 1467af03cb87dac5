"""One backbone in one arm: the means over its seeds and how far they can be trusted."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from trainer.bootstrap import Difference, bootstrap_auc_difference
from trainer.experiment import RunResult
from trainer.report.inputs import ReportInputs


@dataclass(frozen=True)
class Cell:
    """Test results of one backbone in one arm.

    Attributes:
      backbone: registry name.
      knowledge: name of the arm.
      seed_aucs: [seeds], test AUC of every run.
      auc: their mean.
      logloss: mean over seeds, nats.
      gauc: mean over seeds.
      auc_low: lower end of the 95 % interval of `auc` over the choice of test users.
      auc_high: upper end.
      difference: comparison with the arm without knowledge, None for that arm itself.
    """

    backbone: str
    knowledge: str
    seed_aucs: tuple[float, ...]
    auc: float
    logloss: float
    gauc: float
    auc_low: float
    auc_high: float
    difference: Difference | None


def result_cells(inputs: ReportInputs) -> list[Cell]:
    """All cells, ordered by backbone, then arm."""
    differences = {
        (comparison.backbone, comparison.knowledge): comparison.difference
        for comparison in inputs.comparisons
    }
    cells = []
    for backbone in inputs.backbones:
        for knowledge in inputs.arms:
            runs = inputs.experiment.runs_of(backbone, knowledge)
            if not runs:
                continue
            low, high = _auc_interval(inputs, runs)
            cells.append(
                Cell(
                    backbone=backbone,
                    knowledge=knowledge,
                    seed_aucs=tuple(run.test["auc"] for run in runs),
                    auc=float(np.mean([run.test["auc"] for run in runs])),
                    logloss=float(np.mean([run.test["logloss"] for run in runs])),
                    gauc=float(np.mean([run.test["gauc"] for run in runs])),
                    auc_low=low,
                    auc_high=high,
                    difference=differences.get((backbone, knowledge)),
                )
            )
    return cells


def _auc_interval(inputs: ReportInputs, runs: list[RunResult]) -> tuple[float, float]:
    """Interval of the mean AUC, from the difference to a constant score, whose AUC is 0.5."""
    test = runs[0].predictions
    against_chance = bootstrap_auc_difference(
        test.labels,
        test.user_ids,
        np.zeros([1, len(test.labels)]),
        np.stack([run.predictions.scores for run in runs]),
        resamples=inputs.scenario.evaluation.bootstrap_resamples,
        seed=inputs.scenario.evaluation.bootstrap_seed,
    )
    return 0.5 + against_chance.low, 0.5 + against_chance.high
