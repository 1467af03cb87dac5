"""Users, items and training interactions of the whole log, as numbers."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from preprocessing.arrow_bytes import table_to_bytes
from preprocessing.hashing import stable_hashes
from preprocessing.interactions.reading import ITEM, RATING, USER
from preprocessing.interactions.sequences import UserSequences
from preprocessing.tables.values import parse_integers

TRAINING = "training"
_ID = pa.dictionary(pa.int32(), pa.string())
_SCHEMA = pa.schema({USER: _ID, ITEM: _ID, RATING: pa.float64(), TRAINING: pa.bool_()})


@dataclass(frozen=True)
class TrainingLog:
    """Training interactions; a user's rows stand together, in the user's own order.

    Attributes:
      users: [users] sorted ids of all users of the log.
      items: [items] sorted ids of all items of the log.
      user_of_row: [rows] int32 index into `users`, ascending.
      item_of_row: [rows] int32 index into `items`.
      ratings: [rows] float64.
    """

    users: list[str]
    items: list[str]
    user_of_row: np.ndarray
    item_of_row: np.ndarray
    ratings: np.ndarray


def marked_interactions(sequences: UserSequences, training: np.ndarray) -> pa.Table:
    """All interactions of some users, with the training interactions marked.

    Args:
      sequences: the interactions.
      training: [rows] bool, see `SplitRows`.
    """
    ids = {
        USER: (sequences.user_of_row, sequences.users),
        ITEM: (sequences.item_of_row, sequences.item_ids),
    }
    columns: dict[str, pa.Array] = {
        name: pa.DictionaryArray.from_arrays(
            pa.array(numbers, pa.int32()), pa.array(values, pa.string())
        )
        for name, (numbers, values) in ids.items()
    }
    columns |= {RATING: pa.array(sequences.ratings), TRAINING: pa.array(training)}
    return pa.table(columns, schema=_SCHEMA)


def collect_training_log(tables: Iterable[pa.Table]) -> TrainingLog:
    """Brings the shards together; 16 bytes for a training interaction, and the ids.

    Args:
      tables: results of `marked_interactions`, each user in one of them. The result is the same
        however users are divided.
    """
    ids: dict[str, list[pa.Array]] = {USER: [], ITEM: []}
    numbers: dict[str, list[np.ndarray]] = {USER: [], ITEM: []}
    ratings: list[np.ndarray] = [np.empty(0)]
    for table in tables:
        training = table[TRAINING].to_numpy()
        for name in ids:
            column = table[name].unify_dictionaries().combine_chunks()
            ids[name].append(column.dictionary)
            numbers[name].append(column.indices.to_numpy()[training])
        ratings.append(table[RATING].to_numpy()[training])
    users, user_of_row = numbered_together(ids[USER], numbers[USER])
    items, item_of_row = numbered_together(ids[ITEM], numbers[ITEM])
    order = np.argsort(user_of_row, kind="stable")
    return TrainingLog(
        users=users.to_pylist(),
        items=items.to_pylist(),
        user_of_row=user_of_row[order],
        item_of_row=item_of_row[order],
        ratings=np.concatenate(ratings)[order],
    )


def sorted_ids(ids: pa.Array | pa.ChunkedArray) -> pa.Array:
    """Distinct ids in text order."""
    distinct = pc.unique(ids)
    return distinct.take(pc.array_sort_indices(distinct))


def numbered_together(
    ids_of_shard: list[pa.Array], numbers_of_shard: list[np.ndarray]
) -> tuple[pa.Array, np.ndarray]:
    """Numbers of each shard's own ids as numbers of all ids.

    Args:
      ids_of_shard: ids of each shard.
      numbers_of_shard: [rows] indices into them; emptied shard by shard, so that only one copy of
        the rows is held.

    Returns:
      [ids] sorted ids of all shards, each once, and [rows of all shards] int32 indices into them.
    """
    ids = sorted_ids(pa.chunked_array(ids_of_shard, pa.string()))
    numbers = np.empty(sum(map(len, numbers_of_shard)), np.int32)
    end = len(numbers)
    for own in reversed(ids_of_shard):
        of_shard = numbers_of_shard.pop()
        new_number = pc.index_in(own, value_set=ids).to_numpy(zero_copy_only=False)
        numbers[end - len(of_shard) : end] = new_number[of_shard]
        end -= len(of_shard)
    return ids, numbers


def has_integer_items(table: pa.Table) -> bool:
    """True when all item ids of a table of interactions are integers."""
    return pc.all(pc.is_valid(parse_integers(table[ITEM]))).as_py() is not False


def rows_by_shard(table: pa.Table, shards: int) -> Iterator[tuple[int, bytes]]:
    """The same as `divided_by_shard`, rows as an IPC stream."""
    for shard, rows in divided_by_shard(table, shards):
        yield shard, table_to_bytes(rows)


def divided_by_shard(table: pa.Table, shards: int) -> Iterator[tuple[int, pa.Table]]:
    """Divides a table by the hash of its users; the work does not grow with the shards.

    Yields:
      Number of a shard and its rows, in the order that they had. Shards ascend.
    """
    encoded = table[USER].combine_chunks().dictionary_encode()
    hashes = stable_hashes(encoded.dictionary.to_pylist(), "shard")
    shard_of_row = (hashes % np.uint64(shards)).astype(np.int64)[encoded.indices.to_numpy()]
    order = np.argsort(shard_of_row, kind="stable")
    ordered = table.take(pa.array(order)).combine_chunks()
    numbers, starts, sizes = np.unique(shard_of_row[order], return_index=True, return_counts=True)
    for shard, start, size in zip(numbers.tolist(), starts, sizes, strict=True):
        yield shard, ordered.slice(start, size)
