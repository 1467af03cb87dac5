"""Attribute values and title words as sparse columns.

A value's column is a hash of it, so that memory does not grow with the number of distinct values
and blocks of a catalogue can be turned into columns one by one. Two values in one column only make
two items a little more alike than they are.
"""

from __future__ import annotations

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import scipy.sparse as sparse

from preprocessing.grouping.co_occurrence import pairs_matrix
from preprocessing.hashing import stable_hashes

HASHED_COLUMNS = 1 << 18
_LARGEST_DEVIATION = 3.0
_BETWEEN_WORDS = r"[^\pL\pN]+"


def hashed_columns(values: pa.ListArray) -> sparse.csr_matrix:
    """1 where a row has a value, in the value's column.

    Args:
      values: [rows] list of texts; an empty text is no value.

    Returns:
      [rows, HASHED_COLUMNS] float32.
    """
    flat = values.flatten().dictionary_encode()
    rows = pc.list_parent_indices(values).to_numpy()
    distinct = flat.dictionary.to_pylist()
    columns = (stable_hashes(distinct, "column") % np.uint64(HASHED_COLUMNS)).astype(np.int64)
    is_value = np.array([bool(text) for text in distinct], dtype=bool)
    codes = flat.indices.to_numpy()
    kept = is_value[codes]
    return pairs_matrix(rows[kept], columns[codes[kept]], (len(values), HASHED_COLUMNS))


def words_of(titles: pa.Array) -> pa.ListArray:
    """Words of each title in lower case: runs of letters and digits of any script."""
    return pc.split_pattern_regex(pc.utf8_lower(titles), _BETWEEN_WORDS)


def standardised_column(numbers: np.ndarray) -> sparse.csr_matrix:
    """Deviations from the mean in standard deviations, cut at 3; 0 for a missing number.

    Args:
      numbers: [rows] float64, NaN for a missing one.

    Returns:
      [rows, 1] float32.
    """
    known = np.isfinite(numbers)
    column = np.zeros(len(numbers))
    deviation = numbers[known].std() if known.any() else 0.0
    if deviation > 0:
        scores = (numbers[known] - numbers[known].mean()) / deviation
        column[known] = np.clip(scores, -_LARGEST_DEVIATION, _LARGEST_DEVIATION)
    return sparse.csr_matrix(column[:, None].astype(np.float32))
