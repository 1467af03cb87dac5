"""The interval of one model's main metric over the choice of test users and of seeds."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from trainer.bootstrap import bootstrap_auc_difference, bootstrap_mean_difference
from trainer.list_metrics import has_positive, list_quality
from trainer.list_predictions import ListPredictions
from trainer.predictions import Predictions
from trainer.retrieval_predictions import RetrievalPredictions
from trainer.sample_predictions import SamplePredictions


def main_metric_interval(
    runs: Sequence[Predictions], resamples: int, seed: int
) -> tuple[float, float]:
    """95 % interval of the mean over runs; of a single run it is about users only.

    Args:
      runs: predictions of the seeds of one model, all of one kind.
      resamples: of users.
      seed: of the resampling.
    """
    first = runs[0]
    if isinstance(first, SamplePredictions):
        scores = np.stack([run.scores for run in runs if isinstance(run, SamplePredictions)])
        found = bootstrap_auc_difference(
            first.labels, first.user_ids, scores[:0], scores, resamples, seed
        )
        return found.low, found.high
    users, values = _values_by_example(runs)
    found = bootstrap_mean_difference(users, values[:0], values, resamples, seed)
    return found.low, found.high


def _values_by_example(runs: Sequence[Predictions]) -> tuple[np.ndarray, np.ndarray]:
    """Users [n] and the main metric [runs, n] of the examples whose mean it is."""
    first = runs[0]
    if isinstance(first, ListPredictions):
        lists = [run for run in runs if isinstance(run, ListPredictions)]
        judged = has_positive(first.labels, first.mask)
        values = [
            list_quality(run.labels, run.scores, run.mask)[run.selection_metric][judged]
            for run in lists
        ]
        return first.user_ids[judged], np.stack(values)
    found = [run for run in runs if isinstance(run, RetrievalPredictions)]
    return first.user_ids, np.stack([run.among_new.hits(10) for run in found])
