from __future__ import annotations

import json

import numpy as np
import pytest

from serving.protocol.messages import classification_pb2, model_pb2, regression_pb2
from serving.server.errors import RequestError
from serving.server.json_values import (
    classifications,
    columns,
    from_array,
    message_as_json,
    predictions,
    regressions,
)


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
