from __future__ import annotations

import numpy as np
import pytest

from models.vector_tables import stored_vectors
from serving.proof.result import LOADER_BOUND, SCORE_BOUNDS, scaled


@pytest.mark.parametrize(("number_format", "share"), [("float16", 2**-11), ("int8", 1 / 254)])
def test_rounding_moves_an_element_by_the_share_of_the_largest_that_the_text_says(
    number_format: str, share: float
) -> None:
    random = np.random.default_rng(1)
    table = (random.normal(size=[2000, 16]) * random.lognormal(size=[2000, 1])).astype(np.float32)
    stored = stored_vectors(table, number_format, "t")  # type: ignore[arg-type]
    values = stored["values"].astype(np.float64)
    if "scales" in stored:
        values *= stored["scales"][:, np.newaxis]
    moved = np.abs(values - table).max(axis=1) / np.abs(table).max(axis=1)
    # Float32 arithmetic of the scale may add a rounding of its own.
    assert share / 4 < moved.max() <= share * (1 + 1e-5)


def test_coarser_formats_have_wider_bounds() -> None:
    assert LOADER_BOUND < SCORE_BOUNDS["float32"] < SCORE_BOUNDS["float16"] < SCORE_BOUNDS["int8"]
    assert SCORE_BOUNDS["float32"] == 1e-5


def test_bounds_of_large_numbers_grow_with_them() -> None:
    assert scaled(1e-5, 0.2) == 1e-5
    assert scaled(1e-5, 40.0) == pytest.approx(4e-4)
