"""The first k_u interactions of every user: all that prompts and groups may see (leak rule).

Interactions are spread over shards by a hash of the user into Arrow files of a temporary folder, so
memory holds one shard at a time however long the log is.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from configs.scenario import Interactions
from preprocessing.csv_blocks import read_blocks, read_header, require_columns
from preprocessing.dead_letters import DeadLetter
from preprocessing.hashing import stable_hashes
from preprocessing.interactions.reading import (
    INTERACTION_SCHEMA,
    ITEM,
    USER,
    parse_integers,
    parse_interactions,
)
from preprocessing.interactions.sequences import order_interactions
from preprocessing.interactions.splitting import knowledge_boundaries

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
    """

    users: list[str]
    user_of_row: np.ndarray
    items: list[str]
    ratings: np.ndarray


class InteractionShards:
    """The interaction log, spread over files by user."""

    def __init__(self, interactions: Interactions, header: list[str], folder: Path):
        """Reads the log once and writes the shards.

        Args:
          interactions: configuration of the log.
          header: its column names.
          folder: an empty folder for the shards.

        Attributes:
          records: number of records read.
          dead_letters: rejected lines; repeated interactions are added while shards are read.
        """
        self.records = 0
        self.dead_letters: list[DeadLetter] = []
        self._path = interactions.path
        self._integer_items = True
        input_bytes = Path(interactions.path).stat().st_size
        self._shards = min(max(1, -(-input_bytes // _INPUT_BYTES_PER_SHARD)), _MOST_SHARDS)
        self._folder = folder
        writers = [
            pa.ipc.new_stream(str(self._file(shard)), INTERACTION_SCHEMA)
            for shard in range(self._shards)
        ]
        try:
            for block in read_blocks(interactions.path):
                table, rejected, read = parse_interactions(block, header, interactions.columns)
                self.records += read
                self.dead_letters += rejected
                integers = pc.all(pc.is_valid(parse_integers(table[ITEM]))).as_py()
                self._integer_items &= integers is not False
                shard_of_row = self._shard_of_rows(table)
                for shard in np.unique(shard_of_row):
                    rows = table.filter(pa.array(shard_of_row == shard))
                    writers[shard].write_table(rows.combine_chunks())
        finally:
            for writer in writers:
                writer.close()

    def first_interactions(self, cap: int) -> Iterator[FirstInteractions]:
        """Yields shard by shard what the LLM may see; each user is in one shard.

        Args:
          cap: `split.knowledge_history_cap`.
        """
        for shard in range(self._shards):
            with pa.OSFile(str(self._file(shard))) as file:
                table = pa.ipc.open_stream(file).read_all()
            sequences, repeated = order_interactions(table, self._path, self._integer_items)
            self.dead_letters += repeated
            boundaries = knowledge_boundaries(sequences.counts, cap)
            rows = np.flatnonzero(sequences.positions < boundaries[sequences.user_of_row])
            yield FirstInteractions(
                users=sequences.users,
                user_of_row=sequences.user_of_row[rows],
                items=[sequences.items[row] for row in rows.tolist()],
                ratings=sequences.ratings[rows],
            )

    def _file(self, shard: int) -> Path:
        return self._folder / f"interactions-{shard:05d}.arrow"

    def _shard_of_rows(self, table: pa.Table) -> np.ndarray:
        encoded = table[USER].combine_chunks().dictionary_encode()
        hashes = stable_hashes(encoded.dictionary.to_pylist(), "shard")
        return (hashes % np.uint64(self._shards)).astype(np.int64)[encoded.indices.to_numpy()]


def interactions_header(interactions: Interactions) -> list[str]:
    """Columns of the log, checked; see `require_columns`."""
    header = read_header(interactions.path, "data.interactions.path")
    mapped = {
        f"data.interactions.columns.{name}": column
        for name, column in interactions.columns.model_dump().items()
    }
    require_columns(header, mapped, interactions.path)
    return header
