from __future__ import annotations

import numpy as np
import pytest
import tensorflow as tf

from serving.protocol.messages import tensor_pb2, types_pb2
from serving.protocol.tensors import TensorFormatError, pack, pack_as_values, unpack

NUMBERS = [
    np.array([[0.2, -1.5, np.inf]], dtype=np.float32),
    np.array([1e300, 0.1], dtype=np.float64),
    np.array([0.5, -2.0], dtype=np.float16),
    np.array([-(2**62), 7], dtype=np.int64),
    np.array([[-5], [2**31 - 1]], dtype=np.int32),
    np.array([-5, 300], dtype=np.int16),
    np.array([-5, 127], dtype=np.int8),
    np.array([2**63, 7], dtype=np.uint64),
    np.array([2**32 - 1], dtype=np.uint32),
    np.array([2**16 - 1], dtype=np.uint16),
    np.array([255, 0], dtype=np.uint8),
    np.array([True, False]),
    np.float32(0.25).reshape(()),
    np.zeros((2, 0), dtype=np.float32),
]


@pytest.mark.parametrize("array", NUMBERS, ids=lambda array: str(array.dtype))
@pytest.mark.parametrize("pack_one", [pack, pack_as_values])
def test_tensorflow_reads_packed_numbers(array: np.ndarray, pack_one) -> None:
    restored = tf.make_ndarray(pack_one(array))
    assert restored.dtype == array.dtype
    np.testing.assert_array_equal(restored, array)
    np.testing.assert_array_equal(unpack(pack_one(array)), array)


@pytest.mark.parametrize("array", NUMBERS, ids=lambda array: str(array.dtype))
def test_reads_what_tensorflow_packs(array: np.ndarray) -> None:
    restored = unpack(tf.make_tensor_proto(array))
    assert restored.dtype == array.dtype
    np.testing.assert_array_equal(restored, array)


@pytest.mark.parametrize("pack_one", [pack, pack_as_values])
def test_strings_may_be_text_or_bytes(pack_one) -> None:
    array = np.array([["über", b"\xff\x00"]], dtype=object)
    expected = [["über".encode(), b"\xff\x00"]]
    assert tf.make_ndarray(pack_one(array)).tolist() == expected
    assert unpack(pack_one(array)).tolist() == expected
    assert unpack(pack_one(np.array(["a", "bc"]))).tolist() == [b"a", b"bc"]


def test_byte_order_and_layout_do_not_matter() -> None:
    array = np.arange(6, dtype=">f4").reshape(2, 3).T
    np.testing.assert_array_equal(tf.make_ndarray(pack(array)), array)


def test_values_are_in_the_field_that_clients_read() -> None:
    message = pack_as_values(np.array([0.5, 0.25], dtype=np.float32))
    assert list(message.float_val) == [0.5, 0.25]
    assert message.tensor_content == b""
    assert pack(np.array([0.5], dtype=np.float32)).tensor_content == b"\x00\x00\x00\x3f"


def test_missing_values_repeat_the_last_one_as_in_tensorflow() -> None:
    message = tensor_pb2.TensorProto(dtype=types_pb2.DT_FLOAT, float_val=[1.0, 2.0])
    message.tensor_shape.dim.add(size=4)
    assert tf.make_ndarray(message).tolist() == unpack(message).tolist() == [1.0, 2.0, 2.0, 2.0]


def _message(data_type: int, *shape: int, **fields) -> tensor_pb2.TensorProto:
    message = tensor_pb2.TensorProto(dtype=data_type, **fields)
    for size in shape:
        message.tensor_shape.dim.add(size=size)
    return message


@pytest.mark.parametrize(
    ("message", "reason"),
    [
        (_message(types_pb2.DT_FLOAT, 2, tensor_content=b"1234567"), "7 bytes"),
        (_message(types_pb2.DT_FLOAT, 1, float_val=[1.0, 2.0]), "2 values"),
        (_message(types_pb2.DT_FLOAT, -1, float_val=[1.0]), "complete"),
        (_message(types_pb2.DT_FLOAT, 10**6, 10**6, float_val=[1.0]), "more than"),
        (_message(types_pb2.DT_RESOURCE, 1), "DT_RESOURCE"),
        (_message(9999, 1), "9999"),
    ],
)
def test_a_malformed_message_is_refused(message: tensor_pb2.TensorProto, reason: str) -> None:
    with pytest.raises(TensorFormatError, match=reason):
        unpack(message)


@pytest.mark.parametrize(
    "array",
    [
        np.array([1 + 2j]),
        np.array([None], dtype=object),
        np.array([1, "a"], dtype=object),
        np.array(["\ud800"], dtype=object),
    ],
)
def test_an_array_without_counterpart_is_refused(array: np.ndarray) -> None:
    with pytest.raises(TensorFormatError):
        pack(array)
