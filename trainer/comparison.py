"""Two models on the same examples, as a whole and by slice, as JSON and for people."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np

from trainer.metrics import display_name
from trainer.predictions import (
    PerExampleMetric,
    Predictions,
    measured_differences,
    require_same_examples,
)
from trainer.significance import FEWEST_USERS, DeLongTest, Difference, delong_test, holm

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
    if _users(first) < FEWEST_USERS:
        reason = f"fewer than {FEWEST_USERS} users, too few to resample"
        return Compared(first.count, _users(first), reason=reason)
    before, after = ([run.measures() for run in side] for side in (baseline, candidate))
    return Compared(
        n=first.count,
        users=_users(first),
        differences=measured_differences(before, after, resamples, seed),
        delong=_delong(before, after),
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
    auc = predictions.measures().get("auc")
    if auc is not None and auc.labels is not None and auc.labels.min() == auc.labels.max():
        return f"all {predictions.examples_name} have label {int(auc.labels[0])}"
    return None


def _users(predictions: Predictions) -> int:
    return len(np.unique(predictions.table()["user_id"].to_numpy()))


def _delong(
    baseline: Sequence[Mapping[str, PerExampleMetric]],
    candidate: Sequence[Mapping[str, PerExampleMetric]],
) -> DeLongTest | None:
    auc = baseline[0].get("auc")
    if auc is None or auc.labels is None:
        return None
    scores = [np.stack([run["auc"].values for run in side]) for side in (baseline, candidate)]
    return delong_test(auc.labels, scores[0], scores[1])


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
    p_values_by_metric: dict[str, dict[tuple[str, str], float]] = {}
    for name, groups in slices.items():
        for group, compared in groups.items():
            for metric, difference in compared.differences.items():
                p_values_by_metric.setdefault(metric, {})[name, group] = difference.p_value
            if compared.delong is not None:
                p_values_by_metric.setdefault(DELONG, {})[name, group] = compared.delong.p_value
    return {
        (*key, test): adjusted
        for test, p_values in p_values_by_metric.items()
        for key, adjusted in zip(p_values, holm(list(p_values.values())), strict=True)
    }


Slices = Mapping[str, Mapping[str, Compared]]

_NOTHING = "–"

SEEDS_COVERED = "intervals and p-values of the bootstrap are about other users and other seeds"
SEEDS_NOT_COVERED = (
    "seeds are not covered: with a single run on a side, intervals and p-values are about other "
    "users only, and two seeds of one model may differ as much; compare at least three runs a side"
)


def result_of(compared: Compared) -> dict[str, object]:
    """A comparison as JSON; the keys of the first metric's interval have no prefix."""
    result: dict[str, object] = {}
    for metric, difference in compared.differences.items():
        prefix = _prefix(compared, metric)
        result |= {
            f"{metric}_a": difference.baseline,
            f"{metric}_b": difference.candidate,
            f"{metric}_difference": difference.difference,
            f"{prefix}ci_low": _or_none(difference.low),
            f"{prefix}ci_high": _or_none(difference.high),
            f"{prefix}p_value": _or_none(difference.p_value),
            f"{prefix}relative_lift": _or_none(difference.relative_lift),
            f"{prefix}seed_standard_error": _or_none(difference.seed_error),
        }
    if compared.delong is not None:
        result[DELONG] = {
            "standard_error": _or_none(compared.delong.standard_error),
            "ci_low": _or_none(compared.delong.low),
            "ci_high": _or_none(compared.delong.high),
            "p_value": _or_none(compared.delong.p_value),
        }
    if compared.differences:
        text = _seeds_text(compared)
        result |= {"covers_seeds": text == SEEDS_COVERED, "seeds": text}
    if compared.reason is not None:
        result["reason"] = compared.reason
    return result | {"n": compared.n, "users": compared.users}


