"""Each arm against the baseline, and what remains after so many comparisons."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from configs.scenario import Scenario
from trainer.experiments.results import Comparison, RunResult
from trainer.multiple_tests import holm
from trainer.predictions import Predictions, compare_predictions
from trainer.progress_bar import counted

SIGNIFICANT = 0.05
"""The chance of one false mark or more in a whole experiment is at most this."""


def comparisons_of(scenario: Scenario, runs: Sequence[RunResult]) -> list[Comparison]:
    """All arms of all backbones against the baseline of the same backbone, Holm-corrected.

    Args:
      scenario: names the baseline and the bootstrap.
      runs: the seeds of every cell; a backbone without a run of the baseline is left out.
    """
    baseline, evaluation = scenario.experiment.baseline, scenario.evaluation
    by_cell: dict[tuple[str, str], list[Predictions]] = {}
    for run in runs:
        by_cell.setdefault((run.backbone, run.knowledge), []).append(run.predictions)
    compared = []
    pairs = [cell for cell in by_cell if cell[1] != baseline and (cell[0], baseline) in by_cell]
    for backbone, arm in counted(pairs, f"comparing with '{baseline}'"):
        predictions = by_cell[backbone, arm]
        differences = compare_predictions(
            by_cell[backbone, baseline],
            predictions,
            resamples=evaluation.bootstrap_resamples,
            seed=evaluation.bootstrap_seed,
        )
        compared.append(Comparison(backbone, arm, differences[predictions[0].selection_metric]))
    adjusted = holm([comparison.difference.p_value for comparison in compared])
    return [
        replace(comparison, adjusted_p=p) for comparison, p in zip(compared, adjusted, strict=True)
    ]


def is_significant(comparison: Comparison, level: float = SIGNIFICANT) -> bool:
    """Whether a difference exceeds what other users, other seeds and many comparisons may do."""
    return comparison.difference.covers_seeds and comparison.adjusted_p < level


def smallest_adjusted_p(scenario: Scenario, comparisons: int) -> float:
    """The smallest p-value that a comparison can have after correction, by the resamples made."""
    return min(1.0, comparisons * 2 / (scenario.evaluation.bootstrap_resamples + 1))


def resamples_needed(comparisons: int) -> int:
    """The resamples from which on a comparison can be significant among so many."""
    return round(2 * comparisons / SIGNIFICANT)
