"""JSON by the rules of TensorFlow Serving's REST API: texts to arrays, and outputs to documents."""

from __future__ import annotations

import base64
import binascii
import itertools
import json
import math
import re
from collections.abc import Mapping
from typing import Any

import grpc
import numpy as np
import tensorflow as tf
from google.protobuf import json_format
from google.protobuf.message import Message

from serving.protocol.messages import classification_pb2, regression_pb2
from serving.server.errors import RequestError, invalid
from serving.server.servable import type_name

_QUOTE_LIMIT = 1024
# What a number beyond the range of a double has: an exponent of three digits, or so many digits.
_PERHAPS_HUGE = re.compile(rb"[eE]\+?[0-9]{3}|[0-9]{309}")


def parse_object(text: bytes) -> dict[str, Any]:
    """Parses a JSON object; NaN, Infinity and -Infinity are numbers.

    Escapes may leave halves of surrogate pairs in its strings: see `encoded`.

    Raises:
      RequestError: INVALID_ARGUMENT; the message says where the JSON is broken.
    """
    try:
        may_be_huge = _PERHAPS_HUGE.search(text) is not None
        document = json.loads(text.decode(), parse_float=_finite if may_be_huge else None)
    except RecursionError as error:
        raise invalid("the JSON nests lists or objects too deeply") from error
    except ValueError as error:  # no UTF-8, broken, or a number that no double holds
        raise invalid(f"the JSON cannot be parsed: {error}") from error
    if not isinstance(document, dict):
        raise invalid(f"the JSON must be an object. Received: {quoted(document)}")
    return document


def encoded(text: str) -> bytes:
    """A JSON string in UTF-8.

    Raises:
      RequestError: INVALID_ARGUMENT; half of a surrogate pair stands alone in it.
    """
    try:
        return text.encode()
    except UnicodeEncodeError as error:
        raise invalid("a string has half of a surrogate pair") from error


def quoted(value: object) -> str:
    """A JSON value for a message, cut where it gets long."""
    text = ""
    for part in json.JSONEncoder(ensure_ascii=False).iterencode(value):
        text += part[: _QUOTE_LIMIT + 1]
        if len(text) > _QUOTE_LIMIT:
            return f"{text[:_QUOTE_LIMIT]}..."
    return text


def _finite(digits: str) -> float:
    number = float(digits)
    if math.isinf(number):
        raise ValueError("beyond the range of a double")
    return number


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
    if leaves and data_type not in _CARRIED:
        raise RequestError(
            grpc.StatusCode.UNIMPLEMENTED, f"JSON does not carry the type {type_name(data_type)}"
        )
    if data_type == tf.string:
        array = np.empty(len(leaves), dtype=object)
        array[:] = [bytes_of(leaf) for leaf in leaves]
        return array.reshape(shape)
    allowed = _allowed_types(data_type)
    if not set(map(type, leaves)) <= allowed:
        wrong = next(leaf for leaf in leaves if type(leaf) not in allowed)
        raise invalid(f"{quoted(wrong)} is not of type {type_name(data_type)}")
    numpy_type = data_type.as_numpy_dtype
    try:
        array = np.asarray(leaves, np.float64 if data_type.is_floating else numpy_type)
        if data_type.is_floating and (np.isfinite(array) & (abs(array) > data_type.max)).any():
            raise OverflowError
    except OverflowError as error:
        raise invalid(f"a number is beyond the range of {type_name(data_type)}") from error
    return array.astype(numpy_type).reshape(shape)


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


def bytes_of(value: Any) -> bytes:
    """The bytes of a JSON string or of a `{"b64": ...}` object.

    Raises:
      RequestError: INVALID_ARGUMENT; it is neither, or no base64.
    """
    if isinstance(value, str):
        return encoded(value)
    if not is_base64(value):
        raise invalid(f'{quoted(value)} is neither a string nor {{"b64": "..."}}')
    digits = "".join(value[_BASE64_KEY].split()).rstrip("=")
    try:
        return base64.b64decode(digits + "=" * (-len(digits) % 4), validate=True)
    except (binascii.Error, ValueError) as error:
        raise invalid("Unable to base64 decode") from error


def _leaves(value: Any, shape: tuple[int, ...]) -> list[Any]:
    """What the lists hold, in order; refuses lists that are not nested evenly."""
    level, is_even = [value], True
    for length in shape:
        is_even = all(isinstance(element, list) and len(element) == length for element in level)
        if not is_even:
            break
        level = list(itertools.chain.from_iterable(level))
    if not is_even or any(isinstance(leaf, list) for leaf in level):
        raise invalid(f"lists must be nested evenly, as their first elements are: {list(shape)}")
    return level


