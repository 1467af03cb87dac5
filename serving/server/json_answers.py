"""Outputs as the JSON documents of TensorFlow Serving's REST API."""

from __future__ import annotations

import base64
from collections.abc import Mapping

import numpy as np
import tensorflow as tf
from google.protobuf import json_format
from google.protobuf.message import Message

from serving.protocol.messages import classification_pb2, regression_pb2
from serving.server.errors import invalid
from serving.server.input_checks import type_name

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
