"""The k-core of a log, and the scratch files that one pass leaves for the next."""

from __future__ import annotations

import functools
import io
from collections.abc import Callable, Iterable
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from configs.data import InteractionFilter
from preprocessing import storage
from preprocessing.interactions.reading import ITEM, USER, table_from_bytes, table_to_bytes


@dataclass(frozen=True)
class CodedShard:
    """Interactions of some users, as numbers.

    Attributes:
      items: [rows] int32 number of the item, user after user.
      counts: [users] int64 interactions of each user.
    """

    items: np.ndarray
    counts: np.ndarray


def coded(table: pa.Table, item_ids: pa.Array) -> CodedShard:
    """Interactions of some users as numbers.

    Args:
      table: sorted by user.
      item_ids: ids of all items; an item's number is its place.
    """
    items = pc.index_in(table[ITEM].combine_chunks(), value_set=item_ids).to_numpy()
    users = table[USER].combine_chunks().dictionary_encode()
    counts = np.bincount(users.indices.to_numpy(), minlength=len(users.dictionary))
    return CodedShard(items.astype(np.int32), counts)


@dataclass(frozen=True)
class KeptCounts:
    """What a shard has left.

    Attributes:
      item_counts: [items] int64 interactions that are left.
      users: number of users that are left.
    """

    item_counts: np.ndarray
    users: int

    @property
    def interactions(self) -> int:
        """Number of interactions that are left."""
        return int(self.item_counts.sum())


def kept_rows(shard: CodedShard, kept_items: np.ndarray, settings: InteractionFilter) -> np.ndarray:
    """Which interactions of a shard are left: bool [rows].

    Args:
      shard: interactions of some users, all of each.
      kept_items: [items] bool.
      settings: how many interactions a user needs: of those with the items that are left, or
        without `repeat` of all.
    """
    kept = kept_items[shard.items]
    user_of_row = np.repeat(np.arange(len(shard.counts)), shard.counts)
    counts = shard.counts
    if settings.repeat:
        counts = np.bincount(user_of_row[kept], minlength=len(counts))
    return kept & (counts >= settings.minimum_user_interactions)[user_of_row]


def count_kept(
    shard: CodedShard, kept_items: np.ndarray, settings: InteractionFilter
) -> KeptCounts:
    """Counts what is left of a shard; arguments as for `kept_rows`."""
    kept = kept_rows(shard, kept_items, settings)
    ends = np.cumsum(shard.counts)
    sums = np.concatenate([[0], np.cumsum(kept)])
    per_user = sums[ends] - sums[ends - shard.counts]
    return KeptCounts(
        item_counts=np.bincount(shard.items[kept], minlength=len(kept_items)),
        users=int((per_user > 0).sum()),
    )


def add_up(counts: Iterable[KeptCounts]) -> KeptCounts:
    """Counts of at least one shard together."""
    return functools.reduce(
        lambda first, second: KeptCounts(
            first.item_counts + second.item_counts, first.users + second.users
        ),
        counts,
    )


@dataclass(frozen=True)
class KeptItems:
    """What a filter leaves.

    Attributes:
      mask: [items] bool.
      unfiltered: users, items and interactions of the whole log.
      rounds: the same numbers after each round; the last one says what is left.
    """

    mask: np.ndarray
    unfiltered: dict[str, int]
    rounds: list[dict[str, int]]


def find_kept_items(
    count: Callable[[np.ndarray, InteractionFilter], KeptCounts],
    items: int,
    settings: InteractionFilter,
) -> KeptItems:
    """Finds the items that are left.

    Args:
      count: counts what is left of all shards when items are; arguments after the shard as for
        `kept_rows`.
      items: number of items of the log.
      settings: how many interactions users and items need.
    """
    minimum = settings.minimum_item_interactions
    unfiltered = count(np.ones(items, dtype=bool), InteractionFilter())
    mask = unfiltered.item_counts >= minimum
    rounds = []
    while True:
        counts = count(mask, settings)
        rounds.append(_described(counts))
        enough = mask & (counts.item_counts >= minimum)
        if not settings.repeat or (enough == mask).all():
            return KeptItems(mask, _described(unfiltered), rounds)
        mask = enough


def _described(counts: KeptCounts) -> dict[str, int]:
    return {
        "users": counts.users,
        "items": int((counts.item_counts > 0).sum()),
        "interactions": counts.interactions,
    }


@dataclass(frozen=True)
class FilterFiles:
    """Scratch files of the filter.

    Attributes:
      folder: where they lie, an absolute path or URL that all workers see.
    """

    folder: str

    def rows(self, shard: int) -> str:
        """All interactions of a shard, sorted by user."""
        return storage.join(self.folder, f"rows-{shard:05d}.arrow")

    def codes(self, shard: int) -> str:
        """The same as numbers."""
        return storage.join(self.folder, f"codes-{shard:05d}.npy")

    @property
    def items(self) -> str:
        """Ids of all items, sorted; an item's number is its place."""
        return storage.join(self.folder, "items.arrow")

    @property
    def kept_items(self) -> str:
        """One bit per item."""
        return storage.join(self.folder, "kept_items.npy")

    @property
    def counts(self) -> str:
        """Result of the last round."""
        return storage.join(self.folder, "counts.npy")

    @property
    def dead_letters(self) -> str:
        """Rejected rows of the log."""
        return storage.join(self.folder, "dead_letters.jsonl")

    @property
    def statistics(self) -> str:
        """Counts of the log."""
        return storage.join(self.folder, "statistics.json")


def write_kept_items(files: FilterFiles, mask: np.ndarray) -> None:
    """Writes which items are left, for the workers."""
    _write_arrays(files.kept_items, np.packbits(mask), np.array([len(mask)]))


def read_kept_items(files: FilterFiles) -> np.ndarray:
    """Reads what `write_kept_items` wrote: bool [items]."""
    bits, (count,) = _read_arrays(files.kept_items)
    return np.unpackbits(bits, count=int(count)).astype(bool)


def write_counts(files: FilterFiles, counts: KeptCounts) -> None:
    """Writes the result of a round."""
    _write_arrays(files.counts, counts.item_counts, np.array([counts.users]))


def read_counts(files: FilterFiles) -> KeptCounts:
    """Reads what `write_counts` wrote."""
    item_counts, (users,) = _read_arrays(files.counts)
    return KeptCounts(item_counts=item_counts, users=int(users))


def write_coded(files: FilterFiles, shard: int, coded: CodedShard) -> None:
    """Writes a shard as numbers."""
    _write_arrays(files.codes(shard), coded.items, coded.counts)


def read_coded(files: FilterFiles, shard: int) -> CodedShard:
    """Reads what `write_coded` wrote."""
    items, counts = _read_arrays(files.codes(shard))
    return CodedShard(items=items, counts=counts)


def write_table(path: str, table: pa.Table) -> None:
    """Writes an Arrow table."""
    with storage.create_bytes(path) as file:
        file.write(table_to_bytes(table))


def read_table(path: str) -> pa.Table:
    """Reads what `write_table` wrote."""
    with storage.open_bytes(path) as file:
        return table_from_bytes(file.read())


def _write_arrays(path: str, first: np.ndarray, second: np.ndarray) -> None:
    with storage.create_bytes(path) as file:
        np.save(file, first)
        np.save(file, second)


def _read_arrays(path: str) -> tuple[np.ndarray, np.ndarray]:
    with storage.open_bytes(path) as file:
        content = io.BytesIO(file.read())
    return np.load(content), np.load(content)
