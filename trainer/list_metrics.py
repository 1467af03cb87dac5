"""Quality of ranked lists of one width: NDCG, MAP, MRR and hit rate of re-rankers.

Candidates with equal scores keep their order in the list. Lists are shuffled by a hash when they
are made, so that order knows nothing of the labels and favours neither class.
"""

from __future__ import annotations

import numpy as np

from trainer.metrics import evaluate_scores
from trainer.ranked_lists import RankedLists


def evaluate_lists(
    labels: np.ndarray, scores: np.ndarray, mask: np.ndarray, user_ids: np.ndarray
) -> dict[str, float]:
    """Metrics of a part's lists.

    Args:
      labels: [lists, length], 0 or 1.
      scores: [lists, length], between 0 and 1.
      mask: [lists, length], True for candidates, False for padding.
      user_ids: [lists].

    Returns:
      `auc`, `logloss` and `gauc` over all candidates; the means of `list_quality` over the lists
      with a positive candidate; `n`, the number of candidates, `lists`, and
      `lists_without_positive`, which the means leave out.

    Raises:
      CommandError: candidates of one class only, or a score that is not finite.
    """
    users = np.repeat(user_ids, mask.sum(axis=1))
    of_candidates = evaluate_scores(labels[mask], scores[mask], users)
    by_list = list_quality(labels, scores, mask)
    judged = has_positive(labels, mask)
    return {
        "auc": of_candidates["auc"],
        "logloss": of_candidates["logloss"],
        "gauc": of_candidates["gauc"],
        **{name: float(values[judged].mean()) for name, values in by_list.items()},
        "n": of_candidates["n"],
        "lists": len(labels),
        "lists_without_positive": int(np.count_nonzero(~judged)),
    }


def has_positive(labels: np.ndarray, mask: np.ndarray) -> np.ndarray:
    """Which lists have a positive candidate: [lists, length] -> bool [lists]."""
    return np.any((labels > 0) & mask, axis=1)


def list_quality(labels: np.ndarray, scores: np.ndarray, mask: np.ndarray) -> dict[str, np.ndarray]:
    """Quality of every list, see `RankedLists.quality`.

    Args:
      labels: [lists, length], 0 or 1.
      scores: [lists, length], finite where `mask` is true.
      mask: [lists, length].

    Returns:
      Name -> float64 [lists], 0 for a list without a positive candidate.
    """
    lists, _ = np.nonzero(mask)
    return RankedLists(lists, labels[mask], scores[mask], num_lists=len(labels)).quality()
