"""How well a run's model ranks one part of the data: metrics with intervals, and slices."""

from __future__ import annotations

import dataclasses
import tempfile
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from configs.command_line import CommandError
from configs.scenario import Scenario
from models.building import AnyModel
from preprocessing.records.contract import LABEL, RETRIEVAL, USER_ID
from serving.export_options import DEFAULT_CARD_ROWS
from serving.model_card.knowledge import countable_sources
from trainer.bootstrap import (
    Difference,
    bootstrap_auc_difference,
    bootstrap_mean_difference,
)
from trainer.metrics import log_losses
from trainer.offline.evaluating import evaluate_scores_of
from trainer.offline.part_metrics import PartMetrics
from trainer.offline.run_scores import run_scores
from trainer.offline.sample_sums import SCORE
from trainer.offline.slice_names import (
    COLD_ITEM,
    COLD_USER,
    ITEM_POPULARITY,
    KNOWLEDGE,
    USER_ACTIVITY,
)
from trainer.predictions import Predictions
from trainer.ranked_lists import RankedLists
from trainer.retrieval_predictions import RANK_COLUMNS, ranks_of

_FIRST = 10
_AUC_OF_EQUAL_SCORES = 0.5
_DIVISIONS = (USER_ACTIVITY, ITEM_POPULARITY, COLD_USER, COLD_ITEM)


@dataclass(frozen=True)
class Interval:
    """A metric with its 95 % interval.

    Attributes:
      value: of all samples read.
      low: lower end of the percentile interval of a bootstrap over users.
      high: upper end.
    """

    value: float
    low: float
    high: float


@dataclass(frozen=True)
class Performance:
    """What was measured on a part.

    Attributes:
      part: validation or test.
      kind: of the model.
      metrics: of all samples read, as `python -m trainer evaluate` has them; empty where nothing
        could be measured.
      slices: slice -> group -> metrics.
      intervals: metric -> value and interval.
      examples: samples that were read; lists of a re-ranker.
      is_whole: whether that is the whole part.
      resamples: of users.
      reason: why nothing could be measured; else "".
    """

    part: str
    kind: str
    metrics: dict[str, object]
    slices: dict[str, dict[str, dict[str, object]]]
    intervals: dict[str, Interval]
    examples: int
    is_whole: bool
    resamples: int
    reason: str = ""


def measure(
    scenario: Scenario,
    model: AnyModel,
    part: str = "validation",
    rows: int = DEFAULT_CARD_ROWS,
) -> Performance:
    """Judges the trained model, before the export changes it.

    Args:
      scenario: the run's.
      model: its model.
      part: validation, or test, which is to be read once.
      rows: examples that are read; files hold users in the order of a hash, so the first ones are
        those of some users. The last batch is read to its end.

    Raises:
      preprocessing.records.errors.DamagedRecords: a file is missing or damaged.
      trainer.prediction.NotFiniteError: a score is infinite or NaN.
    """
    scores = run_scores(scenario, model, part)
    read = _Limited(scores.predictions, rows)
    slices = [*_DIVISIONS, *(f"{KNOWLEDGE}{source}" for source in countable_sources(scenario))]
    resamples = scenario.evaluation.bootstrap_resamples
    found, intervals, reason = PartMetrics({}), {}, ""
    with tempfile.TemporaryDirectory(prefix="model_card_") as folder:
        file = Path(folder) / "scores.parquet"
        try:
            limited = dataclasses.replace(scores, predictions=read)
            found = evaluate_scores_of(limited, slices, file)
            of_kind = _of_ranks if model.kind == RETRIEVAL else _of_scores
            intervals = of_kind(pq.read_table(file), resamples, scenario.evaluation.bootstrap_seed)
        except CommandError as error:
            if not file.exists():
                raise
            reason = str(error)
    return Performance(
        part=part,
        kind=model.kind,
        metrics=found.metrics,
        slices=found.slices,
        intervals=intervals,
        examples=read.count,
        is_whole=read.is_whole,
        resamples=resamples,
        reason=reason,
    )


class _Limited:
    """Predictions until there are enough.

    Attributes:
      count: examples so far.
      is_whole: whether none was left.
    """

    def __init__(self, predictions: Iterable[Predictions], limit: int):
        self.count = 0
        self.is_whole = True
        self._predictions = predictions
        self._limit = limit

    def __iter__(self) -> Iterator[Predictions]:
        for predictions in self._predictions:
            if self.count >= self._limit:
                self.is_whole = False
                return
            self.count += len(predictions.user_ids)
            yield predictions


def _of_scores(table: pa.Table, resamples: int, seed: int) -> dict[str, Interval]:
    """AUC, loss, GAUC and calibration as differences from what needs no model.

    The AUC is compared with that of equal scores for everybody, which is 0.5 in every resample; the
    mean score with the base rate, so that its interval says how far off the scores are.
    """
    labels = table[LABEL].to_numpy().astype(np.float64)
    scores = table[SCORE].to_numpy().astype(np.float64)
    user_ids = table[USER_ID].to_numpy(zero_copy_only=False)
    nothing = np.zeros([1, len(labels)])
    _, users = np.unique(user_ids, return_inverse=True)
    ranked = RankedLists(users, labels, scores)
    in_gauc = ranked.has_both_classes[users]
    auc = bootstrap_auc_difference(labels, user_ids, nothing, scores[np.newaxis], resamples, seed)
    loss = bootstrap_mean_difference(
        user_ids, nothing, log_losses(labels, scores)[np.newaxis], resamples, seed
    )
    calibration = bootstrap_mean_difference(
        user_ids, labels[np.newaxis], scores[np.newaxis], resamples, seed
    )
    found = {
        "auc": _interval(auc, _AUC_OF_EQUAL_SCORES),
        "logloss": _interval(loss),
        "mean_score_minus_base_rate": _interval(calibration),
    }
    if in_gauc.any():
        own = ranked.auc()[users[in_gauc]][np.newaxis]
        gauc = bootstrap_mean_difference(
            user_ids[in_gauc], np.zeros_like(own), own, resamples, seed
        )
        found["gauc"] = _interval(gauc)
    return found


def _of_ranks(table: pa.Table, resamples: int, seed: int) -> dict[str, Interval]:
    """Recall among the first ten, of all items and of new ones."""
    user_ids = table[USER_ID].to_numpy(zero_copy_only=False)
    among_all, among_new = ranks_of({name: table[name].to_numpy() for name in RANK_COLUMNS})
    nothing = np.zeros([1, len(user_ids)])
    return {
        name: _interval(
            bootstrap_mean_difference(
                user_ids, nothing, ranks.hits(_FIRST)[np.newaxis], resamples, seed
            )
        )
        for name, ranks in (
            (f"new_items_recall_at_{_FIRST}", among_new),
            (f"recall_at_{_FIRST}", among_all),
        )
    }


def _interval(found: Difference, constant: float = 0.0) -> Interval:
    """From the difference to a constant to the metric itself."""
    return Interval(found.difference + constant, found.low + constant, found.high + constant)
