"""Column-wise encoder of `tf.train.Example`, without TensorFlow.

The bytes are those of the protobuf wire format
(https://protobuf.dev/programming-guides/encoding/): every field is a tag, for lists and messages a
length, and the content. `tf.train.Example` is one field `features`, which holds one map entry per
feature; an entry holds the name (field 1) and the feature (field 2); a feature holds a list of
bytes (field 1), of floats (field 2) or of int64 (field 3); each list holds its values in field 1.

A column encodes its map entries for all rows at once; a row is the concatenation of its entries.
Ragged columns are windows over one long sequence whose wire bytes are made once: a history of 200
costs one slice. What repeats (values, lengths, heads of entries) is encoded once.
"""

from __future__ import annotations

import functools
import itertools
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol, cast

import numpy as np

from preprocessing.records.wire_format import (
    FIELD_1,
    FIELD_2,
    FIELD_3,
    LONGEST_VARINT,
    bytes_entry,
    entry_head,
    list_head,
    message,
    varint,
    varints,
)


class Column(Protocol):
    """One feature of many rows."""

    @property
    def rows(self) -> int:
        """Number of rows."""

    def entries(self, name: str) -> list[bytes]:
        """The map entry of each row, ready to be concatenated."""


@dataclass(frozen=True)
class FloatColumn:
    """One float per row.

    Attributes:
      values: [rows], any number type; stored as float32.
    """

    values: np.ndarray

    @property
    def rows(self) -> int:
        """See `Column`."""
        return len(self.values)

    def entries(self, name: str) -> list[bytes]:
        """See `Column`."""
        return _float_entries({name: self})


@dataclass(frozen=True)
class Int64Column:
    """One integer per row.

    Attributes:
      values: [rows], integers that fit into int64.
    """

    values: np.ndarray

    @property
    def rows(self) -> int:
        """See `Column`."""
        return len(self.values)

    def entries(self, name: str) -> list[bytes]:
        """See `Column`."""
        packed, sizes = varints(self.values)
        heads = [entry_head(name, FIELD_3, size) for size in range(LONGEST_VARINT + 1)]
        starts = range(0, len(packed), LONGEST_VARINT)
        return [
            heads[size] + packed[start : start + size]
            for start, size in zip(starts, sizes.tolist(), strict=True)
        ]


@dataclass(frozen=True)
class BytesColumn:
    """One byte string per row."""

    values: Sequence[bytes]

    @property
    def rows(self) -> int:
        """See `Column`."""
        return len(self.values)

    def entries(self, name: str) -> list[bytes]:
        """See `Column`."""
        whole = functools.cache(functools.partial(bytes_entry, name))
        return [whole(value) for value in self.values]


class BytesValues:
    """Distinct byte strings, each encoded once per feature, of which rows take one each."""

    def __init__(self, values: Sequence[bytes]):
        self._values = values
        self._entries: dict[str, np.ndarray] = {}

    def take(self, name: str, index: np.ndarray) -> list[bytes]:
        """The map entries of the feature `name` for the values at `index`."""
        if name not in self._entries:
            self._entries[name] = _objects([bytes_entry(name, value) for value in self._values])
        return self._entries[name][index].tolist()


@dataclass(frozen=True)
class IndexedBytesColumn:
    """One of the same byte strings per row.

    Attributes:
      values: the byte strings.
      index: [rows], which of them.
    """

    values: BytesValues
    index: np.ndarray

    @property
    def rows(self) -> int:
        """See `Column`."""
        return len(self.index)

    def entries(self, name: str) -> list[bytes]:
        """See `Column`."""
        return self.values.take(name, self.index)


class FloatSequence:
    """A sequence of floats, encoded once, from which rows take windows.

    Args:
      values: [length], any number type; stored as float32.
    """

    def __init__(self, values: np.ndarray):
        self._packed = np.asarray(values, dtype="<f4").tobytes()

    def window(self, starts: np.ndarray, ends: np.ndarray) -> list[bytes]:
        """Packed values of each window [start, end)."""
        bounds = zip((starts * 4).tolist(), (ends * 4).tolist(), strict=True)
        return [self._packed[start:end] for start, end in bounds]


