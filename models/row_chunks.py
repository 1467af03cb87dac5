"""Working through long tables in parts, so that memory does not grow with them."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

CHUNK_ROWS = 8192


def row_chunks(first: int, num_rows: int) -> Iterator[np.ndarray]:
    """Rows first, ..., num_rows - 1 in runs of at most CHUNK_ROWS, int32."""
    for start in range(first, num_rows, CHUNK_ROWS):
        yield np.arange(start, min(start + CHUNK_ROWS, num_rows), dtype=np.int32)
