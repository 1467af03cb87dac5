"""Interactions divided into shards by a hash of the user, without Beam."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from preprocessing.arrow_bytes import table_to_bytes
from preprocessing.hashing import stable_hashes
from preprocessing.interactions.reading import ITEM, USER
from preprocessing.tables.numbers import parse_integers


def has_integer_items(table: pa.Table) -> bool:
    """True when all item ids of a table of interactions are integers."""
    return pc.all(pc.is_valid(parse_integers(table[ITEM]))).as_py() is not False


def rows_by_shard(table: pa.Table, shards: int) -> Iterator[tuple[int, bytes]]:
    """Divides a table by the hash of its users: number of the shard -> rows, as an IPC stream."""
    of_row = shard_of_rows(table, shards)
    for shard in np.unique(of_row).tolist():
        yield shard, table_to_bytes(table.filter(pa.array(of_row == shard)))


def shard_of_rows(table: pa.Table, shards: int) -> np.ndarray:
    """[rows] int64 number of the shard that each row's user belongs to."""
    encoded = table[USER].combine_chunks().dictionary_encode()
    hashes = stable_hashes(encoded.dictionary.to_pylist(), "shard")
    return (hashes % np.uint64(shards)).astype(np.int64)[encoded.indices.to_numpy()]
