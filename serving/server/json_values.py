"""JSON values to arrays and back, by the rules of TensorFlow Serving's REST API."""

from __future__ import annotations

import base64
import binascii

import numpy as np
import tensorflow as tf

from serving.server.errors import invalid
from serving.server.input_checks import type_name

_BASE64_KEY = "b64"
_BYTES_SUFFIX = "_bytes"
_MAXIMUM_RANK = 32


def to_array(value: object, data_type: tf.DType, where: str) -> np.ndarray:
    """Turns a JSON value or nested lists into an array.

    Args:
      value: numbers, booleans, strings or `{"b64": ...}` objects, nested evenly.
      data_type: the array's type; numbers must fit it without loss of an integer's digits.
      where: what an error message calls the value.

    Returns:
      An array whose shape is the nesting; strings are `bytes` in an array of objects.

    Raises:
      RequestError: INVALID_ARGUMENT.
    """
    leaves, shape = _flatten(value, where)
    if data_type == tf.string:
        strings = np.empty(len(leaves), dtype=object)
        strings[:] = [bytes_of(leaf, where) for leaf in leaves]
        return strings.reshape(shape)
    _check_leaf_types(leaves, data_type, where)
    try:
        with np.errstate(over="ignore"):
            array = np.asarray(leaves, dtype=data_type.as_numpy_dtype)
    except OverflowError as error:
        raise invalid(f"{where} has a number that does not fit {type_name(data_type)}.") from error
    if data_type.is_floating:
        _check_precision(leaves, array, data_type, where)
    return array.reshape(shape)


def from_array(name: str, array: np.ndarray) -> object:
    """Turns an output into a JSON value.

    Args:
      name: the output's name; strings become base64 objects when it ends in `_bytes`.
      array: any shape. A float of 32 bits becomes the shortest decimal number that reads back as
        the same float, so 0.2 stays 0.2.

    Returns:
      Nested lists, or one value for an array without dimensions.

    Raises:
      RequestError: INVALID_ARGUMENT; a string is not UTF-8 text and its name does not end in
        `_bytes`.
    """
    if array.dtype == object:
        leaves = [_string(name, value) for value in array.flat]
    elif array.dtype in (np.float16, np.float32):
        leaves = [float(text) for text in array.ravel().astype("U").tolist()]
    else:
        leaves = array.ravel().tolist()
    values = np.empty(len(leaves), dtype=object)
    values[:] = leaves
    return values.reshape(array.shape).tolist()


def is_base64(value: object) -> bool:
    """Whether a JSON value is an object that stands for bytes."""
    return isinstance(value, dict) and value.keys() == {_BASE64_KEY}


def bytes_of(value: object, where: str) -> bytes:
    """The bytes of a JSON string or of a `{"b64": ...}` object.

    Raises:
      RequestError: INVALID_ARGUMENT.
    """
    if isinstance(value, str):
        try:
            return value.encode()
        except UnicodeEncodeError as error:
            raise invalid(f"{where} has a string that is not valid Unicode.") from error
    if isinstance(value, dict) and is_base64(value):
        try:
            return base64.b64decode(value[_BASE64_KEY], validate=True)
        except (binascii.Error, TypeError, ValueError) as error:
            raise invalid(f"{where} has a 'b64' value that is not base64 text.") from error
    raise invalid(f"{where} is expected to hold strings, but {json_type_name(value)} was sent.")


def json_type_name(value: object) -> str:
    """What a JSON value is, in JSON's own words."""
    names = {dict: "an object", list: "a list", str: "a string", bool: "a boolean"}
    return "null" if value is None else names.get(type(value), "a number")


def _flatten(value: object, where: str) -> tuple[list[object], tuple[int, ...]]:
    level = [value]
    shape: list[int] = []
    while any(isinstance(element, list) for element in level):
        if len(shape) == _MAXIMUM_RANK:
            raise invalid(f"{where} is nested more than {_MAXIMUM_RANK} lists deep.")
        lengths = {len(element) if isinstance(element, list) else -1 for element in level}
        if len(lengths) > 1:
            raise invalid(
                f"{where} is uneven: at level {len(shape) + 1} all must be lists of one length."
            )
        shape.append(lengths.pop())
        level = [inner for element in level for inner in _elements(element)]
    return level, tuple(shape)


def _elements(value: object) -> list[object]:
    return value if isinstance(value, list) else [value]


def _check_leaf_types(leaves: list[object], data_type: tf.DType, where: str) -> None:
    if data_type == tf.bool:
        allowed: set[type] = {bool}
    elif data_type.is_floating:
        allowed = {int, float}
    elif data_type.is_integer:
        allowed = {int}
    else:
        raise invalid(f"{where} has type {type_name(data_type)}, which JSON cannot carry.")
    for found in set(map(type, leaves)) - allowed:
        wrong = next(leaf for leaf in leaves if type(leaf) is found)
        expected = type_name(data_type)
        raise invalid(
            f"{where} is expected to be {expected}, but {json_type_name(wrong)} was sent."
        )


def _check_precision(
    leaves: list[object], array: np.ndarray, data_type: tf.DType, where: str
) -> None:
    largest_integer = 2 ** (np.finfo(array.dtype).nmant + 1) - 1
    lossy = any(type(leaf) is int and abs(leaf) > largest_integer for leaf in leaves)
    if lossy or not np.array_equal(np.isinf(array), np.isinf(np.asarray(leaves, dtype=np.float64))):
        raise invalid(f"{where} has a number that {type_name(data_type)} cannot hold without loss.")


def _string(name: str, value: bytes) -> object:
    if name.endswith(_BYTES_SUFFIX):
        return {_BASE64_KEY: base64.b64encode(value).decode()}
    try:
        return value.decode()
    except UnicodeDecodeError as error:
        raise invalid(
            f'Output "{name}" holds bytes that are not UTF-8 text; JSON can carry them only when '
            f'the name ends in "{_BYTES_SUFFIX}".'
        ) from error
