"""Batches in which groups of rows are whole."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc


def with_whole_groups(batches: Iterator[pa.RecordBatch], column: str) -> Iterator[pa.RecordBatch]:
    """Batches cut where the column's value changes; rows come sorted by it."""
    held: list[pa.RecordBatch] = []
    for batch in batches:
        values = batch.column(column)
        if batch.num_rows == 0:
            continue
        last = pc.index(values, values[-1]).as_py()
        # The last value may go on in the next batch; all before it is complete.
        if last > 0 or (held and held[-1].column(column)[-1] != values[0]):
            yield _one_batch([*held, batch.slice(0, last)])
            held = []
        held.append(batch.slice(last))
    if held:
        yield _one_batch(held)


def _one_batch(batches: list[pa.RecordBatch]) -> pa.RecordBatch:
    return pa.concat_batches([batch for batch in batches if batch.num_rows])


def numbers_of_groups(values: pa.Array) -> np.ndarray:
    """Sorted values -> int64, 0 for rows with the first value, 1 for those with the second."""
    changes = pc.not_equal(values[1:], values[:-1]).to_numpy(zero_copy_only=False)
    return np.r_[0, np.cumsum(changes)].astype(np.int64)
