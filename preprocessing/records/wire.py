"""Column-wise encoder of `tf.train.Example`, without TensorFlow.

The bytes are those of the protobuf wire format
(https://protobuf.dev/programming-guides/encoding/): every field is a tag, for lists and messages a
length, and the content. `tf.train.Example` is one field `features`, which holds one map entry per
feature; an entry holds the name (field 1) and the feature (field 2); a feature holds a list of
bytes (field 1), of floats (field 2) or of int64 (field 3); each list holds its values in field 1.

A column encodes its map entries for all rows at once; a row is the concatenation of its entries.
Ragged columns are windows over one long sequence whose wire bytes are made once: a history of 200
costs one slice.
"""

from __future__ import annotations

import functools
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np

_FIELD_1 = b"\x0a"
_FIELD_2 = b"\x12"
_FIELD_3 = b"\x1a"
_UINT64_MASK = (1 << 64) - 1


def varint(value: int) -> bytes:
    """Base-128 varint; negative numbers as two's complement in 64 bits."""
    value &= _UINT64_MASK
    encoded = bytearray()
    while value > 0x7F:
        encoded.append(value & 0x7F | 0x80)
        value >>= 7
    encoded.append(value)
    return bytes(encoded)


class Column(Protocol):
    """One feature of many rows."""

    def entries(self, name: str) -> list[bytes]:
        """The map entry of each row, ready to be concatenated."""


@dataclass(frozen=True)
class FloatColumn:
    """One float per row.

    Attributes:
      values: [rows], any number type; stored as float32.
    """

    values: np.ndarray

    def entries(self, name: str) -> list[bytes]:
        """See `Column`."""
        head = _entry_head(name, _FIELD_2, 4)
        packed = np.asarray(self.values, dtype="<f4").tobytes()
        return [head + packed[start : start + 4] for start in range(0, len(packed), 4)]


@dataclass(frozen=True)
class Int64Column:
    """One integer per row.

    Attributes:
      values: [rows], integers that fit into int64.
    """

    values: np.ndarray

    def entries(self, name: str) -> list[bytes]:
        """See `Column`."""
        head = functools.cache(lambda size: _entry_head(name, _FIELD_3, size))
        return [head(len(packed)) + packed for packed in map(varint, self.values.tolist())]


@dataclass(frozen=True)
class BytesColumn:
    """One byte string per row."""

    values: Sequence[bytes]

    def entries(self, name: str) -> list[bytes]:
        """See `Column`."""
        whole = functools.cache(
            lambda value: _feature_entry(name, _FIELD_1, _FIELD_1 + varint(len(value)) + value)
        )
        return [whole(value) for value in self.values]


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
    """A sequence of byte strings, encoded once, from which rows take windows."""

    def __init__(self, values: Sequence[bytes]):
        element = functools.cache(lambda value: _FIELD_1 + varint(len(value)) + value)
        elements = [element(value) for value in values]
        self._encoded = b"".join(elements)
        sizes = np.fromiter(map(len, elements), dtype=np.int64, count=len(elements))
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

    def entries(self, name: str) -> list[bytes]:
        """See `Column`."""
        head = functools.cache(
            lambda size: (
                _entry_head(name, _FIELD_2, size) if size else _list_head(name, _FIELD_2, 0)
            )
        )
        return [head(len(part)) + part for part in self.sequence.window(self.starts, self.ends)]


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

    def entries(self, name: str) -> list[bytes]:
        """See `Column`."""
        head = functools.cache(lambda size: _list_head(name, _FIELD_1, size))
        return [head(len(part)) + part for part in self.sequence.window(self.starts, self.ends)]


def encode_examples(columns: Mapping[str, Column]) -> Iterator[bytes]:
    """Serialized `tf.train.Example` of each row.

    Args:
      columns: feature name -> column; all of the same number of rows.

    Raises:
      ValueError: the columns differ in length.
    """
    encoded = [column.entries(name) for name, column in columns.items()]
    if len({len(entries) for entries in encoded}) > 1:
        lengths = {name: len(entries) for name, entries in zip(columns, encoded, strict=True)}
        raise ValueError(f"all columns need the same number of rows. Received: {lengths}")
    for row in zip(*encoded, strict=True):
        features = b"".join(row)
        yield _FIELD_1 + varint(len(features)) + features


def _message(tag: bytes, content_size: int) -> bytes:
    return tag + varint(content_size)


def _list_head(name: str, list_tag: bytes, list_size: int) -> bytes:
    """Everything of a map entry that stands before the content of its list."""
    key = name.encode()
    key_field = _message(_FIELD_1, len(key)) + key
    list_field = _message(list_tag, list_size)
    feature_field = _message(_FIELD_2, len(list_field) + list_size)
    entry_size = len(key_field) + len(feature_field) + len(list_field) + list_size
    return _message(_FIELD_1, entry_size) + key_field + feature_field + list_field


def _entry_head(name: str, list_tag: bytes, packed_size: int) -> bytes:
    """Everything of a map entry that stands before the packed numbers of its list."""
    packed_field = _message(_FIELD_1, packed_size)
    return _list_head(name, list_tag, len(packed_field) + packed_size) + packed_field


def _feature_entry(name: str, list_tag: bytes, list_content: bytes) -> bytes:
    return _list_head(name, list_tag, len(list_content)) + list_content
