"""Strings in the memory of a tensor, as TensorFlow lays them out.

A string takes 24 bytes. One of up to 22 bytes stands in them: four times its size, then its bytes,
then zeros. A longer one has memory of its own, which TensorFlow allocates.

https://github.com/openxla/xla/blob/main/third_party/tsl/tsl/platform/ctstring_internal.h
"""

from __future__ import annotations

import ctypes
from collections.abc import Sequence

import numpy as np

from serving.runtime.c_library import library

STRING_BYTES = 24
_MOST_INSIDE = 22


def encoded(values: np.ndarray) -> list[bytes]:
    """Strings as a tensor has them, row by row.

    Args:
      values: `bytes`, or texts that become UTF-8; any shape.

    Raises:
      UnicodeEncodeError: a text is none of Unicode: it has half of a pair of surrogates.
    """
    return [
        text if isinstance(text, bytes) else str(text).encode() for text in values.ravel().tolist()
    ]


def write_strings(start: int, texts: Sequence[bytes]) -> None:
    """Fills a tensor's memory, all short strings at once.

    Args:
      start: the memory's address; `STRING_BYTES` for each text.
      texts: row by row.
    """
    if not texts:
        return
    sizes = np.fromiter(map(len, texts), np.int64, len(texts))
    memory = np.ctypeslib.as_array(
        ctypes.cast(start, ctypes.POINTER(ctypes.c_uint8)), (len(texts), STRING_BYTES)
    )
    memory[:, 0] = sizes << 2
    memory[:, 1:-1] = np.array(texts, f"S{_MOST_INSIDE}").view(np.uint8).reshape(-1, _MOST_INSIDE)
    memory[:, -1] = 0
    for position in np.flatnonzero(sizes > _MOST_INSIDE).tolist():
        place = start + position * STRING_BYTES
        library().TF_StringInit(place)
        library().TF_StringCopy(place, texts[position], len(texts[position]))


def read_strings(start: int, count: int) -> list[bytes]:
    """The strings in a tensor's memory at `start`."""
    return [_text(start + position * STRING_BYTES) for position in range(count)]


def _text(place: int) -> bytes:
    size = library().TF_StringGetSize(place)
    return ctypes.string_at(library().TF_StringGetDataPointer(place), size)