def slice_results(slices: Slices, sparse_below: int) -> dict[str, dict[str, dict[str, object]]]:
    """The groups of all slices as JSON, corrected p-values beside the others.

    Args:
      slices: slice -> group -> comparison.
      sparse_below: groups of fewer samples are marked.
    """
    adjusted = adjusted_p_values(slices)
    results: dict[str, dict[str, dict[str, object]]] = {}
    for name, groups in slices.items():
        results[name] = {}
        for group, compared in groups.items():
            result = result_of(compared)
            for metric in compared.differences:
                key = f"{_prefix(compared, metric)}holm_p_value"
                result[key] = _or_none(adjusted[name, group, metric])
            delong = result.get(DELONG)
            if isinstance(delong, dict):
                delong["holm_p_value"] = _or_none(adjusted[name, group, DELONG])
            result["sparse"] = compared.n < sparse_below
            results[name][group] = result
    return results


def sentences(compared: Compared) -> list[str]:
    """What people read about a comparison."""
    lines = [] if compared.reason is None else [f"not compared: {compared.reason}"]
    for metric, difference in compared.differences.items():
        lift = difference.relative_lift
        lines.append(
            f"{display_name(metric)} {difference.baseline:.4f} -> {difference.candidate:.4f}, "
            f"difference {_interval(difference)}, p = {_p(difference.p_value)}"
            + ("" if math.isnan(lift) else f", relative {100 * lift:+.2f} %")
        )
    if compared.delong is not None:
        lines.append(
            f"DeLong's test of the AUC: difference {_interval(compared.delong)}, "
            f"p = {_p(compared.delong.p_value)}"
        )
    return [*lines, *([_seeds_text(compared)] if compared.differences else [])]


def _seeds_text(compared: Compared) -> str:
    covered = all(difference.covers_seeds for difference in compared.differences.values())
    return SEEDS_COVERED if covered else SEEDS_NOT_COVERED


def slice_rows(slices: Slices, sparse_below: int) -> tuple[list[str], list[list[str]]]:
    """The groups of all slices as a table: its header, and a row for each group and metric.

    Args:
      slices: slice -> group -> comparison.
      sparse_below: groups of fewer samples are marked.
    """
    adjusted = adjusted_p_values(slices)
    header = ["slice", "group", "n", "users", "metric", "A", "B", "difference", "95 % interval"]
    header += ["p", "p, Holm", "DeLong p", "DeLong Holm", "remark"]
    rows = []
    for name, groups in slices.items():
        for group, compared in groups.items():
            counts = [name, group, f"{compared.n:,}", f"{compared.users:,}"]
            if compared.reason is not None:
                rows.append([*counts, *[_NOTHING] * 9, compared.reason])
            for metric, difference in compared.differences.items():
                delong = compared.delong if metric == "auc" else None
                rows.append(
                    [
                        *counts,
                        display_name(metric),
                        f"{difference.baseline:.4f}",
                        f"{difference.candidate:.4f}",
                        f"{difference.difference:+.4f}",
                        f"{difference.low:+.4f} to {difference.high:+.4f}",
                        _p(difference.p_value),
                        _p(adjusted[name, group, metric]),
                        _NOTHING if delong is None else _p(delong.p_value),
                        _NOTHING if delong is None else _p(adjusted[name, group, DELONG]),
                        "few samples" if compared.n < sparse_below else "",
                    ]
                )
    return header, rows


def _prefix(compared: Compared, metric: str) -> str:
    return "" if metric == next(iter(compared.differences)) else f"{metric}_"


def _interval(difference: Difference | DeLongTest) -> str:
    return f"{difference.difference:+.4f} [{difference.low:+.4f}, {difference.high:+.4f}]"


def _p(value: float) -> str:
    return _NOTHING if math.isnan(value) else f"{value:.3g}"


def _or_none(value: float) -> float | None:
    """A number for JSON, which has no NaN."""
    return None if math.isnan(value) else value
