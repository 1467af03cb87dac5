"""Exact metrics over all samples of a part: of ranking, re-ranking and retrieval models."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, NotRequired, TypeAlias, TypedDict

import numpy as np

from configs.command_line import CommandError
from trainer.metric_sums import PairCounts, ScoreSums, TieGroups, exact_mean

_NAMES = {
    "auc": "AUC",
    "logloss": "LogLoss",
    "gauc": "GAUC",
    "gauc_mean": "GAUC, plain mean",
    "normalised_entropy": "normalised entropy",
    "calibration_ratio": "calibration ratio",
    "calibration_error": "calibration error",
    "mean_score": "mean score",
    "base_rate": "base rate",
    "ndcg_at_10": "NDCG@10",
    "map_at_10": "MAP@10",
    "recall_at_10": "recall@10",
    "new_items_recall_at_10": "recall@10 among new items",
    "new_items_ndcg_at_10": "NDCG@10 among new items",
    "new_items_mrr": "MRR among new items",
    "mrr": "MRR",
}

_SUMMARY = (
    *("auc", "logloss", "gauc", "ndcg_at_10", "map_at_10"),
    *("recall_at_10", "new_items_recall_at_10", "mrr"),
)


def display_name(metric: str) -> str:
    """A metric's name in running text."""
    return _NAMES.get(metric, metric)


def summary(metrics: AnyMetrics) -> str:
    """The metrics that people look at first, each with four decimals."""
    shown = [f"{display_name(key)} {metrics[key]:.4f}" for key in _SUMMARY if key in metrics]
    for task, task_metrics in metrics.get("tasks", {}).items():
        shown.append(f"{task} ({summary(task_metrics)})")
    return ", ".join(shown)


CUTOFFS = (1, 3, 5, 7, 10)
"""Every k that is reported; a k beyond the end of a list counts the whole list."""


class RankedLists:
    """Lists with their rows in order of score, best first.

    Attributes:
      sizes: int [lists], rows of each list.
      positives: int [lists], rows with label 1.
    """

    def __init__(
        self,
        lists: np.ndarray,
        labels: np.ndarray,
        scores: np.ndarray,
        num_lists: int = 0,
    ):
        """Ranks the rows; those of a list with equal scores keep the order in which they are given.

        Args:
          lists: int [n], the list of every row, from 0.
          labels: [n], 0 or 1.
          scores: [n], finite.
          num_lists: at least so many lists, for those at the end that have no row.
        """
        order = np.lexsort((-scores, lists))
        self._lists = lists[order]
        self._scores = scores[order]
        self._positive = labels[order] > 0
        self.sizes = np.bincount(self._lists, minlength=num_lists)
        self._starts = np.cumsum(self.sizes) - self.sizes
        hits = np.cumsum(self._positive)
        self._hits = hits - np.r_[0, hits][self._starts][self._lists]
        self.positives = np.bincount(self._lists[self._positive], minlength=len(self.sizes))

    @property
    def has_both_classes(self) -> np.ndarray:
        """Which lists have an AUC: bool [lists]."""
        return self.judged & (self.positives < self.sizes)

    @property
    def judged(self) -> np.ndarray:
        """Which lists have a positive row; means of `quality` are over these: bool [lists]."""
        return self.positives > 0

    def auc(self) -> np.ndarray:
        """AUC of every list, ties half: float64 [lists], NaN where there is one class only."""
        pairs = PairCounts(len(self.sizes))
        pairs.add(TieGroups.of_samples(self._lists[::-1], self._positive[::-1], self._scores[::-1]))
        return pairs.auc()

    def quality(self) -> dict[str, np.ndarray]:
        """Quality of every list, 0 for a list without a positive row.

        For each k of `CUTOFFS`:

        - `ndcg_at_<k>`: gain 2^y - 1, discount 1 / log2(1 + place), over that of the best order.
        - `map_at_<k>`: sum of the precisions at the hits among the first k, over min(k, positives).
        - `map_hits_at_<k>`: the same sum over the number of hits among the first k, which is what
          the authors of REKI report; it does not punish a positive row below place k.
        - `hit_rate_at_<k>`: 1 where a positive row is among the first k.

        And `mrr`, 1 / place of the first positive row.

        Returns:
          Name -> float64 [lists].
        """
        hits = np.flatnonzero(self._positive)
        lists = self._lists[hits]
        places = hits - self._starts[lists] + 1
        number_of_hit = self._hits[hits]
        firsts = number_of_hit == 1
        reciprocal = np.zeros(len(self.sizes))
        reciprocal[lists[firsts]] = 1 / places[firsts]
        gains, precisions = 1 / np.log2(1 + places), number_of_hit / places
        best = np.cumsum(1 / np.log2(1 + np.arange(1, max(CUTOFFS) + 1)))
        by_name: dict[str, list[np.ndarray]] = {"ndcg": [], "map": [], "map_hits": []}
        first_hits = []
        for k in CUTOFFS:
            within = places <= k
            list_of_position = lists[within]
            gained, precision, hit_counts = (
                np.bincount(list_of_position, values, len(self.sizes))
                for values in (gains[within], precisions[within], None)
            )
            findable = np.minimum(k, self.positives)
            by_name["ndcg"].append(_ratio(gained, best[np.maximum(findable, 1) - 1]))
            by_name["map"].append(_ratio(precision, findable))
            by_name["map_hits"].append(_ratio(precision, hit_counts))
            first_hits.append((hit_counts > 0).astype(np.float64))
        quality = {
            f"{name}_at_{k}": values
            for name, values_by_cutoff in by_name.items()
            for k, values in zip(CUTOFFS, values_by_cutoff, strict=True)
        }
        quality["mrr"] = reciprocal
        for k, values in zip(CUTOFFS, first_hits, strict=True):
            quality[f"hit_rate_at_{k}"] = values
        return quality


