"""Exact AUC, loss and calibration of many groups of samples in one pass over sorted scores."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from trainer.metrics import log_losses


@dataclass(frozen=True)
class TieGroups:
    """Samples of one group with one score, counted.

    Attributes:
      groups: int [m], ascending.
      scores: [m], ascending within a group.
      positives: int64 [m].
      negatives: int64 [m].
    """

    groups: np.ndarray
    scores: np.ndarray
    positives: np.ndarray
    negatives: np.ndarray

    def where(self, chosen: np.ndarray) -> TieGroups:
        """Some of them: bool [m]."""
        return TieGroups(
            self.groups[chosen], self.scores[chosen], self.positives[chosen], self.negatives[chosen]
        )


class ScoreSums:
    """What AUC, LogLoss and calibration are computed from, of every group.

    The AUC is the share of pairs of a positive and a negative sample in which the positive one has
    the higher score, equal scores counting half. Samples come in ascending order of score; the
    pairs of a positive sample are then the negatives that came before, so whole numbers say all, up
    to 4e9 samples. The last score of each group waits as a count, because the next batch may go on
    with it; sums are complete after `finish`.

    Attributes:
      samples: int64 [groups].
      positives: int64 [groups].
      score_sum: float64 [groups].
      loss_sum: float64 [groups], of negative log likelihoods in nats.
    """

    def __init__(self, num_groups: int):
        """Starts with no sample."""
        self.samples = np.zeros(num_groups, np.int64)
        self.positives = np.zeros(num_groups, np.int64)
        self.score_sum = np.zeros(num_groups)
        self.loss_sum = np.zeros(num_groups)
        self._negatives_so_far = np.zeros(num_groups, np.int64)
        self._doubled_pairs = np.zeros(num_groups, np.int64)
        none = np.zeros(0, np.int64)
        self._waiting = TieGroups(none, np.zeros(0, np.float32), none, none)

    def add(self, groups: np.ndarray, labels: np.ndarray, scores: np.ndarray) -> TieGroups:
        """Adds samples.

        Args:
          groups: int [m].
          labels: [m], 0 or 1.
          scores: [m], none lower than any that was added to the same group before.

        Returns:
          Groups of equal scores that are complete now, those of an earlier batch included.
        """
        count = len(self.samples)
        positive = labels > 0
        self.samples += np.bincount(groups, minlength=count)
        self.positives += np.bincount(groups[positive], minlength=count)
        waiting = self._waiting
        joined = TieGroups(
            np.r_[waiting.groups, groups],
            np.r_[waiting.scores, scores],
            np.r_[waiting.positives, positive],
            np.r_[waiting.negatives, ~positive],
        )
        ties = _tied(joined)
        is_last = np.r_[
            ties.groups[1:] != ties.groups[:-1], np.ones(min(1, len(ties.groups)), bool)
        ]
        self._waiting = ties.where(is_last)
        complete = ties.where(~is_last)
        self._count(complete)
        return complete

    def finish(self) -> TieGroups:
        """Counts what waited for more; call it once, at the end.

        Returns:
          The last groups of equal scores.
        """
        waiting = self._waiting
        self._waiting = waiting.where(np.zeros(len(waiting.groups), bool))
        self._count(waiting)
        return waiting

    def auc(self) -> np.ndarray:
        """AUC of every group: float64 [groups], NaN where there is one class only."""
        # Of Python's whole numbers: beyond 2^53 a product of floats would be rounded.
        possible = 2 * self.positives * (self.samples - self.positives)
        return np.array(
            [
                won / pairs if pairs else np.nan
                for won, pairs in zip(self._doubled_pairs.tolist(), possible.tolist(), strict=True)
            ]
        )

    def _count(self, ties: TieGroups) -> None:
        """Adds complete groups, so that the order of equal scores makes no difference."""
        if not len(ties.groups):
            return
        count, samples = len(self.samples), ties.positives + ties.negatives
        losses = ties.positives * log_losses(np.ones(len(samples)), ties.scores)
        losses += ties.negatives * log_losses(np.zeros(len(samples)), ties.scores)
        self.loss_sum += np.bincount(ties.groups, losses, count)
        self.score_sum += np.bincount(ties.groups, samples * ties.scores.astype(np.float64), count)
        starts = np.flatnonzero(np.r_[True, ties.groups[1:] != ties.groups[:-1]])
        groups = ties.groups[starts]
        through = np.cumsum(ties.negatives)
        before = through - ties.negatives
        sizes = np.diff(np.r_[starts, len(ties.groups)])
        below = before - np.repeat(before[starts] - self._negatives_so_far[groups], sizes)
        pairs = ties.positives * (2 * below + ties.negatives)
        self._doubled_pairs[groups] += np.add.reduceat(pairs, starts)
        self._negatives_so_far[groups] += np.add.reduceat(ties.negatives, starts)


def _tied(samples: TieGroups) -> TieGroups:
    """Samples in any order of groups, ascending scores in each -> groups of equal scores."""
    order = np.argsort(samples.groups, kind="stable")
    groups, scores = samples.groups[order], samples.scores[order]
    starts = np.flatnonzero(
        np.r_[
            np.ones(min(1, len(groups)), bool),
            (groups[1:] != groups[:-1]) | (scores[1:] != scores[:-1]),
        ]
    )
    if not len(starts):
        return samples
    return TieGroups(
        groups[starts],
        scores[starts],
        np.add.reduceat(samples.positives[order], starts),
        np.add.reduceat(samples.negatives[order], starts),
    )
