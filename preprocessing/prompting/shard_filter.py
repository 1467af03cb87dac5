"""What `data.filter` leaves of a log that lies in shards on this machine.

Samples are counted from k_u on in the filtered log. What a prompt or a group shows must be the
first k_u of the same log, or it would show samples. Memory holds one shard at a time, the ids of
all items, and one number per item.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from configs.raw_data import InteractionFilter
from preprocessing.interactions.filter_files import FilterFiles, read_coded, write_coded
from preprocessing.interactions.k_core import (
    CodedShard,
    KeptCounts,
    add_counts,
    count_all,
    count_kept,
    find_kept_items,
    kept_rows,
)
from preprocessing.interactions.reading import ITEM, USER


class ShardFilter:
    """Which rows of each shard are left."""

    def __init__(
        self,
        read: Callable[[int], pa.Table],
        shards: int,
        folder: Path,
        settings: InteractionFilter,
    ):
        """Runs the rounds of the filter.

        Args:
          read: rows of a shard, sorted by user, repeated ones taken out; the same at every call.
          shards: number of shards.
          folder: takes the rows as numbers.
          settings: how many interactions users and items need.
        """
        self._files = FilterFiles(str(folder))
        self._settings = settings
        distinct = (pc.unique(read(shard)[ITEM]) for shard in range(shards))
        self._ids = functools.reduce(_union, distinct, pa.array([], pa.string()))
        for shard in range(shards):
            write_coded(self._files, shard, _coded(read(shard), self._ids))

        def count(mask: np.ndarray, everything: bool = False) -> KeptCounts:
            coded = (read_coded(self._files, shard) for shard in range(shards))
            return functools.reduce(
                add_counts,
                (
                    count_all(rows, len(mask)) if everything else count_kept(rows, mask, settings)
                    for rows in coded
                ),
            )

        unfiltered = count(np.ones(len(self._ids), dtype=bool), everything=True)
        self._kept_items = find_kept_items(unfiltered, count, settings).mask

    @property
    def kept_items(self) -> list[str] | None:
        """Ids of the items that are left; None when items need no number of interactions."""
        if self._settings.minimum_item_interactions == 1:
            return None
        return self._ids.filter(pa.array(self._kept_items)).to_pylist()

    def kept_rows(self, shard: int) -> np.ndarray:
        """[rows] True for the rows of a shard that are left."""
        return kept_rows(read_coded(self._files, shard), self._kept_items, self._settings)


def _union(first: pa.Array, second: pa.Array) -> pa.Array:
    return pc.unique(pa.chunked_array([first, second], pa.string()))


def _coded(table: pa.Table, item_ids: pa.Array) -> CodedShard:
    items = pc.index_in(table[ITEM].combine_chunks(), value_set=item_ids).to_numpy()
    users = table[USER].combine_chunks().dictionary_encode()
    counts = np.bincount(users.indices.to_numpy(), minlength=len(users.dictionary))
    return CodedShard(items.astype(np.int32), counts)
