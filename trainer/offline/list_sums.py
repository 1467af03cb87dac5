"""Metrics by user and by list, summed over many groups of samples."""

from __future__ import annotations

import numpy as np

from trainer.ranked_lists import RankedLists


class ListSums:
    """GAUC and the quality of ranked lists, of every group.

    Samples of one user and one group are one list, or those of one list and one group where lists
    are given. What is added comes with all samples of its users and lists.

    Attributes:
      users: int64 [groups], users with a sample in the group.
      judged_users: those with samples of both classes, which have an AUC.
      lists: lists with a sample in the group.
      judged_lists: those with a positive sample, over which means are taken.
    """

    def __init__(self, num_groups: int):
        """Starts with no sample."""
        self.users = np.zeros(num_groups, np.int64)
        self.judged_users = np.zeros(num_groups, np.int64)
        self.lists = np.zeros(num_groups, np.int64)
        self.judged_lists = np.zeros(num_groups, np.int64)
        self._auc_sum = np.zeros(num_groups)
        self._weighted_auc_sum = np.zeros(num_groups)
        self._weights = np.zeros(num_groups, np.int64)
        self._quality_sums: dict[str, np.ndarray] = {}

    def add(
        self,
        groups: np.ndarray,
        users: np.ndarray,
        labels: np.ndarray,
        scores: np.ndarray,
        lists: np.ndarray | None = None,
    ) -> None:
        """Adds samples; equal scores of a list keep the order in which they are given.

        Args:
          groups: int [m].
          users: int [m], a number of the user.
          labels: [m], 0 or 1.
          scores: [m].
          lists: int [m], a number of the list; each is of one user. Users are lists if left out.
        """
        count = len(self.users)
        group_of_user, by_user = _ranked(groups, users, labels, scores, count)
        both = by_user.has_both_classes
        self.users += np.bincount(group_of_user, minlength=count)
        self.judged_users += np.bincount(group_of_user[both], minlength=count)
        aucs, sizes = by_user.auc()[both], by_user.sizes[both]
        self._auc_sum += np.bincount(group_of_user[both], aucs, count)
        self._weighted_auc_sum += np.bincount(group_of_user[both], aucs * sizes, count)
        self._weights += np.bincount(group_of_user[both], sizes, count).astype(np.int64)
        group_of_list, by_list = group_of_user, by_user
        if lists is not None:
            group_of_list, by_list = _ranked(groups, lists, labels, scores, count)
        judged = by_list.positives > 0
        self.lists += np.bincount(group_of_list, minlength=count)
        self.judged_lists += np.bincount(group_of_list[judged], minlength=count)
        for name, values in by_list.quality().items():
            sums = self._quality_sums.setdefault(name, np.zeros(count))
            sums += np.bincount(group_of_list[judged], values[judged], count)

    def gauc(self) -> np.ndarray:
        """Mean of the users' AUCs, weighted by their samples: [groups], NaN without any."""
        return _mean(self._weighted_auc_sum, self._weights)

    def gauc_mean(self) -> np.ndarray:
        """Plain mean of the users' AUCs: [groups], NaN without any."""
        return _mean(self._auc_sum, self.judged_users)

    def quality(self) -> dict[str, np.ndarray]:
        """Means over lists with a positive sample: name -> [groups], NaN without any."""
        return {name: _mean(sums, self.judged_lists) for name, sums in self._quality_sums.items()}


def _ranked(
    groups: np.ndarray,
    lists: np.ndarray,
    labels: np.ndarray,
    scores: np.ndarray,
    num_groups: int,
) -> tuple[np.ndarray, RankedLists]:
    """Each list divided by group: the group of every division, and the divisions."""
    divisions, numbers = np.unique(
        lists.astype(np.int64) * num_groups + groups, return_inverse=True
    )
    return divisions % num_groups, RankedLists(numbers, labels, scores)


def _mean(sums: np.ndarray, counts: np.ndarray) -> np.ndarray:
    return np.divide(sums, counts, out=np.full(len(sums), np.nan), where=counts > 0)


def shuffled_order(rows: np.ndarray) -> np.ndarray:
    """A fixed pseudo-random order of rows by their numbers: int64 [n] -> uint64 [n].

    Samples of a user follow each other in a file as they were made, a positive one before the
    negatives that were sampled for it; equal scores in that order would favour every model. The
    mixing function of SplitMix64: Steele, Lea and Flood, "Fast Splittable Pseudorandom Number
    Generators" (2014), figure 16.
    """
    with np.errstate(over="ignore"):
        mixed = rows.astype(np.uint64) + np.uint64(0x9E3779B97F4A7C15)
        mixed = (mixed ^ (mixed >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
        mixed = (mixed ^ (mixed >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
        return mixed ^ (mixed >> np.uint64(31))
