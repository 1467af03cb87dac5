from __future__ import annotations

import base64
import json

import numpy as np
import pytest
import tensorflow as tf

from serving.server.errors import RequestError
from serving.server.json_values import bytes_of, from_array, to_array


@pytest.mark.parametrize(
    ("value", "data_type", "expected"),
    [
        ([[1, 2.5], [3, float("nan")]], tf.float32, np.float32([[1, 2.5], [3, np.nan]])),
        (0.5, tf.float64, np.float64(0.5)),
        ([1, -(2**60)], tf.int64, np.int64([1, -(2**60)])),
        ([True, False], tf.bool, np.array([True, False])),
        ([[], []], tf.float32, np.zeros((2, 0), dtype=np.float32)),
        ([float("inf")], tf.float32, np.float32([np.inf])),
        ([2**24 - 1], tf.float32, np.float32([16777215])),
    ],
)
def test_json_becomes_an_array(value: object, data_type: tf.DType, expected: np.ndarray) -> None:
    array = to_array(value, data_type, "input")
    assert array.dtype == expected.dtype
    np.testing.assert_array_equal(array, expected)


def test_json_strings_and_base64_become_bytes() -> None:
    encoded = {"b64": base64.b64encode(b"\xff\x00").decode()}
    array = to_array([["über", encoded]], tf.string, "input")
    assert array.tolist() == [["über".encode(), b"\xff\x00"]]


@pytest.mark.parametrize(
    ("value", "data_type", "reason"),
    [
        (["1"], tf.float32, "expected to be float, but a string"),
        ([True], tf.float32, "expected to be float, but a boolean"),
        ([None], tf.float32, "but null"),
        ([1.5], tf.int64, "expected to be int64, but a number"),
        ([True], tf.int64, "but a boolean"),
        ([1], tf.bool, "but a number"),
        ([1], tf.string, "expected to hold strings, but a number"),
        ([{"b64": "a", "more": 1}], tf.string, "but an object"),
        ([{"b64": "no base64!"}], tf.string, "not base64"),
        ([{"b64": 7}], tf.string, "not base64"),
        (["\ud800"], tf.string, "not valid Unicode"),
        ([{"b64": "YQ=="}], tf.float32, "but an object"),
        ([2**24], tf.float32, "without loss"),
        ([1e39], tf.float32, "without loss"),
        ([10**400], tf.float64, "does not fit double"),
        ([2**63], tf.int64, "does not fit int64"),
        ([-1], tf.uint8, "does not fit uint8"),
        ([[1], [1, 2]], tf.int64, "uneven: at level 2"),
        ([1, [2]], tf.int64, "uneven: at level 2"),
        ([1], tf.complex64, "JSON cannot carry"),
    ],
)
def test_a_json_value_that_does_not_fit_is_refused(
    value: object, data_type: tf.DType, reason: str
) -> None:
    with pytest.raises(RequestError, match=f"ratings.*{reason}"):
        to_array(value, data_type, "ratings")


def test_deep_nesting_is_refused() -> None:
    value: object = 1
    for _ in range(100):
        value = [value]
    with pytest.raises(RequestError, match="lists deep"):
        to_array(value, tf.int64, "input")


def test_floats_are_short_and_read_back_exactly() -> None:
    random = np.random.default_rng(1)
    array = random.normal(size=(200, 3)).astype(np.float32) * np.float32(10) ** random.integers(
        -30, 30, size=(200, 3)
    ).astype(np.float32)
    text = json.dumps(from_array("score", array))
    np.testing.assert_array_equal(np.array(json.loads(text), dtype=np.float32), array)
    assert json.dumps(from_array("score", np.float32([0.2, 1.0, 1e-5]))) == "[0.2, 1.0, 1e-05]"


def test_other_outputs_keep_type_and_shape() -> None:
    assert from_array("n", np.int64([[1, 2], [3, 4]])) == [[1, 2], [3, 4]]
    assert from_array("n", np.float64(0.1)) == 0.1
    assert from_array("n", np.array([True])) == [True]
    assert from_array("text", np.array([b"a", "ü".encode()], dtype=object)) == ["a", "ü"]
    assert from_array("x_bytes", np.array([[b"a"]], dtype=object)) == [[{"b64": "YQ=="}]]
    assert from_array("empty", np.zeros((2, 0))) == [[], []]


def test_bytes_without_the_suffix_are_refused() -> None:
    with pytest.raises(RequestError, match='"text".*_bytes'):
        from_array("text", np.array([b"\xff"], dtype=object))


def test_bytes_of_reads_standard_base64() -> None:
    assert bytes_of({"b64": "+/8="}, "input") == b"\xfb\xff"
