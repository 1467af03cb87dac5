"""Metrics of scored samples, summed over the groups of a slice."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import numpy as np

from preprocessing.records.contract import LABEL, USER_ID
from trainer.offline.list_sums import ListSums
from trainer.offline.score_sums import ScoreSums, TieGroups
from trainer.offline.slices import Slice

SCORE = "score"
LIST_ID = "list_id"

Batch = Mapping[str, np.ndarray]


class SampleSums:
    """All metrics of every group of a slice, from two passes over the samples.

    Attributes:
      division: the slice.
    """

    def __init__(self, division: Slice, has_lists: bool):
        """Starts with no sample.

        Args:
          division: the slice.
          has_lists: whether samples are candidates of lists; else the samples of a user are one.
        """
        self.division = division
        self._has_lists = has_lists
        self._scores = ScoreSums(len(division.groups))
        self._lists = ListSums(len(division.groups))

    def add_ascending(self, batch: Batch) -> TieGroups:
        """First pass: samples in ascending order of score; see `ScoreSums.add`."""
        members = self.division.members(batch)
        return self._scores.add(
            members.groups, batch[LABEL][members.rows], batch[SCORE][members.rows]
        )

    def end_ascending(self) -> TieGroups:
        """Ends the first pass; see `ScoreSums.finish`."""
        return self._scores.finish()

    def add_users(self, batch: Batch) -> None:
        """Second pass: all samples of some users; equal scores keep the order given."""
        members = self.division.members(batch)
        self._lists.add(
            members.groups,
            batch[USER_ID][members.rows],
            batch[LABEL][members.rows],
            batch[SCORE][members.rows],
            batch[LIST_ID][members.rows] if self._has_lists else None,
        )

    def missing_class(self, group: int) -> str | None:
        """Why a group has no AUC, known after the first pass; None when it has one."""
        samples, positives = self._scores.samples[group], self._scores.positives[group]
        if not samples:
            return "no samples"
        if positives in (0, samples):
            return f"all samples have label {int(positives > 0)}"
        return None

    def metrics(self, group: int) -> dict[str, Any]:
        """Metrics of a group by name, None where one has no value; counts; the `reason` of None.

        `normalised_entropy` is equation 1 of He et al., "Practical Lessons from Predicting Clicks
        on Ads at Facebook" (2014).
        """
        sums, lists = self._scores, self._lists
        n, positives = int(sums.samples[group]), int(sums.positives[group])
        base_rate = positives / n if n else None
        logloss = float(sums.loss_sum[group] / n) if n else None
        mean_score = float(sums.score_sum[group] / n) if n else None
        found: dict[str, Any] = {
            "auc": _known(sums.auc()[group]),
            "logloss": logloss,
            "gauc": _known(lists.gauc()[group]),
            "gauc_mean": _known(lists.gauc_mean()[group]),
            "normalised_entropy": _quotient(logloss, _entropy(base_rate)),
            "calibration_ratio": _quotient(mean_score, base_rate),
            "mean_score": mean_score,
            "base_rate": base_rate,
            **{name: _known(means[group]) for name, means in lists.quality().items()},
            "n": n,
            "users": int(lists.users[group]),
            "users_of_one_class": int(lists.users[group] - lists.judged_users[group]),
        }
        of_lists = "lists" if self._has_lists else "users"
        found[of_lists] = int(lists.lists[group])
        found[f"{of_lists}_without_positive"] = int(lists.lists[group] - lists.judged_lists[group])
        if reason := self._reason(group):
            found["reason"] = reason
        return found

    def _reason(self, group: int) -> str | None:
        no_user = None if self._lists.judged_users[group] else "no user has samples of both classes"
        return self.missing_class(group) or no_user


def _known(value: float) -> float | None:
    return None if math.isnan(value) else float(value)


def _entropy(rate: float | None) -> float:
    """Entropy of a coin in nats: the LogLoss of the base rate as everybody's score."""
    if rate is None or rate in (0, 1):
        return 0.0
    return -rate * math.log(rate) - (1 - rate) * math.log1p(-rate)


def _quotient(numerator: float | None, denominator: float | None) -> float | None:
    return numerator / denominator if numerator is not None and denominator else None
