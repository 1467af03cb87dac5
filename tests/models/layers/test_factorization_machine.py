from __future__ import annotations

from itertools import combinations
from pathlib import Path

import numpy as np
import pytest

from models.layers.interaction import FactorizationMachine
from tests.models.layers.contract import (
    assert_rows_do_not_mix,
    assert_runs_in_mixed_precision,
    assert_survives_saving,
)

FIELDS = np.random.default_rng(0).normal(size=[3, 4, 5]).astype(np.float32)


@pytest.mark.parametrize("count", [1, 2, 4])
def test_output_is_the_sum_over_pairs(count: int) -> None:
    fields = FIELDS[:, :count]
    expected = [[sum(float(v @ w) for v, w in combinations(row, 2))] for row in fields]
    np.testing.assert_allclose(FactorizationMachine()(fields), expected, atol=1e-5)


def test_values_by_hand() -> None:
    # 1 * 3 + 2 * 4 = 11, 1 * 5 + 2 * 6 = 17, 3 * 5 + 4 * 6 = 39.
    np.testing.assert_allclose(
        FactorizationMachine()(np.array([[[1, 2], [3, 4], [5, 6.0]]])), [[67]]
    )


def test_rows_do_not_mix() -> None:
    assert_rows_do_not_mix(FactorizationMachine(), FIELDS)


def test_survives_saving(tmp_path: Path) -> None:
    assert_survives_saving(FactorizationMachine(), FIELDS, tmp_path)


def test_runs_in_mixed_precision() -> None:
    assert_runs_in_mixed_precision(FactorizationMachine, FIELDS)
