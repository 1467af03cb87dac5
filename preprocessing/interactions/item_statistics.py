"""Rating statistics of items over training interactions, by fold of the user."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
import pyarrow as pa

from preprocessing.interactions.samples import user_folds
from preprocessing.interactions.sequences import UserSequences
from preprocessing.interactions.splitting import SplitRows
from preprocessing.records.contract import USER_FOLDS

_ITEM = "item"
_SUMS = "sums"
_COUNTS = "counts"
_SCHEMA = pa.schema(
    {
        _ITEM: pa.string(),
        _SUMS: pa.list_(pa.float64(), USER_FOLDS),
        _COUNTS: pa.list_(pa.int64(), USER_FOLDS),
    }
)


def count_items(sequences: UserSequences, split: SplitRows) -> pa.Table:
    """Rating sum and count per item and fold; items without training interactions have zeros."""
    items = len(sequences.item_ids)
    folds = user_folds(sequences.users)[sequences.user_of_row]
    cells = (sequences.item_of_row * USER_FOLDS + folds)[split.training]
    ratings = sequences.ratings[split.training]
    sums = np.bincount(cells, weights=ratings, minlength=items * USER_FOLDS)
    counts = np.bincount(cells, minlength=items * USER_FOLDS)
    return statistics_table(pa.array(sequences.item_ids, pa.string()), sums, counts)


def add_up(tables: Iterable[pa.Table], item_ids: list[str]) -> pa.Table:
    """Adds up statistics of several shards.

    Args:
      tables: results of `count_items`, in a fixed order, so that sums are the same in every run.
      item_ids: rows of the result; holds every item of the tables.
    """
    rows = pa.array(item_ids, pa.string())
    sums = np.zeros((len(item_ids), USER_FOLDS))
    counts = np.zeros((len(item_ids), USER_FOLDS), np.int64)
    for table in tables:
        index = pa.compute.index_in(table[_ITEM], value_set=rows).to_numpy()
        table_sums, table_counts = fold_matrices(table)
        sums[index] += table_sums
        counts[index] += table_counts
    return statistics_table(rows, sums.ravel(), counts.ravel())


def fold_matrices(table: pa.Table) -> tuple[np.ndarray, np.ndarray]:
    """Rating sums and counts of a statistics table, each [items, folds]."""
    sums = table[_SUMS].combine_chunks().flatten().to_numpy().reshape(-1, USER_FOLDS)
    counts = table[_COUNTS].combine_chunks().flatten().to_numpy().reshape(-1, USER_FOLDS)
    return sums, counts


def items_of(table: pa.Table) -> pa.ChunkedArray:
    """Item ids of a statistics table."""
    return table[_ITEM]


def statistics_table(items: pa.Array, sums: np.ndarray, counts: np.ndarray) -> pa.Table:
    """Table from flat arrays of items x folds numbers."""
    columns = [
        items,
        pa.FixedSizeListArray.from_arrays(pa.array(sums, pa.float64()), USER_FOLDS),
        pa.FixedSizeListArray.from_arrays(pa.array(counts, pa.int64()), USER_FOLDS),
    ]
    return pa.table(columns, schema=_SCHEMA)
