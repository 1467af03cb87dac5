from __future__ import annotations

import numpy as np
import pytest
import tensorflow as tf

from serving.server.errors import RequestError
from serving.server.rest_requests import (
    examples_input,
    parse_body,
    predict_inputs,
    signature_name_in,
)

TWO = {"ids": tf.TensorSpec([None], tf.string), "x": tf.TensorSpec([None, 2], tf.float32)}
ONE = {"examples": tf.TensorSpec([None], tf.string)}


def test_rows_and_columns_are_the_same_tensors() -> None:
    rows = {"instances": [{"ids": "a", "x": [1, 2]}, {"ids": "b", "x": [3, 4.5]}]}
    columns = {"inputs": {"ids": ["a", "b"], "x": [[1, 2], [3, 4.5]]}}
    for document, is_row_format in ((rows, True), (columns, False)):
        arrays, row_format = predict_inputs(document, TWO)
        assert row_format is is_row_format
        assert arrays["ids"].tolist() == [b"a", b"b"]
        np.testing.assert_array_equal(arrays["x"], np.float32([[1, 2], [3, 4.5]]))


@pytest.mark.parametrize("key", ["instances", "inputs"])
def test_a_single_input_needs_no_name(key: str) -> None:
    arrays, _ = predict_inputs({key: [{"b64": "YQ=="}, "b"]}, ONE)
    assert arrays["examples"].tolist() == [b"a", b"b"]


@pytest.mark.parametrize(
    ("document", "reason"),
    [
        ({}, "exactly one"),
        ({"instances": [1], "inputs": [1]}, "exactly one"),
        ({"instances": {}}, "list"),
        ({"instances": []}, "at least one"),
        ({"instances": [["a"]]}, r"several: \{ids,x\}"),
        ({"instances": [{"ids": "a", "x": [1, 2]}, 5]}, "Element 1"),
        ({"instances": [{"ids": "a"}]}, r"Element 0.*\{ids,x\}"),
        ({"instances": [{"ids": "a", "x": [1, 2], "y": 1}]}, "Element 0"),
        ({"instances": [{"ids": "a", "x": [1]}, {"ids": "b", "x": [1, 2]}]}, '"x" is uneven'),
        ({"inputs": ["a"]}, "several"),
        ({"inputs": {"ids": ["a"]}}, r"Missing but required: \{x\}"),
        ({"inputs": {"ids": ["a"], "x": [[1, 2]], "y": 1}}, r"Sent extra: \{y\}"),
        ({"inputs": {"ids": [1], "x": [[1, 2]]}}, '"ids" is expected to hold strings'),
    ],
)
def test_a_wrong_predict_request_is_refused(document: dict, reason: str) -> None:
    with pytest.raises(RequestError, match=reason):
        predict_inputs(document, TWO)


@pytest.mark.parametrize(
    ("body", "reason"),
    [
        (b"", "empty"),
        (b'{"instances": [1,}', "offset 17"),
        (b"[1]", "not a list"),
        (b'"a"', "not a string"),
        (b'{"a": "\xff"}', "UTF-8"),
        (b"[" * 100_000, "nested too deeply"),
    ],
)
def test_a_body_that_is_no_json_object_is_refused(body: bytes, reason: str) -> None:
    with pytest.raises(RequestError, match=reason):
        parse_body(body)


def test_signature_name_is_a_string() -> None:
    assert signature_name_in({}) == ""
    assert signature_name_in({"signature_name": "rank"}) == "rank"
    with pytest.raises(RequestError, match="signature_name"):
        signature_name_in({"signature_name": 1})


def test_examples_become_messages() -> None:
    document = {
        "context": {"country": "no"},
        "examples": [{"n": 3, "x": [1.5, 2.0], "flag": True, "raw": {"b64": "/w=="}}, {"n": []}],
    }
    message = examples_input(document).example_list_with_context
    assert message.context.features.feature["country"].bytes_list.value[:] == [b"no"]
    features = message.examples[0].features.feature
    assert features["n"].int64_list.value[:] == [3]
    assert features["x"].float_list.value[:] == [1.5, 2.0]
    assert features["flag"].int64_list.value[:] == [1]
    assert features["raw"].bytes_list.value[:] == [b"\xff"]
    assert message.examples[1].features.feature["n"].WhichOneof("kind") is None
    assert len(examples_input({"examples": [{}]}).example_list.examples) == 1


@pytest.mark.parametrize(
    ("document", "reason"),
    [
        ({}, "'examples'"),
        ({"examples": []}, "at least one"),
        ({"examples": [1]}, "example 0 must be an object"),
        ({"examples": [{}], "context": 1}, "'context' must be an object"),
        ({"examples": [{}, {"x": [1, 2.5]}]}, 'feature "x" of example 1 mixes types'),
        ({"examples": [{"x": None}]}, "null"),
        ({"examples": [{"x": [[1]]}]}, "a list"),
        ({"examples": [{"x": {"a": 1}}]}, "an object"),
        ({"examples": [{"x": 2**63}]}, "does not fit int64"),
        ({"examples": [{"x": 1e39}]}, "without loss"),
    ],
)
def test_wrong_examples_are_refused(document: dict, reason: str) -> None:
    with pytest.raises(RequestError, match=reason):
        examples_input(document)
