"""What knowledge does to single rankings: test users' items in order, without and with it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from configs.loading import ConfigurationError
from trainer.metrics import RankedLists
from trainer.predictions import SamplePredictions
from trainer.report.inputs import ReportInputs

SHOWN_USERS = 5
SHOWN_ITEMS = 6
_FEWEST_ITEMS = 10
_SEED = 0


@dataclass(frozen=True)
class RankedItem:
    """An item at its place.

    Attributes:
      name: its title, or its id where it has none.
      liked: whether the user's label is 1.
      place: from 1.
      place_without: in the ranking without knowledge, from 1.
    """

    name: str
    liked: bool
    place: int
    place_without: int


@dataclass(frozen=True)
class UserRankings:
    """A user's items in the order of two models.

    Attributes:
      items: of the test part, all of which are ranked.
      liked: how many of them have label 1.
      without: the first items of the baseline's ranking.
      with_knowledge: those of the other.
      auc_without: of the user's ranking.
      auc_with: likewise.
    """

    items: int
    liked: int
    without: tuple[RankedItem, ...]
    with_knowledge: tuple[RankedItem, ...]
    auc_without: float
    auc_with: float


@dataclass(frozen=True)
class ExampleRankings:
    """Rankings of users who were drawn by lot.

    Attributes:
      backbone: of both models.
      baseline: arm of the model without knowledge.
      arm: of the other, best on validation.
      seed: training seed of both.
      users: those drawn.
      drawn_from: users with enough items and both labels.
      share_better: of these, the share whose AUC is higher with knowledge.
      share_worse: lower.
    """

    backbone: str
    baseline: str
    arm: str
    seed: int
    users: tuple[UserRankings, ...]
    drawn_from: int
    share_better: float
    share_worse: float


def example_rankings(inputs: ReportInputs) -> ExampleRankings | None:
    """Rankings of up to `SHOWN_USERS` test users, by the first backbone without and with knowledge.

    The arm and its seed are best on validation. Users are drawn by lot among those with at least
    `_FEWEST_ITEMS` test samples of both labels; results have no say in who is shown.

    Returns:
      The rankings; None where the models rank no samples, nothing is compared, or no user has
      enough.
    """
    backbone = inputs.backbones[0]
    try:
        best = inputs.experiment.best_run(backbone)
    except ConfigurationError:
        return None
    runs = inputs.experiment.runs_of(backbone, inputs.baseline)
    baseline = next((run for run in runs if run.seed == best.seed), None)
    if baseline is None:
        return None
    without, with_knowledge = baseline.predictions, best.predictions
    if not isinstance(without, SamplePredictions) or not isinstance(
        with_knowledge, SamplePredictions
    ):
        return None
    _, users = np.unique(without.user_ids.astype(str), return_inverse=True)
    ranked = RankedLists(users, without.labels, without.scores)
    auc_without = ranked.auc()
    auc_with = RankedLists(users, without.labels, with_knowledge.scores).auc()
    eligible = np.flatnonzero(ranked.has_both_classes & (ranked.sizes >= _FEWEST_ITEMS))
    if not len(eligible):
        return None
    drawn = eligible[np.random.default_rng(_SEED).permutation(len(eligible))[:SHOWN_USERS]]
    return ExampleRankings(
        backbone=backbone,
        baseline=inputs.baseline,
        arm=best.knowledge,
        seed=best.seed,
        users=tuple(
            UserRankings(
                items=int(ranked.sizes[user]),
                liked=int(ranked.positives[user]),
                **_rankings(without, with_knowledge, np.flatnonzero(users == user), inputs.titles),
                auc_without=float(auc_without[user]),
                auc_with=float(auc_with[user]),
            )
            for user in drawn
        ),
        drawn_from=len(eligible),
        share_better=float(np.mean((auc_with > auc_without)[eligible])),
        share_worse=float(np.mean((auc_with < auc_without)[eligible])),
    )


def _rankings(
    without: SamplePredictions,
    with_knowledge: SamplePredictions,
    rows: np.ndarray,
    titles: Mapping[str, str],
) -> dict[str, tuple[RankedItem, ...]]:
    """The first items of both rankings of a user, by field of `UserRankings`."""
    labels = without.labels[rows]
    orders = {
        "without": np.argsort(-without.scores[rows], kind="stable"),
        "with_knowledge": np.argsort(-with_knowledge.scores[rows], kind="stable"),
    }
    place_without = np.empty(len(rows), np.int64)
    place_without[orders["without"]] = np.arange(1, len(rows) + 1)
    items = [str(item) for item in without.item_ids[rows]]
    return {
        name: tuple(
            RankedItem(
                name=titles.get(items[row], items[row]),
                liked=bool(labels[row]),
                place=place,
                place_without=int(place_without[row]),
            )
            for place, row in enumerate(order[:SHOWN_ITEMS], start=1)
        )
        for name, order in orders.items()
    }