def _allowed_types(data_type: tf.DType) -> set[type]:
    if data_type == tf.bool:
        return {bool}
    return {int, float} if data_type.is_floating else {int}


_BYTES_SUFFIX = "_bytes"
# Types of outputs that TensorFlow Serving does not write either.
_UNWRITTEN = (np.float16, np.uint16)


def predictions(outputs: Mapping[str, np.ndarray]) -> dict[str, object]:
    """The answer to a request in row format: one value or object per row.

    Args:
      outputs: output name -> array; their first dimensions are the rows.

    Raises:
      RequestError: INVALID_ARGUMENT; the outputs have no rows, or not equally many.
    """
    rows: int | None = None
    for name, array in outputs.items():
        if array.ndim == 0:
            raise invalid(f"Tensor name: {name} has no shape information ")
        if rows is not None and len(array) != rows:
            raise invalid(
                f"Tensor name: {name} has inconsistent batch size: {len(array)} expecting: {rows}"
            )
        rows = len(array)
    values = {name: from_array(name, array) for name, array in outputs.items()}
    if len(values) == 1:
        return {"predictions": next(iter(values.values()))}
    by_row = zip(*values.values(), strict=True)
    return {"predictions": [dict(zip(values, row, strict=True)) for row in by_row]}


def columns(outputs: Mapping[str, np.ndarray]) -> dict[str, object]:
    """The answer to a request in column format: one value per output."""
    values = {name: from_array(name, array) for name, array in outputs.items()}
    return {"outputs": next(iter(values.values())) if len(values) == 1 else values}


def classifications(result: classification_pb2.ClassificationResult) -> dict[str, object]:
    """The answer to a classify request: pairs of label and score per example."""
    return {
        "results": [
            [[item.label, _number(item.score)] for item in classification.classes]
            for classification in result.classifications
        ]
    }


def regressions(result: regression_pb2.RegressionResult) -> dict[str, object]:
    """The answer to a regress request: one number per example."""
    return {"results": [_number(regression.value) for regression in result.regressions]}


def message_as_json(message: Message) -> dict[str, object]:
    """A message with its fields' own names; fields at their default are there too."""
    return json_format.MessageToDict(
        message, preserving_proto_field_name=True, always_print_fields_with_no_presence=True
    )


def from_array(name: str, array: np.ndarray) -> object:
    """Turns an output into a JSON value.

    Args:
      name: the output's name; strings become base64 objects when it ends in `_bytes`.
      array: any shape. A float of 32 bits becomes a decimal number of 6 digits if that reads back
        as the same float, else one of 9 digits: 0.2 stays 0.2, and every number is the one that
        TensorFlow Serving writes.

    Returns:
      Nested lists, or one value for an array without dimensions.

    Raises:
      RequestError: INVALID_ARGUMENT; JSON does not carry the type, or a string is not UTF-8 text
        and its name does not end in `_bytes`.
    """
    if array.dtype in _UNWRITTEN:
        data_type = type_name(tf.as_dtype(array.dtype))
        raise invalid(f"Failed to write JSON value for tensor type: {data_type}")
    if array.dtype == object:
        leaves = [_string(name, value) for value in array.flat]
    elif array.dtype == np.float32:
        leaves = _decimals(array.ravel())
    else:
        leaves = array.ravel().tolist()
    values = np.empty(len(leaves), dtype=object)
    values[:] = leaves
    return values.reshape(array.shape).tolist()


def _decimals(floats: np.ndarray) -> list[object]:
    exact = floats.astype(np.float64).tolist()
    short = [float(f"{number:.6g}") for number in exact]
    with np.errstate(over="ignore"):
        is_same = (np.asarray(short).astype(np.float32) == floats).tolist()
    return [
        decimal if same else float(f"{number:.9g}")
        for number, decimal, same in zip(exact, short, is_same, strict=True)
    ]


def _string(name: str, value: bytes) -> object:
    if name.endswith(_BYTES_SUFFIX):
        return {"b64": base64.b64encode(value).decode()}
    try:
        return value.decode()
    except UnicodeDecodeError as error:
        raise invalid(
            f'Output "{name}" holds bytes that are not UTF-8 text; JSON can carry them only when '
            f'the name ends in "{_BYTES_SUFFIX}".'
        ) from error


def _number(value: float) -> object:
    return from_array("", np.asarray(value, dtype=np.float32))
