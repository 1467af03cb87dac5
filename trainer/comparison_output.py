"""Comparisons as JSON, and as sentences and tables for people."""

from __future__ import annotations

import math
from collections.abc import Mapping

from trainer.bootstrap import Difference
from trainer.comparison import DELONG, Compared, adjusted_p_values
from trainer.delong import DeLongTest
from trainer.metric_names import people_call

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
    for metric, found in compared.differences.items():
        prefix = _prefix(compared, metric)
        result |= {
            f"{metric}_a": found.baseline,
            f"{metric}_b": found.candidate,
            f"{metric}_difference": found.difference,
            f"{prefix}ci_low": _or_none(found.low),
            f"{prefix}ci_high": _or_none(found.high),
            f"{prefix}p_value": _or_none(found.p_value),
            f"{prefix}relative_lift": _or_none(found.relative_lift),
            f"{prefix}seed_standard_error": _or_none(found.seed_error),
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
            if compared.reason is not None:
                result["reason"] = compared.reason
            results[name][group] = result
    return results


def sentences(compared: Compared) -> list[str]:
    """What people read about a comparison."""
    lines = []
    for metric, found in compared.differences.items():
        lift = found.relative_lift
        lines.append(
            f"{people_call(metric)} {found.baseline:.4f} -> {found.candidate:.4f}, "
            f"difference {_interval(found)}, p = {_p(found.p_value)}"
            + ("" if math.isnan(lift) else f", relative {100 * lift:+.2f} %")
        )
    if compared.delong is not None:
        lines.append(
            f"DeLong's test of the AUC: difference {_interval(compared.delong)}, "
            f"p = {_p(compared.delong.p_value)}"
        )
    return [*lines, *([_seeds_text(compared)] if compared.differences else [])]


def _seeds_text(compared: Compared) -> str:
    covered = all(found.covers_seeds for found in compared.differences.values())
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
            for metric, found in compared.differences.items():
                delong = compared.delong if metric == "auc" else None
                rows.append(
                    [
                        *counts,
                        people_call(metric),
                        f"{found.baseline:.4f}",
                        f"{found.candidate:.4f}",
                        f"{found.difference:+.4f}",
                        f"{found.low:+.4f} to {found.high:+.4f}",
                        _p(found.p_value),
                        _p(adjusted[name, group, metric]),
                        _NOTHING if delong is None else _p(delong.p_value),
                        _NOTHING if delong is None else _p(adjusted[name, group, DELONG]),
                        "few samples" if compared.n < sparse_below else "",
                    ]
                )
    return header, rows


def _prefix(compared: Compared, metric: str) -> str:
    return "" if metric == next(iter(compared.differences)) else f"{metric}_"


def _interval(found: Difference | DeLongTest) -> str:
    return f"{found.difference:+.4f} [{found.low:+.4f}, {found.high:+.4f}]"


def _p(value: float) -> str:
    return _NOTHING if math.isnan(value) else f"{value:.3g}"


def _or_none(value: float) -> float | None:
    """A number for JSON, which has no NaN."""
    return None if math.isnan(value) else value
