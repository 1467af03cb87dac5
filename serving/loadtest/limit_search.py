"""The highest arrival rate that keeps a limit."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable


@dataclasses.dataclass(frozen=True)
class Step:
    """One rate that was tried.

    Attributes:
      rate: requests per second.
      kept: whether the limit was kept.
    """

    rate: float
    kept: bool


@dataclasses.dataclass(frozen=True)
class Limit:
    """What a search found.

    Attributes:
      rate: the highest rate that kept the limit; 0 if none did.
      exceeded: the lowest rate above it that did not; None if every rate kept the limit.
      steps: the rates that were tried, in order.
    """

    rate: float
    exceeded: float | None
    steps: tuple[Step, ...]


def find_limit(
    keeps_limit: Callable[[float], bool],
    first_rate: float,
    lowest_rate: float,
    highest_rate: float,
    precision: float = 0.1,
) -> Limit:
    """Doubles the rate until the limit is exceeded, then halves the interval.

    Args:
      keeps_limit: measures at a rate, in requests per second.
      first_rate: where to begin; it is halved while it exceeds the limit.
      lowest_rate: not tried below.
      highest_rate: not tried beyond.
      precision: the search ends when the rates around the limit differ by this share.
    """
    steps: list[Step] = []

    def kept(rate: float) -> bool:
        steps.append(Step(rate, keeps_limit(rate)))
        return steps[-1].kept

    rate = min(max(first_rate, lowest_rate), highest_rate)
    if kept(rate):
        low, high = rate, rate
        while low < highest_rate:
            high = min(2 * low, highest_rate)
            if not kept(high):
                break
            low = high
        else:
            return Limit(low, None, tuple(steps))
    else:
        low, high = rate, rate
        while high > lowest_rate:
            low = max(high / 2, lowest_rate)
            if kept(low):
                break
            high = low
        else:
            return Limit(0.0, high, tuple(steps))
    while high > low * (1 + precision):
        middle = (low + high) / 2
        if kept(middle):
            low = middle
        else:
            high = middle
    return Limit(low, high, tuple(steps))