def _ratio(numerators: np.ndarray, denominators: np.ndarray) -> np.ndarray:
    """Quotients, 0 where the denominator is."""
    return np.divide(
        numerators, denominators, out=np.zeros(len(numerators)), where=denominators > 0
    )


AUC_OF_CHANCE = 0.5

AnyMetrics: TypeAlias = Mapping[str, Any]
"""Metrics of any kind of model: name -> number, or -> metrics of a part of the question."""


class Metrics(TypedDict):
    """AUC, logarithmic loss in nats, grouped AUC, the number of samples, and the same by task."""

    auc: float
    logloss: float
    gauc: float
    n: int
    tasks: NotRequired[dict[str, Metrics]]


def evaluate_scores(labels: np.ndarray, scores: np.ndarray, user_ids: np.ndarray) -> Metrics:
    """Metrics of scores between 0 and 1.

    Args:
      labels: [n], 0 or 1.
      scores: [n].
      user_ids: [n], whose samples these are.

    Raises:
      CommandError: there is no sample, only one class, or a score that is not finite.
    """
    if len(labels) == 0 or labels.min() == labels.max():
        raise CommandError("AUC needs samples of both classes")
    if not np.isfinite(scores).all():
        raise CommandError("a score is not a finite number")
    sums = ScoreSums.of_part(labels, scores)
    return Metrics(
        auc=float(sums.pairs.auc()[0]),
        logloss=sums.logloss(0),
        gauc=grouped_auc(labels, scores, user_ids),
        n=len(labels),
    )


def grouped_auc(labels: np.ndarray, scores: np.ndarray, user_ids: np.ndarray) -> float:
    """Mean of the users' own AUCs, weighted by their samples; users of one class are left out.

    NaN-free: `AUC_OF_CHANCE` when every user has one class only.
    """
    _, users = np.unique(user_ids, return_inverse=True)
    ranked = RankedLists(users, labels, scores)
    both = ranked.has_both_classes
    if not both.any():
        return AUC_OF_CHANCE
    return exact_mean(ranked.auc()[both], ranked.sizes[both])


def flat_metrics(metrics: AnyMetrics) -> dict[str, float]:
    """Measured numbers without counts; those of tasks are called `<task>_<metric>`.

    These are the columns of history.csv, each after `validation_`.
    """
    flat = {name: value for name, value in metrics.items() if isinstance(value, float)}
    for task, task_metrics in metrics.get("tasks", {}).items():
        flat |= {f"{task}_{name}": value for name, value in flat_metrics(task_metrics).items()}
    return flat


def evaluate_lists(
    lists: np.ndarray,
    labels: np.ndarray,
    scores: np.ndarray,
    user_ids: np.ndarray,
    num_lists: int,
) -> dict[str, float]:
    """Metrics of a part's lists of candidates.

    Args:
      lists: int [n], the list of every candidate, from 0.
      labels: [n], 0 or 1.
      scores: [n], between 0 and 1.
      user_ids: [n].
      num_lists: lists of the part, those without a candidate too.

    Returns:
      `auc`, `logloss` and `gauc` over all candidates; the means of `RankedLists.quality` over the
      lists with a positive candidate; `n`, the number of candidates, `lists`, and
      `lists_without_positive`, which the means leave out.

    Raises:
      CommandError: candidates of one class only, or a score that is not finite.
    """
    candidate_metrics = evaluate_scores(labels, scores, user_ids)
    ranked = RankedLists(lists, labels, scores, num_lists)
    return {
        "auc": candidate_metrics["auc"],
        "logloss": candidate_metrics["logloss"],
        "gauc": candidate_metrics["gauc"],
        **{name: exact_mean(values[ranked.judged]) for name, values in ranked.quality().items()},
        "n": candidate_metrics["n"],
        "lists": num_lists,
        "lists_without_positive": int(np.count_nonzero(~ranked.judged)),
    }


RETRIEVAL_CUTOFFS = (1, 5, 10, 50, 100)
NEW_ITEMS = "new_items_"
"""Prefix of metrics for which the other items of the user's history are no candidates."""

