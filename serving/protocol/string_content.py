"""Strings in a tensor's `tensor_content`, as TensorFlow's `AsProtoTensorContent` writes them.

The lengths of all strings come first, each as a varint, then their bytes one after the other
(`EncodeStringList` in TensorFlow's `tensor_coding.cc`).
"""

from __future__ import annotations

import itertools

_CONTINUES = 0x80
_MAXIMUM_VARINT_BYTES = 5


def decode_strings(content: bytes, count: int) -> list[bytes]:
    """Reads strings.

    Args:
      content: lengths and bytes.
      count: how many strings there are.

    Raises:
      ValueError: the content does not hold exactly so many strings.
    """
    place = 0
    lengths = []
    for _ in range(count):
        length, place = _varint(content, place)
        lengths.append(length)
    if place + sum(lengths) != len(content):
        raise ValueError(f"{len(content)} bytes of content do not hold {count} strings")
    ends = list(itertools.accumulate(lengths, initial=place))
    return [content[start:end] for start, end in itertools.pairwise(ends)]


def _varint(content: bytes, place: int) -> tuple[int, int]:
    number = 0
    for position in range(_MAXIMUM_VARINT_BYTES):
        if place >= len(content):
            break
        byte = content[place]
        place += 1
        number |= (byte & ~_CONTINUES) << (7 * position)
        if byte < _CONTINUES:
            return number, place
    raise ValueError("the length of a string is cut off")
