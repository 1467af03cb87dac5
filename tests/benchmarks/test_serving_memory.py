from __future__ import annotations

import os

import numpy as np
import pytest

from benchmarks.serving_memory import measured_memory, resident_megabytes
from tests.serving.toy_ranker import toy_base_path

LARGEST_GROWTH_MEGABYTES = 16.0
"""What 4,000 requests may leave; 4 KB of each, were they lost."""


@pytest.mark.slow
def test_the_server_keeps_nothing_of_requests() -> None:
    looks = list(measured_memory(toy_base_path(), 6000, 1000, callers=4, seed=1))
    assert [look["requests"] for look in looks] == [1000, 2000, 3000, 4000, 5000, 6000]
    assert looks[-1]["answered"] + looks[-1]["refused"] == 6000
    assert looks[-1]["answered"] > 1000 and looks[-1]["refused"] > 3000
    # The first thousands are the warm-up.
    grown = looks[-1]["resident_megabytes"] - looks[1]["resident_megabytes"]
    assert grown < LARGEST_GROWTH_MEGABYTES


def test_memory_that_is_held_is_seen() -> None:
    before = resident_megabytes(os.getpid())
    held = np.ones(256 << 17)  # 256 MB; what else this process takes or gives back is much less
    assert 200 < resident_megabytes(os.getpid()) - before < 320
    del held
    with pytest.raises((ProcessLookupError, FileNotFoundError)):
        resident_megabytes(2**22 + 1)
