"""Two models on the same examples, as a whole and by slice."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np

from trainer.bootstrap import Difference
from trainer.delong import DeLongTest, delong_test
from trainer.multiple_tests import holm
from trainer.predictions import Predictions, require_same_examples

DELONG = "delong"
"""What DeLong's test is called beside the metrics of the bootstrap."""

Divisions = Mapping[str, Mapping[str, np.ndarray]]
"""Slice -> group -> which rows of the predictions' table belong to it, bool [rows]."""


@dataclass(frozen=True)
class Compared:
    """What two models differ by.

    Attributes:
      n: samples, candidates or examples.
      users: distinct users.
      differences: metric -> paired difference, the main metric first; empty where there is none.
      delong: DeLong's test of the AUCs; None of kinds without an AUC.
      reason: why there is no difference; None where there is.
    """

    n: int
    users: int
    differences: dict[str, Difference] = field(default_factory=dict)
    delong: DeLongTest | None = None
    reason: str | None = None


def compare_models(
    baseline: Sequence[Predictions], candidate: Sequence[Predictions], resamples: int, seed: int
) -> Compared:
    """Compares two models, each with one or several runs, on the same examples.

    Args:
      baseline: predictions of each run of one side.
      candidate: of the other side.
      resamples: of the bootstrap over users.
      seed: of the bootstrap.

    Raises:
      CommandError: the predictions are of different kinds of models, not of the same examples, or
        of one class.
    """
    require_same_examples([*baseline, *candidate])
    first = baseline[0]
    return Compared(
        n=first.count,
        users=_users(first),
        differences=type(first).differences(baseline, candidate, resamples, seed),
        delong=_delong(baseline, candidate),
    )


def compare_slices(
    baseline: Sequence[Predictions],
    candidate: Sequence[Predictions],
    divisions: Divisions,
    resamples: int,
    seed: int,
) -> dict[str, dict[str, Compared]]:
    """Compares two models in every group of every slice; a group that cannot be is given a reason.

    Args:
      baseline: predictions of each run of one side, on the same examples as the other's.
      candidate: of the other side.
      divisions: the groups.
      resamples: of the bootstrap over users.
      seed: of the bootstrap.
    """
    return {
        name: {
            group: _compare_group(baseline, candidate, rows, resamples, seed)
            for group, rows in groups.items()
        }
        for name, groups in divisions.items()
    }


def _compare_group(
    baseline: Sequence[Predictions],
    candidate: Sequence[Predictions],
    rows: np.ndarray,
    resamples: int,
    seed: int,
) -> Compared:
    sides = [[run.of_rows(rows) for run in side] for side in (baseline, candidate)]
    first = sides[0][0]
    if reason := _not_comparable(first):
        return Compared(first.count, _users(first), reason=reason)
    return compare_models(sides[0], sides[1], resamples, seed)


def _not_comparable(predictions: Predictions) -> str | None:
    if not predictions.count:
        return f"no {predictions.examples_name}"
    scored = predictions.scored_samples()
    if scored is not None and scored[0].min() == scored[0].max():
        return f"all {predictions.examples_name} have label {int(scored[0][0])}"
    if _users(predictions) < 2:
        return "a single user, who cannot be resampled"
    return None


def _users(predictions: Predictions) -> int:
    return len(np.unique(predictions.table()["user_id"].to_numpy()))


def _delong(baseline: Sequence[Predictions], candidate: Sequence[Predictions]) -> DeLongTest | None:
    sides = [[run.scored_samples() for run in side] for side in (baseline, candidate)]
    first = sides[0][0]
    if first is None:
        return None
    scores = [np.stack([run[1] for run in side if run is not None]) for side in sides]
    return delong_test(first[0], scores[0], scores[1])


def adjusted_p_values(
    slices: Mapping[str, Mapping[str, Compared]],
) -> dict[tuple[str, str, str], float]:
    """P-values corrected for having looked at so many groups, for each test apart.

    Args:
      slices: slice -> group -> result; all of them are one family.

    Returns:
      (slice, group, test) -> Holm-adjusted p-value; a test is a metric, of the bootstrap, or
      `DELONG`. NaN where there is none.
    """
    found: dict[str, dict[tuple[str, str], float]] = {}
    for name, groups in slices.items():
        for group, compared in groups.items():
            for metric, difference in compared.differences.items():
                found.setdefault(metric, {})[name, group] = difference.p_value
            if compared.delong is not None:
                found.setdefault(DELONG, {})[name, group] = compared.delong.p_value
    return {
        (*place, test): adjusted
        for test, p_values in found.items()
        for place, adjusted in zip(p_values, holm(list(p_values.values())), strict=True)
    }
