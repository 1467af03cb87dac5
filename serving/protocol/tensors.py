"""NumPy arrays to TensorProto messages and back, without TensorFlow."""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence

import numpy as np

from serving.protocol.messages import tensor_pb2, types_pb2

_CONTINUES = 0x80
_MAXIMUM_VARINT_BYTES = 5


def decode_strings(content: bytes, count: int) -> list[bytes]:
    """Reads strings.

    Args:
      content: lengths and bytes.
      count: how many strings there are.

    Raises:
      ValueError: the content does not hold exactly so many strings.
    """
    position = 0
    lengths = []
    for _ in range(count):
        length, position = _varint(content, position)
        lengths.append(length)
    if position + sum(lengths) != len(content):
        raise ValueError(f"{len(content)} bytes of content do not hold {count} strings")
    ends = list(itertools.accumulate(lengths, initial=position))
    return [content[start:end] for start, end in itertools.pairwise(ends)]


def _varint(content: bytes, start: int) -> tuple[int, int]:
    number = 0
    for position in range(_MAXIMUM_VARINT_BYTES):
        if start >= len(content):
            break
        byte = content[start]
        start += 1
        number |= (byte & ~_CONTINUES) << (7 * position)
        if byte < _CONTINUES:
            return number, start
    raise ValueError("the length of a string is cut off")


MAXIMUM_ELEMENTS = 2**27
MAXIMUM_RANK = 32
# A message of a few bytes may ask for so many, so it is less.
MAXIMUM_COMPLETED_ELEMENTS = 2**22
STRING_BYTES = 24
"""What a string of a tensor takes beside its text, in bytes (TensorFlow's `TF_TString`)."""

# Data type -> (NumPy type, the message's field of plain values). Strings are handled apart.
_NUMBERS: dict[int, tuple[type[np.generic], str]] = {
    types_pb2.DT_FLOAT: (np.float32, "float_val"),
    types_pb2.DT_DOUBLE: (np.float64, "double_val"),
    types_pb2.DT_HALF: (np.float16, "half_val"),
    types_pb2.DT_INT64: (np.int64, "int64_val"),
    types_pb2.DT_INT32: (np.int32, "int_val"),
    types_pb2.DT_INT16: (np.int16, "int_val"),
    types_pb2.DT_INT8: (np.int8, "int_val"),
    types_pb2.DT_UINT64: (np.uint64, "uint64_val"),
    types_pb2.DT_UINT32: (np.uint32, "uint32_val"),
    types_pb2.DT_UINT16: (np.uint16, "int_val"),
    types_pb2.DT_UINT8: (np.uint8, "int_val"),
    types_pb2.DT_BOOL: (np.bool_, "bool_val"),
}
_DATA_TYPES = {np.dtype(numpy_type): number for number, (numpy_type, _) in _NUMBERS.items()}


class TensorFormatError(ValueError):
    """An array or a message is not a tensor that can be carried over."""


def pack(array: np.ndarray) -> tensor_pb2.TensorProto:
    """Packs an array compactly: numbers as raw bytes, strings one by one.

    Args:
      array: any shape; numbers, or strings (`str` as UTF-8, or `bytes`).

    Returns:
      The message.

    Raises:
      TensorFormatError: the array's type has no counterpart.
    """
    array = np.asarray(array)
    message = _empty_message(array)
    if message.dtype == types_pb2.DT_STRING:
        message.string_val.extend(_byte_strings(array))
    else:
        little_endian = array.astype(array.dtype.newbyteorder("<"), copy=False)
        message.tensor_content = little_endian.tobytes()
    return message


def pack_as_values(array: np.ndarray) -> tensor_pb2.TensorProto:
    """Packs an array into the fields of plain values, which is how TensorFlow Serving answers.

    Args:
      array: any shape; numbers, or strings (`str` as UTF-8, or `bytes`).

    Returns:
      The message.

    Raises:
      TensorFormatError: the array's type has no counterpart.
    """
    array = np.asarray(array)
    message = _empty_message(array)
    if message.dtype == types_pb2.DT_STRING:
        message.string_val.extend(_byte_strings(array))
        return message
    _, field = _NUMBERS[message.dtype]
    if message.dtype == types_pb2.DT_HALF:
        array = np.ascontiguousarray(array).view(np.uint16)
    getattr(message, field).extend(array.ravel().tolist())
    return message


