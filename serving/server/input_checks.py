"""Checks a request's inputs against what a signature expects, before TensorFlow sees them."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import tensorflow as tf

from serving.server.errors import RequestError, invalid

_TYPE_NAMES = {"float16": "half", "float32": "float", "float64": "double"}


def check_inputs(
    signature_name: str, expected: Mapping[str, tf.TensorSpec], sent: Mapping[str, np.ndarray]
) -> dict[str, np.ndarray]:
    """Checks names, types, ranks and fixed dimensions.

    Args:
      signature_name: for the messages.
      expected: input name -> specification.
      sent: input name -> array; strings may be `str` or `bytes`.

    Returns:
      The arrays in the types that TensorFlow takes.

    Raises:
      RequestError: INVALID_ARGUMENT, with a message that names the input.
    """
    missing = sorted(expected.keys() - sent.keys())
    extra = sorted(sent.keys() - expected.keys())
    if missing or extra:
        raise invalid(
            f'The inputs do not match signature "{signature_name}": {len(sent)} sent, '
            f"{len(expected)} expected. Missing but required: {{{','.join(missing)}}}. "
            f"Sent extra: {{{','.join(extra)}}}."
        )
    return {
        name: _checked(name, specification, sent[name]) for name, specification in expected.items()
    }


def type_name(data_type: tf.DType) -> str:
    """A data type's name in TensorFlow Serving's messages, for example `float`."""
    return _TYPE_NAMES.get(data_type.name, data_type.name)


def _checked(name: str, specification: tf.TensorSpec, array: np.ndarray) -> np.ndarray:
    array = np.asarray(array)
    if array.dtype.kind in "SU":
        array = array.astype(object)
    sent_type = tf.string if array.dtype == object else tf.as_dtype(array.dtype)
    if sent_type != specification.dtype:
        raise _wrong_type(name, specification.dtype, type_name(sent_type))
    if sent_type == tf.string:
        for value in array.flat:
            if not isinstance(value, (str, bytes)):
                raise _wrong_type(name, specification.dtype, type(value).__name__)
    if not specification.shape.is_compatible_with(array.shape):
        raise invalid(
            f'Input "{name}" has shape {_shape_text(array.shape)}, '
            f"but the signature expects {_shape_text(specification.shape)}."
        )
    return array


def _wrong_type(name: str, expected: tf.DType, sent: str) -> RequestError:
    return invalid(f'Input "{name}" is expected to be {type_name(expected)}, but {sent} was sent.')


def _shape_text(shape: tf.TensorShape | tuple[int, ...]) -> str:
    return "[" + ",".join("?" if length is None else str(length) for length in shape) + "]"
