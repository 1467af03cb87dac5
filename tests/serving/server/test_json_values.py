from __future__ import annotations

import base64

import grpc
import numpy as np
import pytest
import tensorflow as tf

from serving.server.errors import RequestError
from serving.server.json_values import bytes_of, dense_shape, is_base64, to_array

NOT_A = "is not of expected type:"


@pytest.mark.parametrize(
    ("value", "data_type", "expected"),
    [
        ([[1, 2.5], [3, float("nan")]], tf.float32, np.float32([[1, 2.5], [3, np.nan]])),
        (0.5, tf.float64, np.float64(0.5)),
        ([1, -(2**60)], tf.int64, np.int64([1, -(2**60)])),
        ([2**63 - 1, -(2**63), 2**53 + 1], tf.int64, np.int64([2**63 - 1, -(2**63), 2**53 + 1])),
        ([2**64 - 1], tf.uint64, np.uint64([2**64 - 1])),
        ([True, False], tf.bool, np.array([True, False])),
        ([[], []], tf.float32, np.zeros((2, 0), dtype=np.float32)),
        ([], tf.int64, np.zeros(0, dtype=np.int64)),
        ([], tf.float16, np.zeros(0, dtype=np.float16)),
        ([float("inf"), -float("inf")], tf.float32, np.float32([np.inf, -np.inf])),
        ([2**24 + 1, 1435774380], tf.float32, np.float32([2**24, 1435774336])),
        ([1e-50, 3.4e38], tf.float32, np.float32([0, 3.4e38])),
    ],
)
def test_json_becomes_an_array(value: object, data_type: tf.DType, expected: np.ndarray) -> None:
    array = to_array(value, data_type)
    assert array.dtype == expected.dtype
    np.testing.assert_array_equal(array, expected)


def test_json_strings_and_base64_become_bytes() -> None:
    encoded = {"b64": base64.b64encode(b"\xff\x00").decode()}
    array = to_array([["über", encoded]], tf.string)
    assert array.tolist() == [["über".encode(), b"\xff\x00"]]


@pytest.mark.parametrize(
    ("value", "data_type", "reason"),
    [
        (["1"], tf.float32, f'JSON Value: "1" Type: String {NOT_A} float'),
        ([1, True], tf.float32, f"JSON Value: true Type: True {NOT_A} float"),
        ([None], tf.float32, f"JSON Value: null Type: Null {NOT_A} float"),
        ([1.5], tf.int64, f"JSON Value: 1.5 Type: Number {NOT_A} int64"),
        ([1.0], tf.int64, f"JSON Value: 1.0 Type: Number {NOT_A} int64"),
        ([1e20], tf.int64, f"JSON Value: 1e\\+20 Type: Number {NOT_A} int64"),
        ([False], tf.int64, f"Type: False {NOT_A} int64"),
        ([1], tf.bool, f"JSON Value: 1 Type: Number {NOT_A} bool"),
        ([1], tf.string, f"JSON Value: 1 Type: Number {NOT_A} string"),
        (["a", 1], tf.string, f"JSON Value: 1 Type: Number {NOT_A} string"),
        ([{"b64": "a", "more": 1}], tf.string, "not formatted correctly for base64 data"),
        ([{"b64": "no base64!"}], tf.string, "Unable to base64 decode"),
        ([{"b64": 7}], tf.string, "not formatted correctly for base64 data"),
        (["\ud800"], tf.string, "The surrogate pair in string is invalid."),
        ([{"b64": "YQ=="}], tf.float32, f"Type: Object {NOT_A} float"),
        ([1e39], tf.float32, "value: 1e\\+39 to float without loss of precision."),
        ([10**400], tf.float64, "to double without loss of precision."),
        ([2**63], tf.int64, f"JSON Value: {2**63} Type: Number {NOT_A} int64"),
        ([-1], tf.uint8, f"JSON Value: -1 Type: Number {NOT_A} uint8"),
        ([[1], [1, 2]], tf.int64, "list at unexpected size: 2 at level: 1 expected size: 1"),
        ([1, [2]], tf.int64, "Encountered list at unexpected level: 1 expected < 1"),
        ([[1], 2], tf.int64, "2 found at incorrect level: 2 in the JSON DOM. Expected at level: 2"),
        # The first fault in reading order counts, of whatever kind it is.
        ([["a"], [1, 2]], tf.int64, f'"a" Type: String {NOT_A} int64'),
    ],
)
def test_a_json_value_that_does_not_fit_is_refused(
    value: object, data_type: tf.DType, reason: str
) -> None:
    with pytest.raises(RequestError, match=reason) as caught:
        to_array(value, data_type)
    assert caught.value.code is grpc.StatusCode.INVALID_ARGUMENT


@pytest.mark.parametrize("data_type", [tf.float16, tf.uint16, tf.complex64])
def test_types_that_json_does_not_carry(data_type: tf.DType) -> None:
    with pytest.raises(RequestError, match="Conversion of JSON Value: 1 to type: ") as caught:
        to_array([1], data_type)
    assert caught.value.code is grpc.StatusCode.UNIMPLEMENTED


def test_deep_nesting_is_refused() -> None:
    value: object = 1
    for _ in range(100):
        value = [value]
    with pytest.raises(RequestError, match="nested more than 32 deep"):
        to_array(value, tf.int64)


def test_the_first_elements_say_what_the_shape_is() -> None:
    assert dense_shape(7) == ()
    assert dense_shape([[1, 2, 3], [4]]) == (2, 3)
    assert dense_shape([[], [1]]) == (2, 0)


def test_base64_is_an_object_with_one_string() -> None:
    assert is_base64({"b64": ""})
    assert not is_base64({"b64": 7})
    assert not is_base64({"b64": "", "more": 1})
    assert not is_base64("b64")
    assert bytes_of({"b64": "+/8="}) == b"\xfb\xff"
    # Without its padding, and in lines.
    assert bytes_of({"b64": "+/8"}) == b"\xfb\xff"
    assert bytes_of({"b64": "aGVs\nbG8="}) == b"hello"
