"""The first k_u interactions of every user: all that prompts and groups may see (leak rule)."""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from configs.data import Data, InteractionFilter
from preprocessing.dead_letters import DeadLetterRuns
from preprocessing.interactions.k_core import (
    FilterFiles,
    KeptCounts,
    add_up,
    coded,
    count_kept,
    find_kept_items,
    kept_rows,
    read_coded,
    write_coded,
)
from preprocessing.interactions.reading import (
    INTERACTION_SCHEMA,
    ITEM,
    divided_by_shard,
    has_integer_items,
    parse_interactions,
)
from preprocessing.interactions.sequences import (
    knowledge_boundaries,
    order_interactions,
    ordered_by,
    without_repeated,
)
from preprocessing.tables.table_reader import TableReader


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
            write_coded(self._files, shard, coded(read(shard), self._ids))

        def count(mask: np.ndarray, minimum: InteractionFilter) -> KeptCounts:
            return add_up(
                count_kept(read_coded(self._files, shard), mask, minimum) for shard in range(shards)
            )

        self._kept_items = find_kept_items(count, len(self._ids), settings).mask

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


_INPUT_BYTES_PER_SHARD = 16 << 20
_MOST_SHARDS = 256  # as many files are open at the same time


@dataclass(frozen=True)
class FirstInteractions:
    """Interactions [0, k_u) of some users, oldest first within each user.

    Attributes:
      users: [users] ids, those without any such interaction included.
      user_of_row: [rows] index into `users`, ascending.
      items: [rows] ids.
      ratings: [rows] float64.
      liked: [rows] bool, what the label says.
    """

    users: list[str]
    user_of_row: np.ndarray
    items: list[str]
    ratings: np.ndarray
    liked: np.ndarray


class InteractionShards:
    """The interaction log, spread over files by user."""

    def __init__(self, data: Data, reader: TableReader, folder: Path, dead_letters: DeadLetterRuns):
        """Reads the log once and writes the shards.

        Args:
          data: configuration of the data.
          reader: reads the log (`open_interactions`).
          folder: an empty folder for the shards.
          dead_letters: takes rejected lines; repeated interactions at the latest while shards are
            read.

        Attributes:
          records: number of records read.
        """
        self.records = 0
        self._dead_letters = dead_letters
        self._data = data
        self._files = reader.names
        self._order = ordered_by(data.interactions.columns)
        self._integer_items = True
        self._shards = min(max(1, -(-reader.stored_bytes // _INPUT_BYTES_PER_SHARD)), _MOST_SHARDS)
        self._folder = folder
        self._write(reader)
        self._filter: ShardFilter | None = None
        if not data.filter.keeps_everything:
            self._take_out_repeated()
            self._filter = ShardFilter(self._read, self._shards, folder, data.filter)

    @property
    def kept_items(self) -> list[str] | None:
        """Items that `data.filter` leaves; None when it takes no items out."""
        return self._filter.kept_items if self._filter else None

    def first_interactions(self, cap: int) -> Iterator[FirstInteractions]:
        """Yields shard by shard what the LLM may see; each user is in one shard.

        Args:
          cap: `split.knowledge_history_cap`.
        """
        for shard in range(self._shards):
            table = self._read(shard)
            if self._filter:
                table = table.filter(pa.array(self._filter.kept_rows(shard)))
            sequences, repeated = order_interactions(
                table, self._files, self._integer_items, self._order
            )
            self._dead_letters.add(repeated)
            boundaries = knowledge_boundaries(sequences.counts, cap)
            rows = np.flatnonzero(sequences.positions < boundaries[sequences.user_of_row])
            yield FirstInteractions(
                users=sequences.users,
                user_of_row=sequences.user_of_row[rows],
                items=sequences.items_at(rows),
                ratings=sequences.ratings[rows],
                liked=sequences.labels[rows] == 1,
            )

    def _write(self, reader: TableReader) -> None:
        writers = [
            pa.ipc.new_stream(str(self._file(shard)), INTERACTION_SCHEMA)
            for shard in range(self._shards)
        ]
        try:
            for block in reader.read():
                table, rejected = parse_interactions(block, self._data)
                self.records += block.records
                self._dead_letters.add(rejected)
                self._integer_items &= has_integer_items(table)
                for shard, rows in divided_by_shard(table, self._shards):
                    writers[shard].write_table(rows)
        finally:
            for writer in writers:
                writer.close()

    def _take_out_repeated(self) -> None:
        """A repeated interaction must not help its user or item over the filter's minimum."""
        for shard in range(self._shards):
            table, repeated = without_repeated(self._read(shard), self._files, self._order)
            self._dead_letters.add(repeated)
            with pa.ipc.new_stream(str(self._file(shard)), INTERACTION_SCHEMA) as writer:
                writer.write_table(table)

    def _read(self, shard: int) -> pa.Table:
        with pa.OSFile(str(self._file(shard))) as file:
            return pa.ipc.open_stream(file).read_all()

    def _file(self, shard: int) -> Path:
        return self._folder / f"interactions-{shard:05d}.arrow"
