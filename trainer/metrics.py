"""Exact metrics over all samples of a part: of ranking models, and of re-rankers' candidates."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NotRequired, TypeAlias, TypedDict

import numpy as np
from sklearn.metrics import roc_auc_score

from configs.command_line import CommandError
from trainer.ranked_lists import RankedLists

_EPSILON = np.finfo(np.float64).eps

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
    return Metrics(
        auc=float(roc_auc_score(labels, scores)),
        logloss=float(log_losses(labels, scores).mean()),
        gauc=grouped_auc(labels, scores, user_ids),
        n=len(labels),
    )


def log_losses(labels: np.ndarray, scores: np.ndarray) -> np.ndarray:
    """Negative log likelihood of every sample in nats, as scikit-learn's `log_loss` has it.

    Computed in float64; a probability is at least its machine epsilon, so that no loss is infinite.

    Args:
      labels: [n], 0 or 1.
      scores: [n], between 0 and 1.
    """
    scores = scores.astype(np.float64)
    likelihoods = np.where(labels > 0, scores, 1 - scores)
    return -np.log(np.clip(likelihoods, _EPSILON, 1 - _EPSILON))


def grouped_auc(labels: np.ndarray, scores: np.ndarray, user_ids: np.ndarray) -> float:
    """Mean of the users' own AUCs, weighted by their samples; users of one class are left out.

    NaN-free: 0.5, the AUC of chance, when every user has one class only.
    """
    _, users = np.unique(user_ids, return_inverse=True)
    ranked = RankedLists(users, labels, scores)
    both = ranked.has_both_classes
    return float(np.average(ranked.auc()[both], weights=ranked.sizes[both])) if both.any() else 0.5


def flat_metrics(metrics: AnyMetrics) -> dict[str, float]:
    """Measured numbers without counts; those of tasks are called `<task>_<metric>`.

    These are the columns of history.csv, each after `validation_`.
    """
    flat = {name: value for name, value in metrics.items() if isinstance(value, float)}
    for task, of_task in metrics.get("tasks", {}).items():
        flat |= {f"{task}_{name}": value for name, value in flat_metrics(of_task).items()}
    return flat
