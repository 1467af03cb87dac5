"""Serialized `tf.train.Example` without TensorFlow: a column-wise encoder and its decoder."""

from __future__ import annotations

import functools
import itertools
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol, cast

import numpy as np
from typing_extensions import override

FIELD_1 = b"\x0a"
FIELD_2 = b"\x12"
FIELD_3 = b"\x1a"
"""Tags of length-delimited fields; a feature holds bytes, floats or int64 in field 1, 2 or 3."""

LONGEST_VARINT = 10
"""Bytes of a varint, at most."""

_UINT64_MASK = (1 << 64) - 1
_REMEMBERED_HEADS = 1 << 16


def varint(value: int) -> bytes:
    """Base-128 varint; negative numbers as two's complement in 64 bits."""
    value &= _UINT64_MASK
    encoded = bytearray()
    while value > 0x7F:
        encoded.append(value & 0x7F | 0x80)
        value >>= 7
    encoded.append(value)
    return bytes(encoded)


def varints(values: np.ndarray) -> tuple[bytes, np.ndarray]:
    """Varints of many integers.

    Args:
      values: [n], integers that fit into int64.

    Returns:
      The varints one after the other, each padded to LONGEST_VARINT bytes, and [n] their sizes.
    """
    rest = np.asarray(values, dtype=np.int64).view(np.uint64)
    digits = np.zeros((len(rest), LONGEST_VARINT), dtype=np.uint8)
    sizes = np.ones(len(rest), dtype=np.int64)
    for position in range(LONGEST_VARINT):
        digits[:, position] = rest & np.uint64(0x7F)
        rest = rest >> np.uint64(7)
        more = rest > 0
        if not more.any():
            break
        digits[more, position] |= 0x80
        sizes += more
    return digits.tobytes(), sizes


@functools.lru_cache(_REMEMBERED_HEADS)
def message(tag: bytes, content_size: int) -> bytes:
    """Tag and length of a field, which stand before its content."""
    return tag + varint(content_size)


@functools.lru_cache(_REMEMBERED_HEADS)
def list_head(name: str, list_tag: bytes, list_size: int) -> bytes:
    """Everything of a map entry that stands before the content of its list."""
    key = name.encode()
    key_field = message(FIELD_1, len(key)) + key
    list_field = message(list_tag, list_size)
    feature_field = message(FIELD_2, len(list_field) + list_size)
    entry_size = len(key_field) + len(feature_field) + len(list_field) + list_size
    return message(FIELD_1, entry_size) + key_field + feature_field + list_field


@functools.lru_cache(_REMEMBERED_HEADS)
def entry_head(name: str, list_tag: bytes, packed_size: int) -> bytes:
    """Everything of a map entry that stands before the packed numbers of its list."""
    packed_field = message(FIELD_1, packed_size)
    return list_head(name, list_tag, len(packed_field) + packed_size) + packed_field


def bytes_entry(name: str, value: bytes) -> bytes:
    """The whole map entry of a feature with one byte string."""
    list_content = message(FIELD_1, len(value)) + value
    return list_head(name, FIELD_1, len(list_content)) + list_content


class Column(Protocol):
    """One feature of many rows."""

    @property
    def rows(self) -> int:
        """Number of rows."""

    def entries(self, name: str) -> list[bytes]:
        """The map entry of each row, ready to be concatenated."""


@dataclass(frozen=True)
class FloatColumn(Column):
    """One float per row.

    Attributes:
      values: [rows], any number type; stored as float32.
    """

    values: np.ndarray

    @property
    @override
    def rows(self) -> int:
        return len(self.values)

    @override
    def entries(self, name: str) -> list[bytes]:
        return _float_entries({name: self})


@dataclass(frozen=True)
class Int64Column(Column):
    """One integer per row.

    Attributes:
      values: [rows], integers that fit into int64.
    """

    values: np.ndarray

    @property
    @override
    def rows(self) -> int:
        return len(self.values)

    @override
    def entries(self, name: str) -> list[bytes]:
        packed, sizes = varints(self.values)
        heads = [entry_head(name, FIELD_3, size) for size in range(LONGEST_VARINT + 1)]
        starts = range(0, len(packed), LONGEST_VARINT)
        return [
            heads[size] + packed[start : start + size]
            for start, size in zip(starts, sizes.tolist(), strict=True)
        ]


@dataclass(frozen=True)
class BytesColumn(Column):
    """One byte string per row."""

    values: Sequence[bytes]

    @property
    @override
    def rows(self) -> int:
        return len(self.values)

    @override
    def entries(self, name: str) -> list[bytes]:
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
class IndexedBytesColumn(Column):
    """One of the same byte strings per row.

    Attributes:
      values: the byte strings.
      index: [rows], which of them.
    """

    values: BytesValues
    index: np.ndarray

    @property
    @override
    def rows(self) -> int:
        return len(self.index)

    @override
    def entries(self, name: str) -> list[bytes]:
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
class RaggedFloatColumn(Column):
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
    @override
    def rows(self) -> int:
        return len(self.starts)

    @override
    def entries(self, name: str) -> list[bytes]:
        return [
            (entry_head(name, FIELD_2, len(part)) if part else list_head(name, FIELD_2, 0)) + part
            for part in self.sequence.window(self.starts, self.ends)
        ]


