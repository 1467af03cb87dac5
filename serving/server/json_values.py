"""JSON values to arrays, by the rules of TensorFlow Serving's REST API.

The rules and the words of the messages are those of `json_tensor.cc` in
https://github.com/tensorflow/serving: the first element of every list says what shape all have.
"""

from __future__ import annotations

import base64
import binascii
import itertools
import math
from typing import Any

import grpc
import numpy as np
import tensorflow as tf

from serving.server.errors import RequestError, invalid
from serving.server.input_checks import type_name
from serving.server.json_text import encoded, format_error, kind_name, quoted

_BASE64_KEY = "b64"
_MAXIMUM_RANK = 32
_INTEGERS = (
    *(tf.int8, tf.int16, tf.int32, tf.int64),
    *(tf.uint8, tf.uint32, tf.uint64),
)
_CARRIED = (tf.float32, tf.float64, tf.bool, tf.string, *_INTEGERS)


def to_array(value: object, data_type: tf.DType) -> np.ndarray:
    """Turns a JSON value or nested lists into an array.

    Args:
      value: numbers, booleans, strings or `{"b64": ...}` objects, nested evenly.
      data_type: the array's type. Integers must fit it; a float takes any number in its range, so
        a float of 32 bits rounds integers above 2^24, as TensorFlow Serving does.

    Returns:
      An array whose shape is the nesting; strings are `bytes` in an array of objects.

    Raises:
      RequestError: INVALID_ARGUMENT, or UNIMPLEMENTED for a type that JSON does not carry.
    """
    shape = dense_shape(value)
    leaves = _leaves(value, shape)
    array = None if leaves is None else _array(leaves, data_type)
    if array is None:
        _raise_first_fault(value, 0, shape, data_type)
        raise AssertionError("a value without fault is an array")
    return array.reshape(shape)


def dense_shape(value: object) -> tuple[int, ...]:
    """Lengths of a list, of its first element, and so on.

    Raises:
      RequestError: INVALID_ARGUMENT; lists are nested more than 32 deep.
    """
    shape = []
    while isinstance(value, list):
        shape.append(len(value))
        if len(shape) > _MAXIMUM_RANK:
            raise invalid(f"lists are nested more than {_MAXIMUM_RANK} deep")
        value = value[0] if value else None
    return tuple(shape)


def is_base64(value: object) -> bool:
    """Whether a JSON value is an object that stands for bytes."""
    if not isinstance(value, dict) or value.keys() != {_BASE64_KEY}:
        return False
    return isinstance(value[_BASE64_KEY], str)


def bytes_of(value: str | dict[str, object]) -> bytes:
    """The bytes of a JSON string or of a `{"b64": ...}` object.

    Raises:
      RequestError: INVALID_ARGUMENT.
    """
    if isinstance(value, str):
        return encoded(value)
    if not is_base64(value):
        raise format_error(value, "not formatted correctly for base64 data")
    digits = "".join(str(value[_BASE64_KEY]).split()).rstrip("=")
    try:
        return base64.b64decode(digits + "=" * (-len(digits) % 4), validate=True)
    except (binascii.Error, ValueError) as error:
        raise invalid("Unable to base64 decode") from error


def check_float_range(value: float, data_type: tf.DType) -> None:
    """Refuses a finite number that is beyond a float type's range.

    Raises:
      RequestError: INVALID_ARGUMENT.
    """
    try:
        is_inside = not math.isfinite(value) or abs(float(value)) <= float(data_type.max)
    except OverflowError:  # an integer beyond the range of a double
        is_inside = False
    if not is_inside:
        raise invalid(
            f"Cannot convert JSON value: {quoted(value)} to {type_name(data_type)} without loss of "
            "precision."
        )


def _leaves(value: Any, shape: tuple[int, ...]) -> list[Any] | None:
    """What the lists hold, in order; None if they are not nested evenly."""
    level = [value]
    for length in shape:
        if not all(isinstance(element, list) and len(element) == length for element in level):
            return None
        level = list(itertools.chain.from_iterable(level))
    return None if any(isinstance(leaf, list) for leaf in level) else level


def _array(leaves: list[Any], data_type: tf.DType) -> np.ndarray | None:
    """The leaves as an array of one dimension; None if one of them does not fit."""
    if not set(map(type, leaves)) <= _allowed_types(data_type):
        return None
    if data_type not in _CARRIED and leaves:
        return None
    try:
        if data_type == tf.string:
            strings = np.empty(len(leaves), dtype=object)
            strings[:] = [bytes_of(leaf) for leaf in leaves]
            return strings
        if not data_type.is_floating:
            return np.asarray(leaves, dtype=data_type.as_numpy_dtype)
        doubles = np.asarray(leaves, dtype=np.float64)
        beyond = np.isfinite(doubles) & (np.abs(doubles) > float(data_type.max))
        return None if beyond.any() else doubles.astype(data_type.as_numpy_dtype)
    except (OverflowError, ValueError, RequestError):
        return None


def _allowed_types(data_type: tf.DType) -> set[type]:
    if data_type == tf.string:
        return {str, dict}
    if data_type == tf.bool:
        return {bool}
    return {int, float} if data_type.is_floating else {int}


def _raise_first_fault(
    value: object, level: int, shape: tuple[int, ...], data_type: tf.DType
) -> None:
    """Walks through the value as TensorFlow Serving does and refuses what it meets first."""
    rank = len(shape)
    if not isinstance(value, list):
        if level != rank:
            raise format_error(
                value,
                f"found at incorrect level: {level + 1} in the JSON DOM. Expected at level: {rank}",
            )
        _check_leaf(value, data_type)
        return
    if level >= rank:
        raise invalid(f"Encountered list at unexpected level: {level} expected < {rank}")
    if len(value) != shape[level]:
        raise invalid(
            f"Encountered list at unexpected size: {len(value)} at level: {level} "
            f"expected size: {shape[level]}"
        )
    for element in value:
        _raise_first_fault(element, level + 1, shape, data_type)


def _check_leaf(value: Any, data_type: tf.DType) -> None:
    if data_type not in _CARRIED and not isinstance(value, dict):
        raise RequestError(
            grpc.StatusCode.UNIMPLEMENTED,
            f"Conversion of JSON Value: {quoted(value)} to type: {type_name(data_type)}",
        )
    fits = type(value) in _allowed_types(data_type)
    if fits and data_type in _INTEGERS:
        fits = data_type.min <= value <= data_type.max
    if not fits:
        raise format_error(
            value, f"Type: {kind_name(value)} is not of expected type: {type_name(data_type)}"
        )
    if data_type == tf.string:
        bytes_of(value)
    elif data_type.is_floating:
        check_float_range(value, data_type)
