from __future__ import annotations

import base64
import json
import math
import re

import grpc
import numpy as np
import pytest
import tensorflow as tf

from serving.protocol.messages import classification_pb2, model_pb2, regression_pb2
from serving.server.errors import RequestError
from serving.server.json_values import (
    bytes_of,
    classifications,
    columns,
    dense_shape,
    encoded,
    from_array,
    is_base64,
    message_as_json,
    parse_object,
    predictions,
    quoted,
    regressions,
    to_array,
)


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
        (["1"], tf.float32, '"1" is not of type float'),
        ([1, True], tf.float32, "true is not of type float"),
        ([None], tf.float32, "null is not of type float"),
        ([1.5], tf.int64, "1.5 is not of type int64"),
        ([1.0], tf.int64, "1.0 is not of type int64"),
        ([1e20], tf.int64, "1e+20 is not of type int64"),
        ([False], tf.int64, "false is not of type int64"),
        ([1], tf.bool, "1 is not of type bool"),
        ([1], tf.string, '1 is neither a string nor {"b64": "..."}'),
        (["a", 1], tf.string, '1 is neither a string nor {"b64": "..."}'),
        ([{"b64": "a", "more": 1}], tf.string, "is neither a string nor"),
        ([{"b64": "no base64!"}], tf.string, "Unable to base64 decode"),
        ([{"b64": 7}], tf.string, '{"b64": 7} is neither a string nor'),
        (["\ud800"], tf.string, "a string has half of a surrogate pair"),
        ([{"b64": "YQ=="}], tf.float32, '{"b64": "YQ=="} is not of type float'),
        ([1e39], tf.float32, "beyond the range of float"),
        ([10**400], tf.float64, "beyond the range of double"),
        ([2**63], tf.int64, "beyond the range of int64"),
        ([-1], tf.uint8, "beyond the range of uint8"),
        ([[1], [1, 2]], tf.int64, "nested evenly, as their first elements are: [2, 1]"),
        ([1, [2]], tf.int64, "nested evenly, as their first elements are: [2]"),
        ([[1], 2], tf.int64, "nested evenly, as their first elements are: [2, 1]"),
        ([["a"], [1, 2]], tf.int64, "nested evenly"),
    ],
)
def test_a_json_value_that_does_not_fit_is_refused(
    value: object, data_type: tf.DType, reason: str
) -> None:
    with pytest.raises(RequestError, match=re.escape(reason)) as caught:
        to_array(value, data_type)
    assert caught.value.code is grpc.StatusCode.INVALID_ARGUMENT


@pytest.mark.parametrize("data_type", [tf.float16, tf.uint16, tf.complex64])
def test_types_that_json_does_not_carry(data_type: tf.DType) -> None:
    with pytest.raises(RequestError, match="JSON does not carry the type ") as caught:
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


def test_an_object_is_parsed() -> None:
    document = parse_object('{"a": [1, 2.5, NaN, -Infinity, true, null], "ü": "\\u00fc"}'.encode())
    assert document["a"][:2] == [1, 2.5]
    assert math.isnan(document["a"][2])
    assert document["a"][3:] == [-math.inf, True, None]
    assert document["ü"] == "ü"


@pytest.mark.parametrize(
    ("body", "message"),
    [
        (b"", "the JSON cannot be parsed: Expecting value: line 1 column 1 (char 0)"),
        (b'{"instances": [1,}', "the JSON cannot be parsed: Expecting value: line 1 column 18"),
        (b'{"a": "open', "the JSON cannot be parsed: Unterminated string starting at"),
        (b'{"a": "\xff"}', "the JSON cannot be parsed: 'utf-8' codec can't decode byte 0xff"),
        (b'{"a": ' + b"[" * 100_000, "the JSON nests lists or objects too deeply"),
        (b'{"a": ' + b"1" * 5000, "the JSON cannot be parsed: Exceeds the limit (4300 digits)"),
        (b'{"a": [1.5, -1e400]}', "the JSON cannot be parsed: beyond the range of a double"),
        (b'{"a": 1e+0309}', "the JSON cannot be parsed: beyond the range of a double"),
        (
            b'{"a": ' + b"9" * 400 + b".5}",
            "the JSON cannot be parsed: beyond the range of a double",
        ),
        (b"[]", "the JSON must be an object. Received: []"),
        (b'{"a": "\xed\xa0\x80" 1}', "the JSON cannot be parsed: 'utf-8' codec can't decode"),
        ("{}".encode("utf-16"), "the JSON cannot be parsed: 'utf-8' codec can't decode"),
        ("{}".encode("utf-8-sig"), "the JSON cannot be parsed: Unexpected UTF-8 BOM"),
    ],
)
def test_a_body_that_is_no_json_object_is_refused(body: bytes, message: str) -> None:
    with pytest.raises(RequestError) as caught:
        parse_object(body)
    assert caught.value.code is grpc.StatusCode.INVALID_ARGUMENT
    assert caught.value.message.startswith(message)