_SCORES_IN_MEMORY = 2**24


@dataclass(frozen=True)
class Ranks:
    """Where the positive item of every example stands among the candidates.

    Attributes:
      better: int64 [n], candidates with a higher score.
      tied: int64 [n], other candidates with the same score.
    """

    better: np.ndarray
    tied: np.ndarray

    @property
    def expected(self) -> np.ndarray:
        """Expected rank, counted from 1: [n]."""
        return 1 + self.better + self.tied / 2

    def hits(self, k: int) -> np.ndarray:
        """Probability that the positive item is among the first k: [n]."""
        return np.clip((k - self.better) / (self.tied + 1), 0.0, 1.0)

    def reciprocal(self) -> np.ndarray:
        """Expected 1 / rank: [n]."""
        places = np.arange(1, self._last_place + 1)
        return self._mean_of(1 / places)

    def ndcg(self, k: int) -> np.ndarray:
        """Expected NDCG@k, which is 1 / log2(1 + rank) up to rank k, else 0: [n]."""
        places = np.arange(1, self._last_place + 1)
        return self._mean_of(np.where(places <= k, 1 / np.log2(1 + places), 0.0))

    @property
    def _last_place(self) -> int:
        return int((self.better + self.tied).max(initial=0)) + 1

    def _mean_of(self, by_place: np.ndarray) -> np.ndarray:
        """Mean of a function of the place over the places that the positive item may take."""
        sums = np.concatenate([[0.0], np.cumsum(by_place)])
        return (sums[self.better + self.tied + 1] - sums[self.better]) / (self.tied + 1)


def rank_positives(
    user_vectors: np.ndarray,
    item_vectors: np.ndarray,
    positive_rows: np.ndarray,
    history_rows: np.ndarray,
) -> tuple[Ranks, Ranks]:
    """Ranks by inner product, computed for some examples at a time.

    Args:
      user_vectors: float [n, width].
      item_vectors: float [items, width], of catalogue rows 1 to items.
      positive_rows: int [n], catalogue row of the chosen item, from 1.
      history_rows: int [n, length], catalogue rows of the user's earlier items, 0 for padding.

    Returns:
      Ranks among all items, and ranks among the items that are new to the user: without those of
      the history, but with the chosen item even if the user had it before.
    """
    count = len(user_vectors)
    better, tied, known_better, known_tied = (np.zeros(count, np.int64) for _ in range(4))
    step = max(1, _SCORES_IN_MEMORY // len(item_vectors))
    transposed = np.ascontiguousarray(item_vectors.T)
    for start in range(0, count, step):
        part = slice(start, start + step)
        scores = user_vectors[part] @ transposed
        positives = positive_rows[part, np.newaxis]
        own = np.take_along_axis(scores, positives - 1, axis=1)
        better[part] = np.count_nonzero(scores > own, axis=1)
        tied[part] = np.count_nonzero(scores == own, axis=1) - 1
        histories = _without_repeats(history_rows[part])
        counted = (histories > 0) & (histories != positives)
        known_scores = np.take_along_axis(scores, np.maximum(histories - 1, 0), axis=1)
        known_better[part] = np.count_nonzero(counted & (known_scores > own), axis=1)
        known_tied[part] = np.count_nonzero(counted & (known_scores == own), axis=1)
    return Ranks(better, tied), Ranks(better - known_better, tied - known_tied)


def evaluate_ranks(among_all: Ranks, among_new: Ranks) -> dict[str, float]:
    """Metrics of a part's examples, each with one positive item.

    Returns:
      Means of `rank_values`; and `n`, the number of examples.
    """
    values = rank_values(among_all, among_new)
    return {name: exact_mean(example_values) for name, example_values in values.items()} | {
        "n": len(among_all.better)
    }


def rank_values(among_all: Ranks, among_new: Ranks) -> dict[str, np.ndarray]:
    """What every example adds to the metrics.

    Returns:
      `recall_at_<k>` (with one positive item the same as the hit rate), `ndcg_at_<k>` and `mrr`,
      which is 1 / rank; then the same after `new_items_`: float64 [n] each.
    """
    values: dict[str, np.ndarray] = {}
    for prefix, ranks in (("", among_all), (NEW_ITEMS, among_new)):
        for k in RETRIEVAL_CUTOFFS:
            values[f"{prefix}recall_at_{k}"] = ranks.hits(k)
        for k in RETRIEVAL_CUTOFFS:
            values[f"{prefix}ndcg_at_{k}"] = ranks.ndcg(k)
        values[f"{prefix}mrr"] = ranks.reciprocal()
    return values


def _without_repeats(rows: np.ndarray) -> np.ndarray:
    """Rows of each line in ascending order, repeated ones replaced by 0."""
    ordered = np.sort(rows, axis=1)
    ordered[:, 1:][ordered[:, 1:] == ordered[:, :-1]] = 0
    return ordered
