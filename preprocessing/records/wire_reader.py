"""Decoder of serialized `tf.train.Example`, without TensorFlow; the counterpart of `wire`."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

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
    while position < len(view):
        key, position = _read_varint(view, position)
        wire_type = key & 7
        if wire_type == _VARINT:
            value, position = _read_varint(view, position)
            yield key >> 3, value
            continue
        if wire_type == _LENGTH_DELIMITED:
            size, position = _read_varint(view, position)
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
    value = shift = 0
    while True:
        byte = view[position]
        position += 1
        value |= (byte & 0x7F) << shift
        if byte < 0x80:
            return value, position
        shift += 7


def _signed(value: int) -> int:
    return value - (1 << 64) if value >= 1 << 63 else value