def test_half_a_surrogate_pair_is_no_text() -> None:
    assert encoded("ü") == b"\xc3\xbc"
    document = parse_object(b'{"a": "\\ud83d\\ude00", "b": "\\ud83d"}')
    assert encoded(document["a"]) == b"\xf0\x9f\x98\x80"
    with pytest.raises(RequestError, match="half of a surrogate pair"):
        encoded(document["b"])


def test_numbers_near_the_end_of_doubles_are_read() -> None:
    document = parse_object(b'{"a": [1e308, 1e-400, 12345678901234567890.5, Infinity]}')
    assert document["a"] == [1e308, 0.0, 12345678901234567890.5, math.inf]


def test_only_the_beginning_of_a_quoted_value_is_written() -> None:
    class Watched(list):
        """Says how far it was read."""

        read = 0

        def __iter__(self):
            for value in super().__iter__():
                self.read += 1
                yield value

    values = Watched([7] * 1_000_000)
    assert quoted(values).startswith("[7, 7,")
    assert len(quoted(values)) == 1024 + len("...")
    assert values.read < 1_000


def test_floats_read_back_exactly() -> None:
    random = np.random.default_rng(1)
    array = random.normal(size=(200, 3)).astype(np.float32) * np.float32(10) ** random.integers(
        -30, 30, size=(200, 3)
    ).astype(np.float32)
    text = json.dumps(from_array("score", array))
    np.testing.assert_array_equal(np.array(json.loads(text), dtype=np.float32), array)


def test_floats_are_those_of_tensorflow_serving() -> None:
    """From json_tensor_test.cc, and an answer of a real server: 0.669074059."""
    array = np.float32([9000000, 999999, 0.5, 0.0003, 0.00003, 555557.5, 0.2, 0.66907406])
    assert from_array("score", array) == [
        *(9e06, 999999.0, 0.5, 0.0003, 3e-05, 555557.5, 0.2, 0.669074059)
    ]
    largest = np.finfo(np.float32).max
    assert np.float32(from_array("score", largest)) == largest


def test_other_outputs_keep_type_and_shape() -> None:
    assert from_array("n", np.int64([[1, 2], [3, 2**63 - 1]])) == [[1, 2], [3, 2**63 - 1]]
    assert from_array("n", np.float64(0.1)) == 0.1
    assert from_array("n", np.array([True])) == [True]
    assert from_array("text", np.array([b"a", "ü".encode()], dtype=object)) == ["a", "ü"]
    assert from_array("x_bytes", np.array([[b"a"]], dtype=object)) == [[{"b64": "YQ=="}]]
    assert from_array("empty", np.zeros((2, 0))) == [[], []]


def test_outputs_that_json_does_not_carry_are_refused() -> None:
    with pytest.raises(RequestError, match='"text".*_bytes'):
        from_array("text", np.array([b"\xff"], dtype=object))
    with pytest.raises(RequestError, match="Failed to write JSON value for tensor type: half"):
        from_array("score", np.float16([1]))


def test_rows_and_columns() -> None:
    one = {"y": np.float32([[1], [2]])}
    two = {"y": np.int64([1, 2]), "text": np.array([b"a", b"b"], dtype=object)}
    assert predictions(one) == {"predictions": [[1.0], [2.0]]}
    assert predictions(two) == {"predictions": [{"y": 1, "text": "a"}, {"y": 2, "text": "b"}]}
    assert columns(one) == {"outputs": [[1.0], [2.0]]}
    assert columns(two) == {"outputs": {"y": [1, 2], "text": ["a", "b"]}}
    assert columns({"total": np.float32(5)}) == {"outputs": 5.0}


def test_outputs_without_equal_rows_have_no_row_format() -> None:
    with pytest.raises(RequestError, match="Tensor name: total has no shape information"):
        predictions({"total": np.float32(5)})
    uneven = {"a": np.float32([1, 2]), "b": np.float32([1])}
    with pytest.raises(RequestError, match="b has inconsistent batch size: 1 expecting: 2"):
        predictions(uneven)


def test_results_of_examples() -> None:
    classified = classification_pb2.ClassificationResult(
        classifications=[{"classes": [{"label": "liked", "score": 0.2}, {"score": 0.8}]}]
    )
    assert classifications(classified) == {"results": [[["liked", 0.2], ["", 0.8]]]}
    regressed = regression_pb2.RegressionResult(regressions=[{"value": 0.1}, {"value": 3}])
    assert regressions(regressed) == {"results": [0.1, 3.0]}


def test_messages_show_fields_at_their_default() -> None:
    specification = model_pb2.ModelSpec(name="toy", version={"value": 3})
    assert message_as_json(specification) == {"name": "toy", "version": "3", "signature_name": ""}
