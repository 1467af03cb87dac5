from __future__ import annotations

import numpy as np
import pytest
import tensorflow as tf

from serving.server.errors import RequestError
from serving.server.rest_app import predict_inputs, signature_name_in

TWO = {"ids": tf.TensorSpec([None], tf.string), "x": tf.TensorSpec([None, 2], tf.float32)}
ONE = {"examples": tf.TensorSpec([None], tf.string)}
KEYS = "JSON object: .* must only have keys: ids,x"


def test_rows_and_columns_are_the_same_tensors() -> None:
    rows = {"instances": [{"ids": "a", "x": [1, 2]}, {"x": [3, 4.5], "ids": "b"}]}
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


def test_columns_need_not_be_equally_long_and_may_have_others_beside_them() -> None:
    document = {"inputs": {"ids": "a", "x": [[1, 2], [3, 4]], "unknown": [None]}}
    arrays, _ = predict_inputs(document, TWO)
    assert arrays["ids"].tolist() == b"a"
    assert arrays["x"].shape == (2, 2)
    assert arrays.keys() == TWO.keys()


def test_rows_may_have_another_shape_than_the_signature_says() -> None:
    arrays, _ = predict_inputs({"instances": [{"ids": ["a"], "x": 1}]}, TWO)
    assert arrays["ids"].tolist() == [[b"a"]]
    assert arrays["x"].tolist() == [1.0]


@pytest.mark.parametrize(
    ("document", "reason"),
    [
        ({}, "Missing 'inputs' or 'instances' key"),
        ({"instances": [1], "inputs": [1]}, "expecting only one of 'inputs' or 'instances' keys"),
        ({"instances": {}}, "Excepting 'instances' to be an list/array"),
        ({"instances": []}, "No values in 'instances' array"),
        ({"instances": [["a"]]}, "instances is a plain list, but expecting list of objects"),
        ({"instances": [{"ids": "a", "x": [1, 2]}, 5]}, "object but got list at item 1 of"),
        ({"instances": [{"ids": "a"}]}, f"Failed to process element: 0 of 'instances' .*{KEYS}"),
        ({"instances": [{"ids": "a", "x": 1, "y": 1}]}, "does not have named input: y"),
        (
            {"instances": [{"ids": "a", "x": [1]}, {"ids": "b", "x": [1, 2]}]},
            "element: 1 key: x of .* INVALID_ARGUMENT: Expecting tensor size: 1 but got: 2",
        ),
        (
            {"instances": [{"ids": "a", "x": [[1, 2]]}, {"ids": "b", "x": [[1], [2]]}]},
            r"element: 1 key: x of .* Expecting shape \[1,2\] but got: \[2,1\]",
        ),
        ({"inputs": ["a"]}, "inputs is a plain value/list, but expecting an object as multiple"),
        ({"inputs": {"ids": ["a"]}}, "Missing named input: x in 'inputs' object."),
        ({"inputs": {"ids": [1], "x": 1}}, "1 Type: Number is not of expected type: string"),
    ],
)
def test_a_wrong_predict_request_is_refused(document: dict, reason: str) -> None:
    with pytest.raises(RequestError, match=f"(?s){reason}"):
        predict_inputs(document, TWO)


def test_signature_name_is_a_string() -> None:
    assert signature_name_in({}) == ""
    assert signature_name_in({"signature_name": "rank"}) == "rank"
    with pytest.raises(RequestError, match="'signature_name' key must be a string value"):
        signature_name_in({"signature_name": 1})
    with pytest.raises(RequestError, match="The surrogate pair in string is invalid."):
        signature_name_in({"signature_name": "\ud800"})
