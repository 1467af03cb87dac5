from __future__ import annotations

import numpy as np
import pytest
import tensorflow as tf

from serving.protocol.messages import tensor_pb2, types_pb2
from serving.protocol.tensors import TensorFormatError, decode_strings, pack, pack_as_values, unpack

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


def _message(data_type: int, *shape: int, **fields) -> tensor_pb2.TensorProto:
    message = tensor_pb2.TensorProto(dtype=data_type, **fields)
    for size in shape:
        message.tensor_shape.dim.add(size=size)
    return message


ODD_MESSAGES = {
    "too few": _message(types_pb2.DT_FLOAT, 4, float_val=[1.0, 2.0]),
    "too many": _message(types_pb2.DT_FLOAT, 1, float_val=[1.0, 2.0]),
    "none": _message(types_pb2.DT_INT64, 2),
    "none of a scalar": _message(types_pb2.DT_DOUBLE),
    "for an empty shape": _message(types_pb2.DT_FLOAT, 0, float_val=[1.0]),
    "content of an empty shape": _message(types_pb2.DT_FLOAT, 0, tensor_content=b"1234"),
    "content and values": _message(types_pb2.DT_INT32, 1, tensor_content=b"\7\0\0\0", int_val=[1]),
    "in another field": _message(types_pb2.DT_FLOAT, 1, double_val=[4.0]),
    "beyond int8": _message(types_pb2.DT_INT8, 2, int_val=[300, -129]),
    "beyond uint8": _message(types_pb2.DT_UINT8, 1, int_val=[-1]),
    "beyond int16": _message(types_pb2.DT_INT16, 1, int_val=[70000]),
    "half": _message(types_pb2.DT_HALF, 2, half_val=[15360]),
    "bool": _message(types_pb2.DT_BOOL, 2, bool_val=[True]),
    "too few strings": _message(types_pb2.DT_STRING, 3, string_val=[b"a", b"b"]),
    "too many strings": _message(types_pb2.DT_STRING, 1, string_val=[b"a", b"b"]),
    "no string": _message(types_pb2.DT_STRING, 1),
    "strings as content": _message(
        types_pb2.DT_STRING, 3, tensor_content=b"\x01\x00\xac\x02a" + b"b" * 300
    ),
    "rank said to be unknown": tensor_pb2.TensorProto(
        dtype=types_pb2.DT_FLOAT,
        tensor_shape={"dim": [{"size": 1}], "unknown_rank": True},
        float_val=[1.0],
    ),
}


@pytest.mark.parametrize("name", ODD_MESSAGES)
def test_odd_messages_are_read_as_by_the_runtime(name: str) -> None:
    message = ODD_MESSAGES[name]
    expected = tf.io.parse_tensor(message.SerializeToString(), message.dtype).numpy()
    array = unpack(message)
    assert array.dtype == np.asarray(expected).dtype
    assert array.tolist() == np.asarray(expected).tolist()


@pytest.mark.parametrize(
    ("message", "reason"),
    [
        (_message(types_pb2.DT_FLOAT, 2, tensor_content=b"1234567"), "7 bytes"),
        (_message(types_pb2.DT_STRING, 2, tensor_content=b"\1\1abc"), "5 bytes of content"),
        (_message(types_pb2.DT_STRING, 2, tensor_content=b"\1"), "cut off"),
        (_message(types_pb2.DT_FLOAT, -1, float_val=[1.0]), "complete"),
        (_message(types_pb2.DT_FLOAT, 10**6, 10**6, float_val=[1.0]), "more than"),
        (_message(types_pb2.DT_FLOAT, 2**62, 0), "more than"),
        (_message(types_pb2.DT_STRING, 2**40, 2**40, 0), "more than"),
        (_message(types_pb2.DT_FLOAT, *[1] * 33, float_val=[1.0]), "more than"),
        (_message(types_pb2.DT_RESOURCE, 1), "DT_RESOURCE"),
        (_message(9999, 1), "9999"),
    ],
)
def test_a_malformed_message_is_refused(message: tensor_pb2.TensorProto, reason: str) -> None:
    with pytest.raises(TensorFormatError, match=reason):
        unpack(message)
    if reason != "more than":  # which the runtime reads, or tries to get memory for
        with pytest.raises((tf.errors.InvalidArgumentError, TypeError)):
            tf.io.parse_tensor(message.SerializeToString(), message.dtype).numpy()


@pytest.mark.parametrize("field", ["int64_val", "string_val"])
def test_a_short_message_does_not_become_a_large_array(field: str) -> None:
    data_type = types_pb2.DT_STRING if field == "string_val" else types_pb2.DT_INT64
    value = b"a" if field == "string_val" else 1
    assert len(unpack(_message(data_type, 2**22, **{field: [value]}))) == 2**22
    for values in ([], [value], [value, value]):
        with pytest.raises(TensorFormatError, match=f"{len(values)} values were sent for 4194305"):
            unpack(_message(data_type, 2**22 + 1, **{field: values}))
    content = np.zeros(2**22 + 1, np.uint8).tobytes()
    assert len(unpack(_message(types_pb2.DT_UINT8, len(content), tensor_content=content))) == (
        len(content)
    )


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


def test_strings_follow_their_lengths() -> None:
    assert decode_strings(b"\x01\x00\x03abcd", 3) == [b"a", b"", b"bcd"]
    assert decode_strings(b"", 0) == []


def test_a_length_may_have_several_bytes() -> None:
    long = b"x" * 300
    assert decode_strings(b"\xac\x02\x01" + long + b"y", 2) == [long, b"y"]


@pytest.mark.parametrize(
    ("content", "count"),
    [(b"\x02a", 1), (b"\x01ab", 1), (b"\x01", 2), (b"\xff", 1), (b"\xff" * 6, 1)],
)
def test_other_content_is_refused(content: bytes, count: int) -> None:
    with pytest.raises(ValueError, match="content|cut off"):
        decode_strings(content, count)
