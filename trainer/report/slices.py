"""The effect of knowledge by item popularity, cold items first."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from trainer.bootstrap import Difference, bootstrap_auc_difference
from trainer.progress_bar import counted
from trainer.report.inputs import ReportInputs
from trainer.sample_predictions import SamplePredictions

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
    baseline, candidate = (
        [
            run.predictions
            for run in inputs.experiment.runs_of(backbone, arm)
            if isinstance(run.predictions, SamplePredictions)
        ]
        for arm in (inputs.baseline, knowledge)
    )
    test = baseline[0]
    chosen = bucket.contains(interaction_counts(test.item_ids, inputs.training_counts))
    labels, user_ids = test.labels[chosen], test.user_ids[chosen]
    enough = len(labels) >= MINIMUM_SAMPLES and labels.min() != labels.max()
    evaluation = inputs.scenario.evaluation
    return PopularitySlice(
        backbone=backbone,
        knowledge=knowledge,
        bucket=bucket,
        samples=len(labels),
        users=len(np.unique(user_ids)),
        difference=bootstrap_auc_difference(
            labels,
            user_ids,
            np.stack([predictions.scores[chosen] for predictions in baseline]),
            np.stack([predictions.scores[chosen] for predictions in candidate]),
            resamples=evaluation.bootstrap_resamples,
            seed=evaluation.bootstrap_seed,
        )
        if enough
        else None,
    )