class BytesSequence:
    """A sequence of byte strings, encoded once, from which rows take windows.

    Args:
      values: byte strings.
      index: [length], which of them the sequence holds; None for each one, in order.
    """

    def __init__(self, values: Sequence[bytes], index: np.ndarray | None = None):
        element = functools.cache(lambda value: FIELD_1 + varint(len(value)) + value)
        elements = [element(value) for value in values]
        sizes = np.fromiter(map(len, elements), dtype=np.int64, count=len(elements))
        if index is not None:
            elements, sizes = _objects(elements)[index].tolist(), sizes[index]
        self._encoded = b"".join(elements)
        self._offsets = np.concatenate([[0], np.cumsum(sizes)])

    def window(self, starts: np.ndarray, ends: np.ndarray) -> list[bytes]:
        """Encoded list content of each window [start, end)."""
        bounds = zip(self._offsets[starts].tolist(), self._offsets[ends].tolist(), strict=True)
        return [self._encoded[start:end] for start, end in bounds]


@dataclass(frozen=True)
class RaggedFloatColumn:
    """A window of one sequence of floats per row.

    Attributes:
      sequence: what the windows are taken from.
      starts: [rows], first index of each window.
      ends: [rows], index after the last of each window.
    """

    sequence: FloatSequence
    starts: np.ndarray
    ends: np.ndarray

    @property
    def rows(self) -> int:
        """See `Column`."""
        return len(self.starts)

    def entries(self, name: str) -> list[bytes]:
        """See `Column`."""
        return [
            (entry_head(name, FIELD_2, len(part)) if part else list_head(name, FIELD_2, 0)) + part
            for part in self.sequence.window(self.starts, self.ends)
        ]


@dataclass(frozen=True)
class RaggedBytesColumn:
    """A window of one sequence of byte strings per row.

    Attributes:
      sequence: what the windows are taken from.
      starts: [rows], first index of each window.
      ends: [rows], index after the last of each window.
    """

    sequence: BytesSequence
    starts: np.ndarray
    ends: np.ndarray

    @property
    def rows(self) -> int:
        """See `Column`."""
        return len(self.starts)

    def entries(self, name: str) -> list[bytes]:
        """See `Column`."""
        return [
            list_head(name, FIELD_1, len(part)) + part
            for part in self.sequence.window(self.starts, self.ends)
        ]


def encode_examples(columns: Mapping[str, Column]) -> Iterator[bytes]:
    """Serialized `tf.train.Example` of each row.

    Args:
      columns: feature name -> column; all of the same number of rows.

    Raises:
      ValueError: the columns differ in length.
    """
    lengths = {name: column.rows for name, column in columns.items()}
    if len(set(lengths.values())) > 1:
        raise ValueError(f"all columns need the same number of rows. Received: {lengths}")
    encoded: list[list[bytes]] = []
    # Floats that stand side by side are made in one go: most features are numbers.
    for is_float, neighbours in itertools.groupby(
        columns.items(), key=lambda named: isinstance(named[1], FloatColumn)
    ):
        if is_float:
            encoded.append(_float_entries(cast(dict[str, FloatColumn], dict(neighbours))))
        else:
            encoded += [column.entries(name) for name, column in neighbours]
    for row in zip(*encoded, strict=True):
        features = b"".join(row)
        yield message(FIELD_1, len(features)) + features


def _float_entries(columns: Mapping[str, FloatColumn]) -> list[bytes]:
    """The entries of columns that stand side by side, as one byte string per row."""
    parts = []
    for name, column in columns.items():
        head = np.frombuffer(entry_head(name, FIELD_2, 4), np.uint8)
        values = np.ascontiguousarray(column.values, dtype="<f4")
        parts.append(np.broadcast_to(head, (column.rows, len(head))))
        parts.append(values.view(np.uint8).reshape(column.rows, 4))
    whole = np.concatenate(parts, axis=1)
    packed, width = whole.tobytes(), whole.shape[1]
    return [packed[start : start + width] for start in range(0, len(packed), width)]


def _objects(values: Sequence[bytes]) -> np.ndarray:
    """Byte strings as an array of objects, which keeps their lengths."""
    objects = np.empty(len(values), dtype=object)
    objects[:] = values
    return objects
