"""Ratios of two programs that took turns, with intervals over the turns."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from serving.loadtest.summary import nearest_rank

_RESAMPLES = 2000


@dataclass(frozen=True)
class Ratio:
    """A ratio and its interval.

    Attributes:
      value: of all turns together.
      low, high: 95 % interval, from resampling turns with replacement (Efron's percentile
        bootstrap).
    """

    value: float
    low: float
    high: float


def ratio_of(
    own: Sequence[np.ndarray],
    base: Sequence[np.ndarray],
    statistic: Callable[[np.ndarray], float],
    seed: int,
) -> Ratio:
    """The ratio of a statistic of two programs' times.

    Args:
      own: times of each turn of the one program.
      base: of the other, in the same turns, which share the machine's state.
      statistic: of the times of all turns.
      seed: of the resampling.
    """

    def ratio(turns: Sequence[int] | np.ndarray) -> float:
        return statistic(np.concatenate([own[turn] for turn in turns])) / statistic(
            np.concatenate([base[turn] for turn in turns])
        )

    generator = np.random.default_rng(seed)
    resampled = [ratio(generator.integers(0, len(own), len(own))) for _ in range(_RESAMPLES)]
    low, high = np.quantile(resampled, [0.025, 0.975])
    return Ratio(ratio(range(len(own))), float(low), float(high))


def p50(times: np.ndarray) -> float:
    """The median, a time that was measured."""
    return nearest_rank(times, 0.5)


def p99(times: np.ndarray) -> float:
    """The 99th percentile, a time that was measured."""
    return nearest_rank(times, 0.99)


def per_second(times: np.ndarray) -> float:
    """How many happen in a second, one after the other."""
    return float(len(times) / times.sum())
