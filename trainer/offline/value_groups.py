"""From values to named groups of values."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from trainer.offline.slices import MISSING

OTHERS = "(others)"
"""The group of all values that are rarer than those shown."""


def count_groups(bounds: Sequence[int]) -> list[str]:
    """Names of groups of counts: (1, 5) -> "0", "1-4", "5+".

    Args:
      bounds: ascending, from 1: where groups begin, behind the one from 0.
    """
    starts = [0, *bounds]
    names = [
        str(low) if high - low == 1 else f"{low}-{high - 1}"
        for low, high in zip(starts, bounds, strict=False)
    ]
    return [*names, f"{starts[-1]}+"]


def number_groups(
    values: np.ndarray, rows: np.ndarray, num_groups: int
) -> tuple[list[str], list[float]]:
    """Groups of numbers with about as many rows each; equal numbers are never parted.

    Args:
      values: distinct numbers in ascending order.
      rows: int [values], how many rows have each.
      num_groups: at most so many groups.

    Returns:
      Names of the groups, smallest and largest number of each, and the bounds between them.
    """
    if not len(values):
        return [], []
    before = np.cumsum(rows) - rows
    group = before * num_groups // rows.sum()
    starts = np.flatnonzero(np.diff(group, prepend=-1))
    ends = np.r_[starts[1:], len(values)] - 1
    names = [
        f"{values[start]:.10g}" if start == end else f"{values[start]:.10g} to {values[end]:.10g}"
        for start, end in zip(starts, ends, strict=True)
    ]
    return names, [float(values[start]) for start in starts[1:]]


@dataclass(frozen=True)
class ValueGroups:
    """Entities divided by the values that they have.

    Attributes:
      names: of the groups.
      of_entity: the groups of each entity.
    """

    names: list[str]
    of_entity: list[list[int]]


def value_groups(
    of_entities: Sequence[Sequence[str]], rows: np.ndarray, largest: int
) -> ValueGroups:
    """One group for each of the values with most rows; then others, and entities without a value.

    Args:
      of_entities: the values of every entity.
      rows: int [entities], how many rows each has.
      largest: number of values that have a group of their own.
    """
    counts: dict[str, int] = {}
    for values, count in zip(of_entities, rows.tolist(), strict=True):
        for value in set(values):
            counts[value] = counts.get(value, 0) + count
    ranked = sorted((value for value in counts if counts[value]), key=lambda v: (-counts[v], v))
    names = ranked[:largest]
    group_of = {value: group for group, value in enumerate(names)}
    if len(ranked) > largest:
        names = [*names, OTHERS]
    others = len(names) - 1
    missing = len(names)
    groups = [
        sorted({group_of.get(value, others) for value in values if counts[value]}) or [missing]
        for values in of_entities
    ]
    return ValueGroups([*names, MISSING], groups)
