"""Raw ids as tensors: strings, or int64 for models whose ids are whole numbers."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from serving.client.errors import RankingError

RawId = str | int
"""An id as data has it; `318` and `"318"` are the same."""

_NO_TEXT = ""
_NO_INTEGER = -1
_INT64 = np.iinfo(np.int64)


def id_array(values: Sequence[RawId], name: str, as_integers: bool) -> np.ndarray:
    """Ids as one tensor.

    Args:
      values: ids; empty ones are ids that nobody has.
      name: the input, for messages.
      as_integers: whether the model's ids are whole numbers.

    Returns:
      Strings as objects, or int64, [values].

    Raises:
      RankingError: INVALID_ARGUMENT; an id is no whole number of 64 bits, but the model's are.
    """
    if as_integers:
        return np.array([_integer(value, name) for value in values], dtype=np.int64)
    array = np.empty(len(values), dtype=object)
    array[:] = [str(value) for value in values]
    return array


def padded_ids(lists: Sequence[Sequence[RawId]], name: str, as_integers: bool) -> np.ndarray:
    """Lists of ids of different lengths, completed at the end with the id that is none.

    Args:
      lists: ids.
      name: the input, for messages.
      as_integers: whether the model's ids are whole numbers.

    Returns:
      [lists, longest], at least one column: strings completed by "", or int64 completed by -1.

    Raises:
      RankingError: see `id_array`.
    """
    width = max((len(ids) for ids in lists), default=0) or 1
    shape = (len(lists), width)
    array = np.full(shape, _NO_TEXT, object)
    if as_integers:
        array = np.full(shape, _NO_INTEGER, np.int64)
    for row, ids in enumerate(lists):
        array[row, : len(ids)] = id_array(ids, name, as_integers)
    return array


def _integer(value: RawId, name: str) -> int:
    if value == _NO_TEXT:
        return _NO_INTEGER
    try:
        number = int(value)
    except ValueError:
        number = _INT64.max + 1
    if not _INT64.min <= number <= _INT64.max:
        raise RankingError(
            "INVALID_ARGUMENT",
            f"input '{name}': the model's ids are whole numbers of 64 bits. Received: {value!r}",
        )
    return number
