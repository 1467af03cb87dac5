"""Quality of ranked lists: NDCG and MAP of re-rankers, exact and for all lists at once.

Candidates with equal scores keep their order in the list. Lists are shuffled by a hash when they
are made, so that order knows nothing of the labels and favours neither class.
"""

from __future__ import annotations

import numpy as np

from trainer.metrics import evaluate_scores

CUTOFFS = (1, 3, 5, 7, 10)
"""Every k that is reported; a k beyond the end of a list counts the whole list."""


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
      `lists_without_positive`, which NDCG and MAP leave out.

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
    """NDCG and average precision of every list, 0 for a list without a positive candidate.

    For each k of `CUTOFFS`:

    - `ndcg_at_<k>`: gain 2^y - 1, discount 1 / log2(1 + place), over that of the best order.
    - `map_at_<k>`: sum of the precisions at the hits among the first k, over min(k, positives).
    - `map_hits_at_<k>`: the same sum over the number of hits among the first k, which is what the
      authors of REKI report; it does not punish a positive candidate below place k.

    Args:
      labels: [lists, length], 0 or 1.
      scores: [lists, length], finite where `mask` is true.
      mask: [lists, length].

    Returns:
      Name -> float64 [lists].
    """
    relevant = np.where(mask, labels, 0).astype(np.float64)
    order = np.argsort(np.where(mask, -scores.astype(np.float64), np.inf), axis=1, kind="stable")
    ranked = np.take_along_axis(relevant, order, axis=1)
    best = -np.sort(-relevant, axis=1)
    places = np.arange(1, relevant.shape[1] + 1)
    discounts = 1 / np.log2(1 + places)
    gained = np.cumsum((2**ranked - 1) * discounts, axis=1)
    possible = np.cumsum((2**best - 1) * discounts, axis=1)
    hits = np.cumsum(ranked, axis=1)
    precisions = np.cumsum(hits / places * ranked, axis=1)
    positives = relevant.sum(axis=1)
    quality = {}
    for k in CUTOFFS:
        last = min(k, relevant.shape[1]) - 1
        quality[f"ndcg_at_{k}"] = _ratio(gained[:, last], possible[:, last])
        quality[f"map_at_{k}"] = _ratio(precisions[:, last], np.minimum(k, positives))
        quality[f"map_hits_at_{k}"] = _ratio(precisions[:, last], hits[:, last])
    names = [f"{name}_at_{k}" for name in ("ndcg", "map", "map_hits") for k in CUTOFFS]
    return {name: quality[name] for name in names}


def _ratio(numerators: np.ndarray, denominators: np.ndarray) -> np.ndarray:
    """Quotients, 0 where the denominator is."""
    return np.divide(
        numerators, denominators, out=np.zeros(len(numerators)), where=denominators > 0
    )
