from __future__ import annotations

import numpy as np
import pytest

from benchmarks.paired_ratios import p50, p99, per_second, ratio_of


def turns(generator: np.random.Generator, scale: float, noise: np.ndarray) -> list[np.ndarray]:
    return [scale * turn * generator.uniform(0.9, 1.1, 50) for turn in noise]


def test_noise_that_turns_share_hardly_widens_the_interval() -> None:
    generator = np.random.default_rng(0)
    # Some turns are ten times as slow, for both programs.
    noise = np.where(generator.uniform(size=60) < 0.2, 10.0, 1.0)
    base, own = turns(generator, 1.0, noise), turns(generator, 1.3, noise)
    ratio = ratio_of(own, base, p50, seed=1)
    assert ratio.low <= 1.3 <= ratio.high
    assert ratio.value == pytest.approx(1.3, rel=0.03)
    assert ratio.high - ratio.low < 0.1
    assert ratio_of(base, base, p99, seed=1).value == 1.0


def test_statistics() -> None:
    times = np.arange(1, 201) / 1000
    assert (p50(times), p99(times)) == (0.1, 0.198)
    assert per_second(np.array([0.1, 0.3])) == pytest.approx(5.0)