def unpack(message: tensor_pb2.TensorProto) -> np.ndarray:
    """Reads an array from a message as TensorFlow does, whichever way its values are packed.

    Args:
      message: numbers or strings. Content counts before plain values. Of these, too many for the
        shape are left out, too few are completed by repeating the last one, and integers keep the
        bits that their type has.

    Returns:
      An array of the message's shape; strings are `bytes` in an array of objects.

    Raises:
      TensorFormatError: the type is not supported, the shape is not complete or too large, the
        content does not fit the shape, or the values that are sent would have to be completed to
        more than 4 million.
    """
    shape = _shape_of(message)
    size = math.prod(shape)
    if message.dtype == types_pb2.DT_STRING:
        return _completed(_strings(message, size), size, b"").reshape(shape)
    if message.dtype not in _NUMBERS:
        raise TensorFormatError(f"tensors of type {_type_name(message.dtype)} are not supported")
    numpy_type, field = _NUMBERS[message.dtype]
    if message.tensor_content and size:
        stored_type = np.dtype(numpy_type).newbyteorder("<")
        if len(message.tensor_content) != size * stored_type.itemsize:
            raise TensorFormatError(
                f"{len(message.tensor_content)} bytes of content do not fit shape {shape} of type "
                f"{_type_name(message.dtype)}"
            )
        content = np.frombuffer(message.tensor_content, dtype=stored_type)
        return content.astype(numpy_type).reshape(shape)
    values = list(getattr(message, field))
    if message.dtype == types_pb2.DT_HALF:
        array = np.asarray(values, dtype=np.int64).astype(np.uint16).view(np.float16)
    elif field == "int_val":
        array = np.asarray(values, dtype=np.int64).astype(numpy_type)
    else:
        array = np.asarray(values, dtype=numpy_type)
    return _completed(array, size, numpy_type(0)).reshape(shape)


def size_of(message: tensor_pb2.TensorProto) -> tuple[tuple[int, ...], int]:
    """Says how large the tensor of a message is, without making it.

    Args:
      message: numbers or strings.

    Returns:
      Its shape, and the bytes that its values take at most, however few of them were sent.

    Raises:
      TensorFormatError: the shape is not complete or too large.
    """
    shape = _shape_of(message)
    if message.dtype != types_pb2.DT_STRING:
        number = _NUMBERS.get(message.dtype)
        return shape, 0 if number is None else math.prod(shape) * np.dtype(number[0]).itemsize
    if message.tensor_content:
        # It has every string once, and all of them are sent.
        return shape, math.prod(shape) * STRING_BYTES + len(message.tensor_content)
    return shape, math.prod(shape) * (STRING_BYTES + max(map(len, message.string_val), default=0))


def _empty_message(array: np.ndarray) -> tensor_pb2.TensorProto:
    if array.dtype.kind in "OSU":
        data_type = types_pb2.DT_STRING
    elif array.dtype.newbyteorder("=") in _DATA_TYPES:
        data_type = _DATA_TYPES[array.dtype.newbyteorder("=")]
    else:
        raise TensorFormatError(f"arrays of type {array.dtype} cannot be sent")
    message = tensor_pb2.TensorProto(dtype=data_type)
    for length in array.shape:
        message.tensor_shape.dim.add(size=length)
    return message


def _byte_strings(array: np.ndarray) -> list[bytes]:
    strings = []
    for value in array.ravel().tolist():
        if isinstance(value, str):
            strings.append(_encoded(value))
        elif isinstance(value, bytes):
            strings.append(value)
        else:
            raise TensorFormatError(f"expected strings. Received: {value!r}")
    return strings


def _encoded(text: str) -> bytes:
    try:
        return text.encode()
    except UnicodeEncodeError as error:
        raise TensorFormatError(f"not valid Unicode: {text!r}") from error


def _strings(message: tensor_pb2.TensorProto, size: int) -> np.ndarray:
    values: Sequence[bytes] = message.string_val
    if message.tensor_content and size:
        try:
            values = decode_strings(message.tensor_content, size)
        except ValueError as error:
            raise TensorFormatError(str(error)) from error
    strings = np.empty(len(values), dtype=object)
    strings[:] = list(values)
    return strings


def _shape_of(message: tensor_pb2.TensorProto) -> tuple[int, ...]:
    shape = tuple(dimension.size for dimension in message.tensor_shape.dim)
    if any(length < 0 for length in shape):
        raise TensorFormatError("a tensor's shape must be complete, without unknown dimensions")
    if len(shape) > MAXIMUM_RANK:
        raise TensorFormatError(f"a tensor has more than {MAXIMUM_RANK} dimensions")
    # Empty dimensions count as well, because NumPy refuses the others beside them.
    if math.prod(max(length, 1) for length in shape) > MAXIMUM_ELEMENTS:
        raise TensorFormatError(
            f"a tensor of shape {shape} has more than {MAXIMUM_ELEMENTS} values"
        )
    return shape


def _completed(values: np.ndarray, size: int, default: object) -> np.ndarray:
    if len(values) >= size:
        return values[:size]
    if size > MAXIMUM_COMPLETED_ELEMENTS:
        raise TensorFormatError(
            f"{len(values)} values were sent for {size}, and tensors are completed up to "
            f"{MAXIMUM_COMPLETED_ELEMENTS}"
        )
    complete = np.full(size, values[-1] if len(values) else default, dtype=values.dtype)
    complete[: len(values)] = values
    return complete


def _type_name(data_type: int) -> str:
    names = {value: name for name, value in types_pb2.DataType.items()}
    return names.get(data_type, f"number {data_type}")
