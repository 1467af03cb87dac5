from __future__ import annotations

import grpc
import numpy as np
import pytest
import tensorflow as tf

from serving.server.errors import RequestError
from serving.server.input_checks import check_inputs

EXPECTED = {
    "ids": tf.TensorSpec([None], tf.string),
    "ratings": tf.TensorSpec([1, None], tf.float32),
    "anything": tf.TensorSpec(None, tf.int64),
}
GOOD = {
    "ids": np.array(["a", "b"]),
    "ratings": np.zeros((1, 3), dtype=np.float32),
    "anything": np.zeros((2, 2, 2), dtype=np.int64),
}


def test_right_inputs_pass() -> None:
    checked = check_inputs("rank", EXPECTED, GOOD)
    assert checked.keys() == EXPECTED.keys()
    assert checked["ids"].tolist() == ["a", "b"]


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"ratings": np.zeros((1, 3), dtype=np.float64)}, '"ratings".*float.*double'),
        ({"ratings": np.zeros((1, 3), dtype=np.int64)}, '"ratings".*float.*int64'),
        ({"ratings": np.array([["5"]])}, '"ratings".*float.*string'),
        ({"ids": np.array([1, 2])}, '"ids".*string.*int64'),
        ({"ids": np.array(["a", 7], dtype=object)}, '"ids".*string.*int'),
        ({"ratings": np.zeros(3, dtype=np.float32)}, r'"ratings".*\[3\].*\[1,\?\]'),
        ({"ratings": np.zeros((2, 3), dtype=np.float32)}, r'"ratings".*\[2,3\].*\[1,\?\]'),
        ({"ids": np.array("a", dtype=object)}, r'"ids".*\[\].*\[\?\]'),
        ({"more": np.zeros(1)}, r"Missing but required: \{\}. Sent extra: \{more\}"),
    ],
)
def test_wrong_inputs_are_refused_by_name(change: dict[str, np.ndarray], reason: str) -> None:
    with pytest.raises(RequestError, match=reason) as caught:
        check_inputs("rank", EXPECTED, GOOD | change)
    assert caught.value.code is grpc.StatusCode.INVALID_ARGUMENT


def test_missing_inputs_are_named() -> None:
    with pytest.raises(RequestError, match=r'"rank": 1 sent, 3 expected.*\{anything,ratings\}'):
        check_inputs("rank", EXPECTED, {"ids": GOOD["ids"]})