@dataclass(frozen=True)
class RaggedBytesColumn(Column):
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
    @override
    def rows(self) -> int:
        return len(self.starts)

    @override
    def entries(self, name: str) -> list[bytes]:
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


def encode_example(features: Mapping[str, Values]) -> bytes:
    """Serialized `tf.train.Example` of values as `decode_example` gives them."""
    entries = []
    for name, values in features.items():
        if isinstance(values, list):
            content = b"".join(message(FIELD_1, len(value)) + value for value in values)
            entries.append(list_head(name, FIELD_1, len(content)) + content)
            continue
        tag = FIELD_2 if values.dtype == np.float32 else FIELD_3
        packed = (
            values.astype("<f4").tobytes()
            if tag == FIELD_2
            else b"".join(map(varint, values.tolist()))
        )
        head = entry_head(name, tag, len(packed)) if packed else list_head(name, tag, 0)
        entries.append(head + packed)
    content = b"".join(entries)
    return message(FIELD_1, len(content)) + content


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


Values = list[bytes] | np.ndarray

_VARINT, _FIXED64, _LENGTH_DELIMITED, _FIXED32 = 0, 1, 2, 5


def decode_example(serialized: bytes) -> dict[str, Values]:
    """Feature name -> values: a list of bytes, a float32 array or an int64 array.

    Raises:
      ValueError: the bytes are not a `tf.train.Example`.
    """
    decoded: dict[str, Values] = {}
    try:
        for number, features in _fields(serialized):
            if number != 1:
                continue
            for _, entry in _fields(_content(features)):
                fields = dict(_fields(_content(entry)))
                name = bytes(_content(fields[1])).decode()
                decoded[name] = _feature_values(_content(fields.get(2, memoryview(b""))))
    except (IndexError, KeyError, UnicodeDecodeError) as error:
        raise ValueError("not a serialized tf.train.Example") from error
    return decoded


def _feature_values(feature: memoryview) -> Values:
    for number, values in _fields(feature):
        content = _content(values)
        if number == 1:
            return [bytes(_content(value)) for _, value in _fields(content)]
        if number == 2:
            parts = [np.frombuffer(_content(value), dtype="<f4") for _, value in _fields(content)]
            return np.concatenate(parts) if parts else np.zeros(0, np.float32)
        if number == 3:
            integers: list[int] = []
            for _, value in _fields(content):
                integers += [value] if isinstance(value, int) else _packed_varints(value)
            return np.array([_signed(value) for value in integers], dtype=np.int64)
    return []


def _fields(message: bytes | memoryview) -> Iterator[tuple[int, int | memoryview]]:
    """Yields (field number, content); the content is an int for a varint, else a memoryview."""
    view = memoryview(message)
    position = 0
    # Nearly every varint here is one byte, and a call for it takes as long as all the rest.
    while position < len(view):
        key = view[position]
        position += 1
        if key > 0x7F:
            key, position = _read_varint(view, position - 1)
        wire_type = key & 7
        if wire_type == _VARINT:
            value, position = _read_varint(view, position)
            yield key >> 3, value
            continue
        if wire_type == _LENGTH_DELIMITED:
            size = view[position]
            position += 1
            if size > 0x7F:
                size, position = _read_varint(view, position - 1)
        elif wire_type in (_FIXED32, _FIXED64):
            size = 4 if wire_type == _FIXED32 else 8
        else:
            raise ValueError("not a serialized tf.train.Example")
        if position + size > len(view):
            raise ValueError("not a serialized tf.train.Example")
        yield key >> 3, view[position : position + size]
        position += size


def _content(value: int | memoryview) -> memoryview:
    if isinstance(value, int):
        raise ValueError("not a serialized tf.train.Example")
    return value


def _packed_varints(content: memoryview) -> list[int]:
    values = []
    position = 0
    while position < len(content):
        value, position = _read_varint(content, position)
        values.append(value)
    return values


def _read_varint(view: memoryview, position: int) -> tuple[int, int]:
    value = 0
    for index in range(LONGEST_VARINT):
        byte = view[position + index]
        value |= (byte & 0x7F) << 7 * index
        if byte < 0x80:
            # Protobuf, too, drops what the last byte holds beyond 64 bits.
            return value & _UINT64_MASK, position + index + 1
    raise ValueError("not a serialized tf.train.Example")


def _signed(value: int) -> int:
    return value - (1 << 64) if value >= 1 << 63 else value
