"""Calibration: whether scores are the shares of positive samples that they say."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from trainer.offline.score_sums import TieGroups


@dataclass(frozen=True)
class ReliabilityBin:
    """Samples with scores next to each other.

    Attributes:
      lowest: smallest score.
      highest: largest score.
      mean_score: mean score.
      share_positive: share of samples with label 1.
      n: number of samples.
    """

    lowest: float
    highest: float
    mean_score: float
    share_positive: float
    n: int


class ReliabilityCurve:
    """Bins of equal numbers of samples, ordered by score.

    Of N samples in ascending order of score the one at place r, from 0, is in bin floor(r B / N) of
    B; samples with equal scores are all in the bin of the first, so that the bins do not depend on
    the order of equal ones. A bin may then stay empty; it is left out.
    """

    def __init__(self, num_samples: int, num_bins: int):
        """Starts empty.

        Args:
          num_samples: samples that will be added.
          num_bins: number of bins.
        """
        self._num_samples = num_samples
        self._seen = 0
        self._samples = np.zeros(num_bins, np.int64)
        self._positives = np.zeros(num_bins, np.int64)
        self._score_sum = np.zeros(num_bins)
        self._lowest = np.full(num_bins, np.inf)
        self._highest = np.full(num_bins, -np.inf)

    def add(self, ties: TieGroups) -> None:
        """Adds groups of equal scores, all of one group of samples, in ascending order."""
        count = len(self._samples)
        samples = ties.positives + ties.negatives
        places = self._seen + np.cumsum(samples) - samples
        bins = places * count // self._num_samples
        # Weighted counts are whole numbers below 2^53, which floats hold exactly.
        self._samples += np.bincount(bins, samples, count).astype(np.int64)
        self._positives += np.bincount(bins, ties.positives, count).astype(np.int64)
        self._score_sum += np.bincount(bins, samples * ties.scores.astype(np.float64), count)
        np.minimum.at(self._lowest, bins, ties.scores)
        np.maximum.at(self._highest, bins, ties.scores)
        self._seen += int(samples.sum())

    def bins(self) -> list[ReliabilityBin]:
        """The bins that have samples, in order of score."""
        return [
            ReliabilityBin(
                lowest=float(self._lowest[number]),
                highest=float(self._highest[number]),
                mean_score=float(self._score_sum[number] / self._samples[number]),
                share_positive=float(self._positives[number] / self._samples[number]),
                n=int(self._samples[number]),
            )
            for number in np.flatnonzero(self._samples)
        ]


def calibration_error(bins: list[ReliabilityBin]) -> float:
    """Expected calibration error: mean |mean score - share of positives| over samples.

    Guo et al., "On Calibration of Modern Neural Networks" (2017), eq. 3, there with bins of equal
    width; with few positives nearly all samples would be in the first of those.
    """
    total = sum(found.n for found in bins)
    return sum(found.n * abs(found.mean_score - found.share_positive) for found in bins) / total
