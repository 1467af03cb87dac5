"""Checks a request's inputs against what a signature expects, before TensorFlow sees them.

The words are those of TensorFlow Serving (`predict_util.cc`, and `saved_model/util.cc` and
`function.cc` of TensorFlow). Like it, the checks leave shapes alone: the model's first operation
that cannot take a shape refuses it, and one that can broadcasts it.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Collection, Mapping, Sequence, Set

import numpy as np
import tensorflow as tf

from preprocessing.records.contract import ITEM_ID
from serving.protocol.messages import input_pb2, tensor_pb2
from serving.protocol.tensors import STRING_BYTES, TensorFormatError, size_of
from serving.server.errors import RequestError, RequestTooLargeError, invalid

_TYPE_NAMES = {"float16": "half", "float32": "float", "float64": "double"}


@dataclasses.dataclass(frozen=True)
class RequestLimits:
    """How much work one request may ask for.

    A message of a few bytes can stand for tensors of gigabytes, and each candidate costs the model
    kilobytes more. So requests are measured by what their tensors take once they are made, before
    they are made.

    Every method raises `RequestTooLargeError`.

    Attributes:
      rows: rows of an input, tf.Examples, and candidates: values of `item_id`.
      input_bytes: all inputs together. Each string counts as the longest of its tensor: lists of
        tf.Examples are filled up to the longest, and tensors by repeating a string.
    """

    rows: int = 20_000
    input_bytes: int = 256 * 2**20

    def check_messages(self, messages: Mapping[str, tensor_pb2.TensorProto]) -> None:
        """Checks tensors that are not made yet.

        Raises:
          RequestError: INVALID_ARGUMENT; a shape is not complete or too large.
        """
        total = 0
        for name, message in messages.items():
            try:
                shape, num_bytes = size_of(message)
            except TensorFormatError as error:
                raise invalid(f"tensor parsing error: {name} ({error})") from error
            self._check_shape(name, shape)
            total += num_bytes
            self._check_bytes(total)

    def check_arrays(self, arrays: Mapping[str, np.ndarray]) -> None:
        """Checks tensors that are made."""
        total = 0
        for name, array in arrays.items():
            self._check_shape(name, array.shape)
            longest = max(map(len, array.flat), default=0) if array.dtype == object else 0
            total += array.size * (longest + STRING_BYTES) if longest else array.nbytes
        self._check_bytes(total)

    def check_examples(self, message: input_pb2.Input) -> None:
        """Checks tf.Examples, each of which the common context completes."""
        kind = message.WhichOneof("kind")
        if kind is None:
            return
        examples = getattr(message, kind).examples
        self._check_rows("examples", len(examples))
        context = 0
        if kind == "example_list_with_context":
            context = message.example_list_with_context.context.ByteSize()
        longest = max((example.ByteSize() for example in examples), default=0)
        self._check_bytes(len(examples) * (STRING_BYTES + context + longest))

    def check_json(self, text: bytes) -> None:
        """Checks a document that is not parsed yet: each of its values takes a few bytes."""
        values = text.count(b",") + text.count(b"[") + text.count(b"{")
        self._check_bytes(values * STRING_BYTES)

    def _check_shape(self, name: str, shape: Sequence[int]) -> None:
        rows = math.prod(shape) if name == ITEM_ID else max(shape[:1], default=1)
        self._check_rows(name, rows)

    def _check_rows(self, name: str, rows: int) -> None:
        if rows > self.rows:
            raise RequestTooLargeError(
                f"{name}: {rows} rows or candidates are more than a request may have, {self.rows}; "
                "send several requests, or serve with a larger --max-request-rows"
            )

    def _check_bytes(self, num_bytes: int) -> None:
        if num_bytes > self.input_bytes:
            raise RequestTooLargeError(
                f"the request's inputs would take {num_bytes} bytes, more than {self.input_bytes}; "
                "send several requests, or serve with a larger --max-request-input-bytes"
            )


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
