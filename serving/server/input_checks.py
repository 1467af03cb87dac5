"""Checks a request's inputs against what a signature expects, before TensorFlow sees them.

The words are those of TensorFlow Serving (`predict_util.cc`, and `saved_model/util.cc` and
`function.cc` of TensorFlow). Like it, the checks leave shapes alone: the model's first operation
that cannot take a shape refuses it, and one that can broadcasts it.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence, Set

import numpy as np
import tensorflow as tf

from serving.server.errors import RequestError, invalid

_TYPE_NAMES = {"float16": "half", "float32": "float", "float64": "double"}


def check_inputs(
    signature_name: str, expected: Mapping[str, tf.TensorSpec], sent: Mapping[str, np.ndarray]
) -> dict[str, np.ndarray]:
    """Checks names and types.

    Args:
      signature_name: for the messages.
      expected: input name -> specification.
      sent: input name -> array; strings may be `str` or `bytes`.

    Returns:
      The arrays in the types that TensorFlow takes.

    Raises:
      RequestError: INVALID_ARGUMENT.
    """
    check_input_names(signature_name, expected.keys(), sent.keys())
    # A session numbers its arguments by their tensors' names, which `tf.saved_model.save` makes of
    # the inputs' names.
    names = sorted(expected, key=lambda name: f"{name}:0")
    return {
        name: _checked(position, expected[name], sent[name]) for position, name in enumerate(names)
    }


def check_input_names(signature_name: str, expected: Set[str], sent: Set[str]) -> None:
    """Checks that all inputs are there, and no others.

    Raises:
      RequestError: INVALID_ARGUMENT.
    """
    missing = expected - sent
    extra = sent - expected
    if len(missing) != len(extra):
        raise invalid(
            f"input size does not match signature: {len(sent)}!={len(expected)} "
            f"len({_set(sent)}) != len({_set(expected)}). Sent extra: {_set(extra)}. "
            f"Missing but required: {_set(missing)}."
        )
    if missing:
        name = min(missing)
        raise invalid(
            f"Signature input alias: {name}(feed name: {signature_name}_{name}:0) not found in "
            "request and no default value provided. Inputs expected to be in the request "
            f"{_set(sent)}, or default input alias set: "
        )


def type_name(data_type: tf.DType) -> str:
    """A data type's name in TensorFlow Serving's messages, for example `float`."""
    return _TYPE_NAMES.get(data_type.name, data_type.name)


def shape_text(shape: Sequence[int]) -> str:
    """A shape in TensorFlow Serving's messages, for example `[2,1]`."""
    return f"[{','.join(map(str, shape))}]"


def _checked(position: int, specification: tf.TensorSpec, array: np.ndarray) -> np.ndarray:
    array = np.asarray(array)
    if array.dtype.kind in "SU":
        array = array.astype(object)
    sent_type = tf.string if array.dtype == object else tf.as_dtype(array.dtype)
    if sent_type != specification.dtype:
        raise _wrong_type(position, specification.dtype, type_name(sent_type))
    if sent_type == tf.string:
        for value in array.flat:
            if not isinstance(value, (str, bytes)):
                raise _wrong_type(position, specification.dtype, type(value).__name__)
    return array


def _wrong_type(position: int, expected: tf.DType, sent: str) -> RequestError:
    return invalid(f"Expects arg[{position}] to be {type_name(expected)} but {sent} is provided")


def _set(names: Collection[str]) -> str:
    return f"{{{','.join(sorted(names))}}}"
