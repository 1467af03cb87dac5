"""Building blocks of the protobuf wire format (see `wire`): varints and heads of map entries."""

from __future__ import annotations

import functools

import numpy as np

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
    for place in range(LONGEST_VARINT):
        digits[:, place] = rest & np.uint64(0x7F)
        rest = rest >> np.uint64(7)
        more = rest > 0
        if not more.any():
            break
        digits[more, place] |= 0x80
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
