from __future__ import annotations

import numpy as np
import pyarrow as pa
import pytest

from preprocessing.grouping.features import (
    HASHED_COLUMNS,
    hashed_columns,
    standardised_column,
    words_of,
)


def test_rows_have_values_in_common():
    columns = hashed_columns(pa.array([["Drama", "War"], ["War", "War", ""], [], ["Drama"]]))
    assert columns.shape == (4, HASHED_COLUMNS)
    common = (columns @ columns.T).toarray()
    assert common.tolist() == [[2, 1, 0, 1], [1, 1, 0, 0], [0, 0, 0, 0], [1, 0, 0, 1]]


def test_columns_do_not_depend_on_the_block():
    whole = hashed_columns(pa.array([["a"], ["b", "c"], ["a", "c"]]))
    parts = [hashed_columns(pa.array(rows)) for rows in ([["a"]], [["b", "c"], ["a", "c"]])]
    assert (whole.indices == np.concatenate([part.indices for part in parts])).all()


def test_words_of_any_script():
    titles = pa.array(["The Thing (1982)", "Амели", "七人の侍", " --- ", ""])
    words = [[word for word in row if word] for row in words_of(titles).to_pylist()]
    assert words == [["the", "thing", "1982"], ["амели"], ["七人の侍"], [], []]


def test_numbers_are_standardised_and_missing_ones_are_the_mean():
    numbers = np.array([1.0, np.nan, 3.0, 5.0, np.inf])
    scores = standardised_column(numbers).toarray().ravel()
    # mean 3, population deviation sqrt(8/3)
    assert scores.tolist() == pytest.approx([-1.2247449, 0, 0, 1.2247449, 0])
    far = standardised_column(np.array([0.0] * 99 + [1.0])).toarray()
    assert far.max() == 3
    for constant in ([7.0, 7.0], [np.nan, np.nan], []):
        assert not standardised_column(np.array(constant)).nnz
