from __future__ import annotations

import numpy as np
import pytest

from models.vector_tables import CHUNK_ROWS, row_chunks


@pytest.mark.parametrize(
    ("first", "num_rows", "lengths"),
    [(0, 7, [3, 3, 1]), (1, 7, [3, 3]), (1, 4, [3]), (1, 2, [1]), (1, 1, []), (0, 0, [])],
)
def test_every_row_is_in_one_chunk(
    first: int, num_rows: int, lengths: list[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("models.vector_tables.CHUNK_ROWS", 3)
    chunks = list(row_chunks(first, num_rows))
    assert [len(chunk) for chunk in chunks] == lengths
    assert [int(row) for chunk in chunks for row in chunk] == list(range(first, num_rows))
    assert all(chunk.dtype == np.int32 for chunk in chunks)


def test_a_chunk_of_wide_vectors_stays_small() -> None:
    # 4,096 components in double precision: below 512 MB.
    assert CHUNK_ROWS * 4096 * 8 <= 2**29
