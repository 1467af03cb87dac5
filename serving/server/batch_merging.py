"""Several requests as one, along the first dimension, and the answers apart again."""

from __future__ import annotations

from collections.abc import Hashable, Mapping, Sequence

import numpy as np
import tensorflow as tf

Arrays = Mapping[str, np.ndarray]


def is_mergeable(
    inputs: Mapping[str, tf.TensorSpec], outputs: Mapping[str, tf.TensorSpec], padded: bool
) -> bool:
    """Whether a signature's requests may be merged row by row.

    Every input and output needs a first dimension of any length; so `rank`, whose user is one row,
    is never merged. An output's further dimensions must not depend on the company a request is in:
    they are fixed, or (unless inputs are padded) as long as a further dimension of an input, which
    merged requests have in common.

    Args:
      inputs: input name -> type and shape.
      outputs: likewise.
      padded: whether inputs of different lengths are merged.
    """
    specifications = [*inputs.values(), *outputs.values()]
    if not inputs or not outputs or not all(map(_has_free_rows, specifications)):
        return False
    if all(map(_is_fixed_within_a_row, outputs.values())):
        return True
    return not padded and not all(map(_is_fixed_within_a_row, inputs.values()))


def rows_of(inputs: Arrays) -> int | None:
    """Rows that all inputs have in common; None if they differ or there are none."""
    lengths = {len(array) if array.ndim else 0 for array in inputs.values()}
    return next(iter(lengths)) or None if len(lengths) == 1 else None


def shapes_within_a_row(inputs: Arrays) -> Hashable:
    """What requests that are merged without padding must have in common."""
    return tuple((name, inputs[name].shape[1:]) for name in sorted(inputs))


def order_of_lengths(inputs: Arrays) -> Hashable:
    """What requests that are merged with padding must have in common.

    Which of their inputs' further dimensions are equal, and which larger: filled up together, lists
    that differ in length in one request differ in all, so that a model can still refuse them.
    """
    lengths = [length for name in sorted(inputs) for length in inputs[name].shape[1:]]
    places = {length: place for place, length in enumerate(sorted(set(lengths)))}
    return tuple(places[length] for length in lengths)


def merge(requests: Sequence[Arrays], size: int) -> dict[str, np.ndarray]:
    """Puts requests one below the other.

    Args:
      requests: input name -> array; further dimensions of different lengths are filled up at their
        ends with b"" or 0.
      size: rows of the result; those that are missing repeat the last request's first row.

    Returns:
      Input name -> array of `size` rows.
    """
    merged = {}
    for name in requests[0]:
        parts = [request[name] for request in requests]
        length = np.max([part.shape[1:] for part in parts], axis=0)
        parts = [_filled_up(part, tuple(length)) for part in parts]
        missing = size - sum(map(len, parts))
        if missing:
            parts.append(np.repeat(parts[-1][:1], missing, axis=0))
        merged[name] = np.concatenate(parts)
    return merged


def split(outputs: Arrays, rows: Sequence[int], size: int) -> list[dict[str, np.ndarray]] | None:
    """Takes the answers apart.

    Args:
      outputs: of the merged requests.
      rows: of each request.
      size: rows that ran, with those that filled up.

    Returns:
      The outputs of each request; None if an output does not have one row per row of input.
    """
    if any(array.ndim == 0 or len(array) != size for array in outputs.values()):
        return None
    ends = np.cumsum(rows).tolist()
    return [
        {name: array[end - count : end] for name, array in outputs.items()}
        for count, end in zip(rows, ends, strict=True)
    ]


def _has_free_rows(specification: tf.TensorSpec) -> bool:
    shape = specification.shape
    return bool(shape.rank) and shape[0] is None


def _is_fixed_within_a_row(specification: tf.TensorSpec) -> bool:
    return specification.shape[1:].is_fully_defined()


def _filled_up(array: np.ndarray, shape: tuple[int, ...]) -> np.ndarray:
    if array.shape[1:] == shape:
        return array
    filling: object = b"" if array.dtype == object else 0
    filled = np.full((len(array), *shape), filling, dtype=array.dtype)
    filled[tuple(slice(length) for length in array.shape)] = array
    return filled
