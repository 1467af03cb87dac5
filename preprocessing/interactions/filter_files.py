"""Scratch files of the k-core filter, which one pipeline leaves for the next."""

from __future__ import annotations

import io
from dataclasses import dataclass

import numpy as np
import pyarrow as pa

from preprocessing import storage
from preprocessing.arrow_bytes import table_from_bytes, table_to_bytes
from preprocessing.interactions.k_core import CodedShard, KeptCounts


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
    _write_arrays(files.counts, counts.of_item, np.array([counts.users]))


def read_counts(files: FilterFiles) -> KeptCounts:
    """Reads what `write_counts` wrote."""
    of_item, (users,) = _read_arrays(files.counts)
    return KeptCounts(of_item=of_item, users=int(users))


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
