"""When requests are due."""

from __future__ import annotations

import numpy as np


def arrival_times(arrivals: str, rate: float, seconds: float, seed: int) -> np.ndarray:
    """Times at which requests are due, whatever the server does.

    Args:
      arrivals: "poisson" for independent users, with gaps that are exponentially distributed, or
        "even" for equal gaps.
      rate: requests per second.
      seconds: length of the schedule.
      seed: of the gaps.

    Returns:
      Seconds from the start, ascending, each below `seconds`, float64 [requests].
    """
    if arrivals == "even":
        return np.arange(round(rate * seconds)) / rate
    generator = np.random.default_rng(seed)
    # Of a Poisson process the number in an interval is Poisson, and given it the times are uniform.
    count = generator.poisson(rate * seconds)
    return np.sort(generator.uniform(0.0, seconds, count))
