"""What a model says about a part of the data: what the predictions of all kinds have in common."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import ClassVar, Self

import numpy as np
import pyarrow as pa

from configs.command_line import CommandError
from trainer.bootstrap import Difference, bootstrap_auc_difference
from trainer.metrics import AnyMetrics


class Predictions(ABC):
    """What all kinds of predictions of a part offer.

    Attributes:
      selection_metric: by which the best epoch is chosen on the validation part.
      examples_name: what people call the n of the metrics.
      user_ids: one string per example.
    """

    selection_metric: ClassVar[str]
    examples_name: ClassVar[str]
    user_ids: np.ndarray

    @property
    @abstractmethod
    def count(self) -> int:
        """The n of the metrics."""

    @abstractmethod
    def metrics(self) -> AnyMetrics:
        """All metrics of the part."""

    @abstractmethod
    def table(self) -> pa.Table:
        """One row per candidate, or per example of retrieval."""

    @abstractmethod
    def of_rows(self, chosen: np.ndarray) -> Self:
        """The same predictions of some rows of `table` only, bool [rows]."""

    @abstractmethod
    def scored_samples(self) -> tuple[np.ndarray, np.ndarray] | None:
        """Labels and scores of all samples or candidates, [n] each; None of a kind without."""

    @abstractmethod
    def is_of_same_examples(self, other: Self) -> bool:
        """Whether two models were asked the same."""

    @classmethod
    @abstractmethod
    def differences(
        cls, baseline: Sequence[Self], candidate: Sequence[Self], resamples: int, seed: int
    ) -> dict[str, Difference]:
        """Paired differences by metric, the main one first; see `compare_predictions`."""


def compare_predictions(
    baseline: Sequence[Predictions],
    candidate: Sequence[Predictions],
    resamples: int,
    seed: int,
) -> dict[str, Difference]:
    """Paired comparison of two models, each with one or several seeds, on the same examples.

    Args:
      baseline: predictions of each run of one side.
      candidate: of the other side.
      resamples: of the bootstrap.
      seed: of the bootstrap.

    Returns:
      Metric -> difference, the main metric first: `auc` of ranking models, `auc` and `ndcg_at_10`
      of re-rankers, `new_items_recall_at_10` of retrieval.

    Raises:
      CommandError: the predictions are of different kinds of models, or not of the same examples.
    """
    require_same_examples([*baseline, *candidate])
    return type(baseline[0]).differences(baseline, candidate, resamples, seed)


def require_same_examples(runs: Sequence[Predictions]) -> None:
    """Makes sure that predictions can be compared.

    Raises:
      CommandError: they are of different kinds of models, or not of the same examples.
    """
    first = runs[0]
    for other in runs:
        if type(other) is not type(first):
            raise CommandError(
                "the runs are of different kinds of models (ranking, re-ranking, retrieval), "
                "which have no metric on the same examples; compare runs of one kind"
            )
        if not first.is_of_same_examples(other):
            raise CommandError(
                f"the runs were evaluated on different {first.examples_name}; "
                "compare runs of one work directory and split"
            )


def auc_difference(
    labels: np.ndarray,
    user_ids: np.ndarray,
    baseline_scores: Sequence[np.ndarray],
    candidate_scores: Sequence[np.ndarray],
    resamples: int,
    seed: int,
) -> Difference:
    """Paired difference of AUCs over samples.

    Raises:
      CommandError: the samples are of one class.
    """
    if len(labels) == 0 or labels.min() == labels.max():
        raise CommandError("AUC needs samples of both classes; this part has one class only")
    return bootstrap_auc_difference(
        labels, user_ids, np.stack(baseline_scores), np.stack(candidate_scores), resamples, seed
    )


def are_equal(first: object, second: object, names: Sequence[str]) -> bool:
    """Whether two predictions have the same arrays of these names."""
    return all(np.array_equal(getattr(first, name), getattr(second, name)) for name in names)
